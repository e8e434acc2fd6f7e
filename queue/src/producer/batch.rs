//! Submissions that arrive together share one script call.
//!
//! While a call is under way, others gather; the next call takes what has gathered. So a lone submission waits for
//! nothing, and a thousand at once cost a handful of round trips.

use std::sync::Arc;

use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::yield_now,
};

use super::Shared;
use crate::{
    Error, NewJob, Result,
    scripts::{Submit, Submitted},
};

/// The most jobs in one call: beyond it the price of a job no longer falls, and the server is held longer.
const MAX_BATCH: usize = 128;

/// A second call under way keeps the server busy while the first's answer travels; more would only make the
/// batches smaller.
const MAX_CALLS: usize = 2;

/// Submissions in line. Beyond it, submitters wait for a place.
const MAX_WAITING: usize = 4_096;

struct Waiting {
    job: NewJob,
    answer: oneshot::Sender<Result<(NewJob, Submitted)>>,
}

#[derive(Debug, Clone)]
pub(super) struct Batcher {
    line: mpsc::Sender<Waiting>,
}

impl Batcher {
    /// Starts the task that sends; it ends when the last clone is dropped.
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let (line, waiting) = mpsc::channel(MAX_WAITING);
        tokio::spawn(send_batches(shared, waiting));
        Self { line }
    }

    pub(super) async fn submit(&self, job: NewJob) -> Result<(NewJob, Submitted)> {
        let stopped = || Error::Unexpected("the runtime is shutting down".to_owned());
        let (answer, answered) = oneshot::channel();
        self.line
            .send(Waiting { job, answer })
            .await
            .map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

async fn send_batches(shared: Arc<Shared>, mut line: mpsc::Receiver<Waiting>) {
    let calls = Arc::new(Semaphore::new(MAX_CALLS));
    // The semaphore is never closed.
    while let Ok(permit) = Arc::clone(&calls).acquire_owned().await {
        let Some(first) = line.recv().await else {
            return;
        };
        // Those who are about to submit do so first: a call of more jobs costs less for each.
        yield_now().await;
        let mut batch = Vec::with_capacity(MAX_BATCH.min(line.len() + 1));
        batch.push(first);
        while batch.len() < MAX_BATCH
            && let Ok(next) = line.try_recv()
        {
            batch.push(next);
        }
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            send_batch(&shared, batch).await;
            drop(permit);
        });
    }
}

async fn send_batch(shared: &Shared, batch: Vec<Waiting>) {
    let (jobs, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|w| (w.job, w.answer)).unzip();
    let submit = Submit {
        jobs: &jobs,
        serializer: shared.queue.serializer,
    };
    let results = match shared.link.run(&shared.keys, &submit).await {
        Ok(results) => results,
        Err(err) => jobs.iter().map(|_| Err(err.clone())).collect(),
    };
    for ((job, answer), result) in jobs.into_iter().zip(answers).zip(results) {
        // Whoever no longer waits has dropped the other end.
        let _ = answer.send(result.map(|submitted| (job, submitted)));
    }
}
