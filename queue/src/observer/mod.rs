//! The face that reads how long queues are, and is told when that changes.

mod changes;
mod counts;
mod subject;

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use redis::{Pipeline, Value};
use tokio::task::JoinHandle;

pub(crate) use self::changes::Dirty;
use self::subject::Question;
pub use self::{
    changes::{Change, Changes},
    counts::Counts,
    subject::{ForeignKey, ForeignQueue, KeyKind, Subject},
};
use crate::{
    Error, Queue, Result, Server,
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

/// One consistent look at a queue: all of it from one script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Items on the main list, without those that are only there to be dropped because they were cancelled.
    pub waiting: u64,
    /// Items in the arrivals list: waiting too, between a wake-up and a claim.
    pub arrivals: u64,
    /// Jobs that workers of ours hold.
    pub running: u64,
    /// Jobs that wait for a time.
    pub delayed: u64,
    /// Of those, how many are due now.
    pub due: u64,
    /// Jobs and other items that were given up.
    pub dead: u64,
    /// Watched jobs that [`Producer::take_changed`](crate::Producer::take_changed) would answer.
    pub changed: u64,
    /// When the next delayed job is due, in Unix milliseconds of the server. May be in the past.
    pub next_due_ms: Option<u64>,
    /// When the job at the head was submitted, in Unix milliseconds of the server. `None` if nothing waits or
    /// a foreign producer submitted it.
    pub oldest_submitted_ms: Option<u64>,
    /// Jobs completed since the queue began, by workers of ours: two readings give a rate.
    pub completed: u64,
    /// The time that those jobs took together, in milliseconds: with `completed`, the mean time of a job.
    pub completed_busy_ms: u64,
    /// What else happened how often.
    pub counts: Counts,
    /// The server's clock at the reading, in Unix milliseconds.
    pub server_time_ms: u64,
    /// The server process; a new one after a restart or a failover.
    pub run_id: String,
    /// Whether it is known that a push will follow the next change. If not, poll.
    pub tracked: bool,
    /// When the answer came, by our clock.
    pub read_at: Instant,
}

impl Reading {
    /// Everything that waits and could run now: `waiting`, `arrivals` and what is due.
    pub fn ready(&self) -> u64 {
        self.waiting + self.arrivals + self.due
    }
}

/// Reads queues over one connection to their server, however many they are. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Observer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    link: Link,
    dirty: Arc<Dirty>,
    keeper: JoinHandle<()>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.keeper.abort();
        self.dirty.wake();
    }
}

impl Observer {
    /// Makes an observer and the stream of its changes, and begins to connect in the background, again and
    /// again with a backoff. Must be called within a tokio runtime.
    ///
    /// Redis tells of changes only to who has read since the last one: each [`Observer::read`] arms its queues
    /// for one push. So read a queue once at first, and again after each [`Change`] that names it. Where the
    /// server refuses tracking, reads work all the same and say `tracked: false`.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Tls`] for settings that cannot work.
    pub fn new(server: &Server) -> Result<(Self, Changes)> {
        let dirty = Arc::new(Dirty::default());
        let link = Link::tracking(server, Arc::clone(&dirty))?;
        let shared = Arc::new_cyclic(|shared: &Weak<Shared>| Shared {
            link,
            dirty: Arc::clone(&dirty),
            keeper: tokio::spawn(keep(Weak::clone(shared))),
        });
        let changes = Changes::new(dirty, Arc::downgrade(&shared));
        Ok((Self { shared }, changes))
    }

    /// [`Observer::read_all`] of queues of ours.
    pub async fn read(&self, queues: &[Queue]) -> Vec<Result<Reading>> {
        let subjects: Vec<_> = queues.iter().cloned().map(Subject::Own).collect();
        self.read_all(&subjects).await
    }

    /// Reads each queue and arms it. One round trip for all (for each 64, to be exact); one answer each, in their
    /// order. Of another system's queue all numbers but `waiting` and `running` are 0.
    ///
    /// Errors are per queue: [`Error::NotMaster`] when the server is a replica; [`Error::WrongType`] for a key that is not
    /// what it should be; any other as it comes.
    pub async fn read_all(&self, subjects: &[Subject]) -> Vec<Result<Reading>> {
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

    /// Forgets a queue: no change will name it until it is read again.
    pub fn forget(&self, subject: &Subject) {
        let question = Question::about(subject);
        self.shared.dirty.forget(subject, &question.keys());
    }

    async fn read_together(&self, subjects: &[Subject]) -> Result<Vec<Result<Reading>>> {
        let Shared { link, dirty, .. } = &*self.shared;
        let mut live = link.live().await?;
        let questions: Vec<_> = subjects.iter().map(Question::about).collect();
        for (subject, question) in subjects.iter().zip(&questions) {
            dirty.about_to_read(subject, &question.keys());
        }
        let mut answers = self.ask(&mut live, &questions).await?;
        if answers
            .iter()
            .any(|answer| answer.as_ref().is_err_and(is_noscript))
        {
            // NOSCRIPT has used the arming up, so both are sent again, for all.
            self.load(&mut live, &questions).await?;
            answers = self.ask(&mut live, &questions).await?;
        }
        let understand = |(question, answer): (&Question<'_>, redis::RedisResult<Value>)| match answer {
            Ok(answer) => question.understand(answer, link.address(), live.tracked),
            Err(err) => Err(link.failed(&live, &err)),
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
                .map_err(|err| self.shared.link.failed(live, &err))?;
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
        let Shared { link, .. } = &*self.shared;
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
async fn keep(shared: Weak<Shared>) {
    let mut retry = FIRST_RETRY;
    loop {
        let Some(kept) = shared.upgrade() else { return };
        let dirty = Arc::clone(&kept.dirty);
        let answered = kept.link.ping().await;
        let address = kept.link.address().to_owned();
        drop(kept);
        match answered {
            Ok(()) => {
                retry = FIRST_RETRY;
                // Elapsed or lost: either way, try it.
                let _ = tokio::time::timeout(PING_EVERY, dirty.lost()).await;
            }
            Err(err) => {
                tracing::debug!(address, %err, "Redis does not answer");
                if retry == FIRST_RETRY {
                    // Whoever reads now learns of it, long before the next poll. Once an outage: the rest is polled.
                    dirty.mark_all();
                }
                tokio::time::sleep(retry).await;
                retry = (2 * retry).min(LAST_RETRY);
            }
        }
    }
}
