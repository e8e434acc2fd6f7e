//! Tells Redis how attempts ended: all that ended meanwhile in one call, one that ended alone at once.

use std::convert::Infallible;

use queue::{Consumer, Ended, Ending, Finish};
use tokio::{
    sync::{
        OwnedSemaphorePermit,
        mpsc::{self, UnboundedReceiver, UnboundedSender},
    },
    task::yield_now,
    time::sleep,
};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use crate::{held::Hold, outage::Waits, run::Shared};

/// Takes in how attempts ended. The job stays held, its lease kept and its slot taken, until Redis has heard it: an
/// outage must not cost work that was done.
#[derive(Debug)]
pub(crate) struct Endings {
    sender: UnboundedSender<Untold>,
    untold: TaskTracker,
}

/// How an attempt ended, which Redis does not know yet.
#[derive(Debug)]
pub(crate) struct Untold {
    ended: Ended,
    keeps: Keeps,
}

/// What it keeps until Redis knows.
#[derive(Debug)]
struct Keeps {
    _hold: Hold,
    _slot: OwnedSemaphorePermit,
    _token: TaskTrackerToken,
}

impl Endings {
    /// And where [`tell`] takes them out. There are never more in between than slots.
    pub(crate) fn new() -> (Self, UnboundedReceiver<Untold>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let untold = TaskTracker::new();
        untold.close();
        (Self { sender, untold }, receiver)
    }

    pub(crate) fn take_in(&self, how: Ending, hold: Hold, slot: OwnedSemaphorePermit) {
        let ended = Ended {
            id: hold.id.clone(),
            token: hold.token.clone(),
            how,
        };
        let keeps = Keeps {
            _hold: hold,
            _slot: slot,
            _token: self.untold.token(),
        };
        // Fails only when the worker is gone; then the reaper has the job.
        let _ = self.sender.send(Untold { ended, keeps });
    }

    /// Until all of them are told.
    pub(crate) async fn told(&self) {
        self.untold.wait().await;
    }
}

/// Tells them, for ever, again and again until Redis has heard.
pub(crate) async fn tell<H>(shared: &Shared<H>, receiver: &mut UnboundedReceiver<Untold>) -> Infallible {
    let pulse = &shared.progress.endings;
    let mut batch = Batch::default();
    let mut waits = Waits::new();
    loop {
        if batch.is_empty() {
            pulse.rest(batch.fill(receiver)).await;
        }
        match say(shared, &batch.ended).await {
            Ok(answers) => {
                pulse.heard();
                shared.outage.answered();
                waits.reset();
                batch.end(answers, shared);
            }
            Err(error) => {
                pulse.failed(&error);
                shared.outage.failed("finish", &error);
                sleep(waits.next()).await;
            }
        }
    }
}

async fn say<H>(shared: &Shared<H>, ended: &[Ended]) -> queue::Result<Vec<Finish>> {
    // First: of a run that is over nothing is taken in any more.
    let jobs = ended.iter().map(|ended| &ended.id);
    shared.reports.say(&shared.consumer, jobs).await?;
    shared.consumer.finish(ended).await
}

/// What goes into one call.
#[derive(Debug, Default)]
struct Batch {
    taken: Vec<Untold>,
    ended: Vec<Ended>,
    kept: Vec<Keeps>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.ended.is_empty()
    }

    /// Waits for one, and takes all that end now.
    async fn fill(&mut self, receiver: &mut UnboundedReceiver<Untold>) {
        let mut taken = receiver.recv_many(&mut self.taken, Consumer::MAX_SLOTS).await;
        // Handlers that are ready now end in this moment: as long as some do, they are worth one more look. A
        // handler that ends alone is held up by one such look, which is less than a microsecond.
        while taken > 0 && self.taken.len() < Consumer::MAX_SLOTS {
            yield_now().await;
            taken = 0;
            while self.taken.len() < Consumer::MAX_SLOTS
                && let Ok(untold) = receiver.try_recv()
            {
                self.taken.push(untold);
                taken += 1;
            }
        }
        for untold in self.taken.drain(..) {
            self.ended.push(untold.ended);
            self.kept.push(untold.keeps);
        }
    }

    fn end<H>(&mut self, answers: Vec<Finish>, shared: &Shared<H>) {
        for (ended, answer) in self.ended.drain(..).zip(answers) {
            let outcome = outcome(&ended.how, answer);
            log(&ended, outcome, answer);
            shared.metrics.ended(outcome);
            if answer == Finish::Dead {
                shared.metrics.died(outcome, 1);
            }
        }
        self.kept.clear();
    }
}

fn log(ended: &Ended, outcome: &'static str, answer: Finish) {
    let job = &ended.id;
    tracing::debug!(%job, outcome, "job ended");
    match (answer, &ended.how) {
        (Finish::Stale | Finish::Gone, _) => {
            tracing::warn!(%job, outcome, "the job was no longer this worker's; nothing was written");
        }
        (Finish::Dead, Ending::Failed { error } | Ending::TimedOut { error }) => {
            tracing::warn!(%job, outcome, error, "the last attempt failed: the job is dead");
        }
        (Finish::Retried { after }, Ending::Failed { error } | Ending::TimedOut { error }) => {
            tracing::warn!(%job, outcome, error, ?after, "the attempt failed; there will be another");
        }
        _ => {}
    }
}

/// In a word, for logs and metrics.
fn outcome(how: &Ending, answer: Finish) -> &'static str {
    match (answer, how) {
        (Finish::Finished, _) => "complete",
        (Finish::Cancelled, _) => "cancelled",
        (Finish::Postponed, _) => "postponed",
        (Finish::Retried { .. } | Finish::Dead, Ending::TimedOut { .. }) => "timed_out",
        (Finish::Retried { .. } | Finish::Dead, _) => "failed",
        (Finish::Stale, _) => "lost",
        (Finish::Gone, _) => "gone",
    }
}
