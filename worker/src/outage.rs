//! What to do when Redis does not do what it should: wait longer each time, and say so, but not too often.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use queue::Error;
use tokio::sync::Notify;

use crate::metrics::Metrics;

/// The first wait after a failed call, before jitter: a restarted Redis refuses for about as long.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// The longest wait, before jitter: how late a worker may notice that Redis is back.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The waits of one loop that calls Redis: exponential, with jitter so that many workers don't return as one.
#[derive(Debug)]
pub(crate) struct Waits(ExponentialBackoff);

impl Waits {
    pub(crate) fn new() -> Self {
        let waits = ExponentialBuilder::new()
            .with_min_delay(FIRST_WAIT)
            .with_max_delay(LONGEST_WAIT)
            .with_jitter()
            .without_max_times();
        Self(waits.build())
    }

    pub(crate) fn next(&mut self) -> Duration {
        self.0.next().unwrap_or(LONGEST_WAIT)
    }

    /// To be called after a success.
    pub(crate) fn reset(&mut self) {
        *self = Self::new();
    }
}

/// Logs and counts what fails. Clones share it, so an outage that every loop notices is one line, not five.
#[derive(Clone, Debug)]
pub(crate) struct Outage {
    log: telemetry::Outage,
    metrics: Metrics,
    /// Since the last failure nothing has succeeded.
    open: Arc<AtomicBool>,
    over: Arc<Notify>,
}

impl Outage {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            log: telemetry::Outage::default(),
            metrics,
            open: Arc::default(),
            over: Arc::default(),
        }
    }

    /// A call failed.
    pub(crate) fn failed(&self, call: &'static str, error: &Error) {
        self.open.store(true, Ordering::Relaxed);
        self.metrics.failed(error.kind());
        self.log.failed(call, error.kind(), error);
    }

    /// A call succeeded.
    pub(crate) fn answered(&self) {
        // Called for every answer, so the common case is one look.
        if self.open.load(Ordering::Relaxed) && self.open.swap(false, Ordering::Relaxed) {
            self.log.answered();
            self.over.notify_one();
        }
    }

    /// Waits for the next time that Redis answers again. For one caller.
    pub(crate) async fn over(&self) {
        self.over.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_over_after_a_success() {
        let mut waits = Waits::new();
        let first = waits.next();
        // Jitter adds at most as much again.
        assert!((FIRST_WAIT..=2 * FIRST_WAIT).contains(&first), "{first:?}");
        for _ in 0..100 {
            assert!(waits.next() <= 2 * LONGEST_WAIT);
        }
        waits.reset();
        assert!(waits.next() <= 2 * FIRST_WAIT);
    }
}
