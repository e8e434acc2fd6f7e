//! The end of a worker, in order. An outage of Redis holds up nothing: what cannot be told or given back is reaped.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use queue::{JobId, Token};
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    handler::{Handler, StopReason},
    held::Hold,
    outage::Waits,
    run::Shared,
};

/// How much longer than its patience a handler that is cut off may take: one that blocks its thread takes for ever.
const STOP_MARGIN: Duration = Duration::from_millis(250);

/// How long telling and giving back may take at the end. Grace time, patience and this together stay under the 30 s
/// after which Kubernetes kills.
const GIVE_BACK_PATIENCE: Duration = Duration::from_millis(1_750);

/// Jobs whose handlers have stopped and that are to be given back. Still held, so still renewed.
#[derive(Debug, Default)]
pub(crate) struct Unfinished(Mutex<Vec<Hold>>);

impl Unfinished {
    pub(crate) fn add(&self, hold: Hold) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(hold);
    }

    /// Oldest claim first, which is the order in which they shall be taken again.
    fn take(&self) -> Vec<Hold> {
        let mut unfinished = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        unfinished.sort_unstable_by_key(|hold| hold.number);
        unfinished
    }
}

/// Lets what runs finish within the grace time, which `forced` cuts short; stops the rest and gives it back.
pub(crate) async fn drain<H: Handler>(
    shared: &Shared<H>,
    running: &TaskTracker,
    grace: Duration,
    forced: &CancellationToken,
) {
    // A grace time of hours is no stall.
    shared.progress.claims.rests();
    running.close();
    let finish = async {
        running.wait().await;
        shared.endings.told().await;
    };
    let finished = timeout(grace, forced.run_until_cancelled(finish)).await;
    if !matches!(finished, Ok(Some(()))) {
        tracing::warn!(
            jobs = shared.held.count(),
            "running jobs are stopped and given back"
        );
        shared.held.stop_all(StopReason::Shutdown);
        let patience = shared.handler.stop_patience() + STOP_MARGIN;
        if timeout(patience, running.wait()).await.is_err() {
            tracing::warn!(jobs = running.len(), "left to the reaper");
        }
    }
    let settle = async {
        tokio::join!(shared.endings.told(), give_back(shared));
        if let Err(error) = shared.consumer.deregister().await {
            shared.outage.failed("deregister", &error);
        }
    };
    if timeout(GIVE_BACK_PATIENCE, settle).await.is_err() {
        tracing::warn!("Redis did not answer; what was left is reaped when its lease ends");
    }
}

async fn give_back<H>(shared: &Shared<H>) {
    let unfinished = shared.unfinished.take();
    if unfinished.is_empty() {
        return;
    }
    let pairs: Vec<(JobId, Token)> = unfinished
        .iter()
        .map(|hold| (hold.id.clone(), hold.token.clone()))
        .collect();
    let mut waits = Waits::new();
    while let Err(error) = shared.consumer.give_back(&pairs).await {
        shared.outage.failed("give back", &error);
        sleep(waits.next()).await;
    }
    for hold in unfinished {
        tracing::info!(job = %hold.id, outcome = "given_back", "job ended");
        shared.metrics.ended("given_back");
    }
}
