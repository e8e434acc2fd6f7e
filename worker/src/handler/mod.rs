//! What is done with a job.

pub mod command;
pub mod http;
mod message;
mod outcome;
mod sleep;

use std::time::{Duration, Instant};

pub use outcome::Outcome;
use prometheus_client::registry::Registry;
use queue::{Claimed, Job, Payload, QueueName, Token};
pub use sleep::Sleep;
use tokio_util::sync::CancellationToken;

use crate::{held::Stop, reports::Reports};

/// How long a handler that was told to stop may take before it is dropped where it stands, unless it says otherwise.
pub const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Does the work of a job.
///
/// An async closure that takes a [`Context`] and answers an [`Outcome`] is one too.
///
/// Jobs run at least once: a worker that dies after its work and before its answer leaves a job that another
/// one runs again. A handler whose effects must not happen twice keys them by the job's id.
///
/// A handler that panics has failed, with the panic's text; nothing else of the worker is touched. One that
/// computes for long belongs on [`tokio::task::spawn_blocking`]: a thread that it blocks cannot be taken back, and
/// leases are kept by the same threads.
pub trait Handler: Send + Sync + 'static {
    /// Runs one job to its end. Several run at once if the worker's concurrency is above 1.
    ///
    /// When [`Context::stop`] is cancelled, the handler should end soon, with [`Outcome::Stopped`] or, if the work
    /// is done all the same, with [`Outcome::Done`]: see [`StopReason`] for what becomes of the job. After
    /// [`Handler::stop_patience`] the future is dropped where it stands.
    fn handle(&self, context: Context) -> impl Future<Output = Outcome> + Send;

    /// Ends once work can be done. The worker waits for it before each claim, and claims nothing meanwhile: a job is to
    /// wait in the queue, where another worker may have it. Must be quick when all is well, and may be dropped half-way.
    fn ready(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// How long a job may take to end once [`Context::stop`] is cancelled.
    fn stop_patience(&self) -> Duration {
        STOP_PATIENCE
    }

    /// Enters its own metrics into the registry of the worker.
    fn register(&self, _registry: &mut Registry) {}

    /// Sentences about what a person should see to although the worker runs, for `/readyz`. Must be quick.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

impl<F, W> Handler for F
where
    F: Fn(Context) -> W + Send + Sync + 'static,
    W: Future<Output = Outcome> + Send,
{
    fn handle(&self, context: Context) -> impl Future<Output = Outcome> + Send {
        self(context)
    }
}

/// Why a handler must stop. The first reason stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// Another worker has the job, or nobody: whatever this attempt ends with, nothing of it is written.
    Lost,
    /// Its user wants it no more. Done all the same, it is complete.
    Cancelled,
    /// [`Context::deadline`] is past. Done all the same, it is complete; else the attempt failed.
    TimedOut,
    /// This worker ends. What is stopped goes back to the head of the queue, and no attempt is spent.
    Shutdown,
}

/// What a handler is given.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Context {
    /// The job.
    pub job: Job,
    /// 1 at the first try, one more each time it failed, timed out or lost its worker.
    pub attempt: u32,
    /// What was submitted with it, besides start and end.
    pub payload: Option<Payload>,
    /// The queue that it came from.
    pub queue: QueueName,
    /// Cancelled when the handler should stop.
    pub stop: CancellationToken,
    /// When it will have to stop because its time is up, if there is a timeout.
    pub deadline: Option<Instant>,
    token: Token,
    why: Stop,
    reports: Reports,
}

impl Context {
    pub(crate) fn new(
        claimed: Claimed,
        queue: QueueName,
        stop: &Stop,
        deadline: Option<Instant>,
        reports: &Reports,
    ) -> Self {
        let Claimed {
            job,
            token,
            attempt,
            payload,
            ..
        } = claimed;
        Self {
            job,
            attempt,
            payload,
            queue,
            stop: stop.token().clone(),
            deadline,
            token,
            why: stop.clone(),
            reports: reports.clone(),
        }
    }

    /// Says how far it is: how much of a hundred if that is known, and what is being done (its first KiB is kept). Cheap: it
    /// reaches Redis within a quarter of a second, and of what is said meanwhile only the last does.
    pub fn progress(&self, percent: Option<u8>, message: impl Into<String>) {
        self.reports
            .note(&self.job.id, &self.token, percent, message.into());
    }

    /// Where a program on this machine can post the same, while this worker holds the job: JSON with `percent` and
    /// `message`, or one of them.
    pub fn progress_url(&self) -> Option<String> {
        self.reports.url(&self.job.id)
    }

    /// Why it should stop; `None` until then.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.why.reason()
    }
}

/// A percentage as it is kept: whole, and what is beyond the ends is at them.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is clamped"
)]
pub(crate) fn whole_percent(percent: f64) -> u8 {
    percent.clamp(0.0, 100.0) as u8
}

#[cfg(test)]
mod tests {
    use super::whole_percent;

    #[test]
    fn percentage_beyond_its_bounds_is_at_them() {
        for (told, is) in [(-1.0, 0), (42.9, 42), (1e9, 100), (f64::NAN, 0)] {
            assert_eq!(whole_percent(told), is);
        }
    }
}
