//! Tells Redis how attempts ended: all that ended meanwhile in one call, one that ended alone at once; and in the call
//! that takes the next jobs, if there is one about to be made.

use std::{
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
};

use queue::{Claims, Consumer, Ended, Ending, Finish, Nonce};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    task::yield_now,
    time::sleep,
};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use crate::{held::Hold, outage::Waits, run::Shared};

/// Takes in how attempts ended. The job stays held, its lease kept and its slot taken, until Redis has heard it: an
/// outage must not cost work that was done.
#[derive(Debug)]
pub(crate) struct Endings {
    waiting: Mutex<Waiting>,
    /// For [`tell`]: it has something to do.
    alone: Notify,
    /// For who takes the next jobs: something ended.
    in_turn: Notify,
    untold: TaskTracker,
}

/// What nobody has begun to tell yet: never more than there are slots.
#[derive(Debug, Default)]
struct Waiting {
    endings: Vec<Untold>,
    /// Who takes the next jobs will tell them by the way.
    in_turn: bool,
}

/// How an attempt ended, which Redis does not know yet.
#[derive(Debug)]
struct Untold {
    ended: Ended,
    keeps: Keeps,
}

/// What it keeps until Redis knows.
#[derive(Debug)]
struct Keeps {
    _hold: Hold,
    slot: OwnedSemaphorePermit,
    _token: TaskTrackerToken,
}

impl Endings {
    pub(crate) fn new() -> Self {
        let untold = TaskTracker::new();
        untold.close();
        Self {
            waiting: Mutex::default(),
            alone: Notify::new(),
            in_turn: Notify::new(),
            untold,
        }
    }

    pub(crate) fn take_in(&self, how: Ending, hold: Hold, slot: OwnedSemaphorePermit) {
        let ended = Ended {
            id: hold.id.clone(),
            token: hold.token.clone(),
            how,
        };
        let keeps = Keeps {
            _hold: hold,
            slot,
            _token: self.untold.token(),
        };
        let mut waiting = self.waiting();
        waiting.endings.push(Untold { ended, keeps });
        if waiting.in_turn {
            self.in_turn.notify_one();
        } else {
            self.alone.notify_one();
        }
    }

    /// Until all of them are told.
    pub(crate) async fn told(&self) {
        self.untold.wait().await;
    }

    /// From now on, and until this is dropped, who takes the next jobs tells what ends.
    pub(crate) fn in_turn(&self) -> InTurn<'_> {
        self.waiting().in_turn = true;
        InTurn(self)
    }

    /// Takes all that end now, if they are to be told in this way.
    async fn take(&self, in_turn: bool) -> Batch {
        let mut seen = 0;
        // Handlers that are ready now end in this moment: as long as some do, they are worth one more look. A
        // handler that ends alone is held up by one such look, which is less than a microsecond.
        loop {
            let there = self.waiting().endings.len();
            if there == seen || there >= Consumer::MAX_SLOTS {
                break;
            }
            seen = there;
            yield_now().await;
        }
        let mut waiting = self.waiting();
        let mut batch = Batch::default();
        if waiting.in_turn == in_turn {
            let most = waiting.endings.len().min(Consumer::MAX_SLOTS);
            for untold in waiting.endings.drain(..most) {
                batch.ended.push(untold.ended);
                batch.kept.push(untold.keeps);
            }
        }
        batch
    }

    /// Waits for one that is to be told alone, and takes all that end then.
    async fn next(&self) -> Batch {
        loop {
            let batch = self.take(false).await;
            if !batch.is_empty() {
                return batch;
            }
            self.alone.notified().await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That who takes the next jobs tells what ends.
#[derive(Debug)]
pub(crate) struct InTurn<'a>(&'a Endings);

impl InTurn<'_> {
    /// Waits until something has ended.
    pub(crate) async fn some(&self) {
        while self.0.waiting().endings.is_empty() {
            self.0.in_turn.notified().await;
        }
    }

    /// Takes all that end now; perhaps none. What was taken must be told, or left to [`tell`].
    pub(crate) async fn take(&self) -> Batch {
        self.0.take(true).await
    }

    /// Leaves it to [`tell`], with all that ends from now on.
    pub(crate) fn leave(self, batch: Batch) {
        let untold = batch.ended.into_iter().zip(batch.kept);
        self.0
            .waiting()
            .endings
            .extend(untold.map(|(ended, keeps)| Untold { ended, keeps }));
    }
}

impl Drop for InTurn<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.in_turn = false;
        if !waiting.endings.is_empty() {
            self.0.alone.notify_one();
        }
    }
}

/// Tells them, for ever, again and again until Redis has heard.
pub(crate) async fn tell<H>(shared: &Shared<H>) -> Infallible {
    let pulse = &shared.progress.endings;
    let mut batch = Batch::default();
    let mut waits = Waits::new();
    loop {
        if batch.is_empty() {
            batch = pulse.rest(shared.endings.next()).await;
        }
        match batch.tell(shared).await {
            Ok(answers) => {
                pulse.heard();
                shared.outage.answered();
                waits.reset();
                std::mem::take(&mut batch).end(answers, shared);
            }
            Err(error) => {
                pulse.failed(&error);
                shared.outage.failed("finish", &error);
                sleep(waits.next()).await;
            }
        }
    }
}

/// What goes into one call.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    ended: Vec<Ended>,
    kept: Vec<Keeps>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.ended.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.ended.len()
    }

    async fn tell<H>(&self, shared: &Shared<H>) -> queue::Result<Vec<Finish>> {
        self.report_progress(shared).await;
        shared.consumer.finish(&self.ended).await
    }

    /// Tells them, and takes up to so many jobs by the way.
    pub(crate) async fn tell_and_claim<H>(
        &self,
        shared: &Shared<H>,
        nonce: &Nonce,
        slots: usize,
    ) -> queue::Result<(Vec<Finish>, Claims)> {
        self.report_progress(shared).await;
        shared.consumer.turn(&self.ended, nonce, slots).await
    }

    /// Reports the last progress of these jobs before their outcomes: Redis takes none of a run that is over. A report that
    /// fails does not hold up an outcome.
    async fn report_progress<H>(&self, shared: &Shared<H>) {
        let jobs = self.ended.iter().map(|ended| &ended.id);
        if let Err(error) = shared.reports.say(&shared.consumer, jobs).await {
            shared.outage.failed("report", &error);
        }
    }

    /// Redis has heard it. Answers the slots that were kept so long.
    pub(crate) fn end<H>(self, answers: Vec<Finish>, shared: &Shared<H>) -> Vec<OwnedSemaphorePermit> {
        for (ended, answer) in self.ended.into_iter().zip(answers) {
            let outcome = outcome(&ended.how, answer);
            log(&ended, outcome, answer);
            shared.metrics.ended(outcome);
            if answer == Finish::Dead {
                shared.metrics.died(outcome, 1);
            }
        }
        self.kept.into_iter().map(|kept| kept.slot).collect()
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
