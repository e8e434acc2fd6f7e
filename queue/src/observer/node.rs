//! The observer's connection to one server.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use redis::{Pipeline, Value};
use tokio::task::JoinHandle;

use super::{
    Reading, Subject,
    changes::{Dirty, Ear},
    subject::Question,
};
use crate::{
    Error, Result, Server,
    connect::{Link, Live, is_noscript},
    scripts::{LENGTHS, OBSERVE},
};

/// How often the connection is tried: a half-open one is not seen otherwise.
const PING_EVERY: Duration = Duration::from_secs(3);

/// Between two tries to connect, at first and at most.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(3);

/// Queues in one pipeline: enough to make the round trip cheap, few enough that one answer is not long in coming.
const MAX_PIPELINE: usize = 64;

/// A server, the connection to it, and what it tells.
#[derive(Debug)]
pub(super) struct Node {
    link: Link,
    dirty: Arc<Dirty>,
    ear: Arc<Ear>,
    keeper: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Node {
    /// Begins to connect in the background. Must be called within a tokio runtime.
    pub(super) fn new(server: &Server, dirty: &Arc<Dirty>) -> Result<Arc<Self>> {
        let ear = Arc::new(Ear::new(Arc::clone(dirty)));
        let link = Link::tracking(server, Arc::clone(&ear))?;
        Ok(Arc::new_cyclic(|node: &Weak<Self>| Self {
            link,
            dirty: Arc::clone(dirty),
            ear,
            keeper: tokio::spawn(keep(Weak::clone(node))),
        }))
    }

    /// Reads each queue and arms it.
    pub(super) async fn read_all(&self, subjects: &[Subject]) -> Vec<Result<Reading>> {
        let mut readings = Vec::with_capacity(subjects.len());
        for subjects in subjects.chunks(MAX_PIPELINE) {
            let together = match self.read_together(subjects).await {
                // The connection had died since the last read; that says nothing about the server.
                Err(Error::Disconnected { .. }) => self.read_together(subjects).await,
                together => together,
            };
            match together {
                Ok(together) => readings.extend(together),
                Err(err) => readings.extend(subjects.iter().map(|_| Err(err.clone()))),
            }
        }
        readings
    }

    async fn read_together(&self, subjects: &[Subject]) -> Result<Vec<Result<Reading>>> {
        let Self { link, dirty, .. } = self;
        let mut live = link.live().await?;
        // Other systems' queues need less of a server.
        let unfit = live.introduction.check_for_own().err();
        let refused = |subject: &Subject| unfit.as_ref().filter(|_| subject.own().is_some());
        let mut questions = Vec::with_capacity(subjects.len());
        for subject in subjects.iter().filter(|subject| refused(subject).is_none()) {
            let question = Question::about(subject);
            dirty.about_to_read(subject, &question.keys());
            questions.push(question);
        }
        let mut readings = self.read_questions(&mut live, &questions).await?.into_iter();
        let in_order = subjects.iter().filter_map(|subject| match refused(subject) {
            Some(err) => Some(Err(err.clone())),
            None => readings.next(),
        });
        Ok(in_order.collect())
    }

    /// One answer to each, in their order.
    async fn read_questions(
        &self,
        live: &mut Live,
        questions: &[Question<'_>],
    ) -> Result<Vec<Result<Reading>>> {
        if questions.is_empty() {
            return Ok(Vec::new());
        }
        let link = &self.link;
        let mut answers = self.ask(live, questions).await?;
        if answers
            .iter()
            .any(|answer| answer.as_ref().is_err_and(is_noscript))
        {
            // NOSCRIPT has used the arming up, so both are sent again, for all.
            self.load(live, questions).await?;
            answers = self.ask(live, questions).await?;
        }
        let understand = |(question, answer): (&Question<'_>, redis::RedisResult<Value>)| match answer {
            Ok(answer) => question.understand(answer, link.address(), live.tracked),
            Err(err) => Err(link.failed(live, &err)),
        };
        let readings: Vec<_> = questions.iter().zip(answers).map(understand).collect();
        if readings
            .iter()
            .any(|reading| matches!(reading, Err(Error::NotMaster { .. })))
        {
            // A Service may lead to the new master by now.
            link.give_up(live.generation);
        }
        Ok(readings)
    }

    /// Makes the scripts that the questions need known to the server.
    async fn load(&self, live: &mut Live, questions: &[Question<'_>]) -> Result<()> {
        for script in [&OBSERVE, &LENGTHS] {
            if questions
                .iter()
                .all(|question| question.script().get_hash() != script.get_hash())
            {
                continue;
            }
            script
                .load_async(&mut live.connection)
                .await
                .map_err(|err| self.link.failed(live, &err))?;
        }
        Ok(())
    }

    /// One pipeline of CACHING YES and the script for each queue, nothing between: the arming holds for the next
    /// command only.
    async fn ask(
        &self,
        live: &mut Live,
        questions: &[Question<'_>],
    ) -> Result<Vec<redis::RedisResult<Value>>> {
        let link = &self.link;
        let mut pipeline = Pipeline::new();
        for question in questions {
            if live.tracked {
                pipeline.cmd("CLIENT").arg("CACHING").arg("YES");
            }
            pipeline.add_command(question.command());
        }
        let answers = live
            .connection
            .send_packed_commands(&pipeline, 0, pipeline.len())
            .await
            .map_err(|err| link.failed(live, &err))?;
        let per_queue = if live.tracked { 2 } else { 1 };
        Ok(answers
            .chunks(per_queue)
            .map(|pair| {
                if let [Value::ServerError(err), _] = pair {
                    // Not armed: tracking is lost. Readings of this connection are worth nothing more.
                    link.give_up(live.generation);
                    return Err(err.clone().into());
                }
                pair.last().cloned().unwrap_or_default().extract_error()
            })
            .collect())
    }
}

/// Keeps the connection alive, and makes it again at once when it ends. Both its end and the new one mark everything as
/// changed.
async fn keep(node: Weak<Node>) {
    let mut retry = FIRST_RETRY;
    loop {
        let Some(kept) = node.upgrade() else { return };
        let ear = Arc::clone(&kept.ear);
        let answered = kept.link.ping().await;
        let address = kept.link.address().to_owned();
        drop(kept);
        match answered {
            Ok(()) => {
                retry = FIRST_RETRY;
                // Elapsed or lost: either way, try it.
                let _ = tokio::time::timeout(PING_EVERY, ear.lost()).await;
            }
            Err(err) => {
                tracing::debug!(address, %err, "Redis does not answer");
                if retry == FIRST_RETRY {
                    // Whoever reads now learns of it, long before the next poll. Once an outage: the rest is polled.
                    ear.mark_all();
                }
                tokio::time::sleep(retry).await;
                retry = (2 * retry).min(LAST_RETRY);
            }
        }
    }
}
