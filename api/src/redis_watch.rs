//! What is known of Redis without asking it in a request: whether it can be used, and what is at risk.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use queue::{Producer, Result, Risk};
use telemetry::{Condition, Health, Outage, Warnings};
use tokio::time::{sleep, timeout};

use crate::{metrics::Metrics, queue_metrics::QueueMetrics};

/// How often Redis is looked at. A load balancer notices within this and its own period.
const PERIOD: Duration = Duration::from_secs(1);

/// A look that takes longer counts as a failure.
const PATIENCE: Duration = Duration::from_secs(2);

/// A failed look that took longer shows that requests would wait for their error too. A refused connection or an
/// error in words takes far less.
const SLOW: Duration = Duration::from_millis(300);

/// How often the queue's figures are read: as often as they are scraped by the quickest.
const READ_PERIOD: Duration = Duration::from_secs(5);

/// How often it is asked what endangers data. Settings change rarely, and mostly with a restart, which is an outage.
const RISKS_PERIOD: Duration = Duration::from_secs(60);

/// What the last look found. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct RedisHealth {
    usable: Condition,
    risks: Warnings,
    /// One for the looks and the requests: they run into the same trouble.
    pub(crate) outage: Outage,
    silent: Arc<AtomicBool>,
}

impl RedisHealth {
    pub(crate) fn unknown() -> Self {
        Self {
            usable: Condition::failing("waiting for its first answer"),
            risks: Warnings::about("redis"),
            outage: Outage::default(),
            silent: Arc::default(),
        }
    }

    /// Reports it on `/readyz`.
    pub(crate) fn report(&self, health: Health) -> Health {
        health
            .ready("redis", self.usable.check())
            .warns("redis", self.risks.check())
    }

    /// Whether it gives no answer at all, so that whoever asks would only wait for nothing.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }
}

/// Keeps what is known of Redis up to date.
#[derive(Debug)]
pub struct RedisWatch {
    pub(crate) producer: Producer,
    pub(crate) health: RedisHealth,
    pub(crate) queue: QueueMetrics,
    pub(crate) metrics: Metrics,
}

/// Something that is due at once, and then once a period.
struct Every {
    period: Duration,
    last: Option<Instant>,
}

impl Every {
    fn new(period: Duration) -> Self {
        Self { period, last: None }
    }

    /// Whether it is due; it then counts as done.
    fn is_due(&mut self) -> bool {
        let due = self.last.is_none_or(|last| last.elapsed() >= self.period);
        if due {
            self.last = Some(Instant::now());
        }
        due
    }
}

impl RedisWatch {
    /// Looks for ever: checks version and rights once (again after each outage, which may have brought another
    /// server), then pings; and reads the queue's figures and what endangers it now and then.
    pub async fn run(self) {
        let mut checked = false;
        let (mut figures, mut risks) = (Every::new(READ_PERIOD), Every::new(RISKS_PERIOD));
        loop {
            checked = self.look(checked).await;
            if checked {
                if figures.is_due() {
                    self.read_queue().await;
                }
                if risks.is_due() {
                    self.read_risks().await;
                }
            } else {
                self.queue.set(None);
                figures = Every::new(READ_PERIOD);
                risks = Every::new(RISKS_PERIOD);
            }
            sleep(PERIOD).await;
        }
    }

    async fn read_queue(&self) {
        // A failure shows in the next look too, which says so.
        let seen = timeout(PATIENCE, self.producer.overview()).await;
        self.queue.set(seen.ok().and_then(Result::ok));
    }

    async fn read_risks(&self) {
        if let Ok(Ok(risks)) = timeout(PATIENCE, self.producer.risks()).await {
            self.metrics.at_risk(&risks);
            self.health.risks.set(risks.iter().map(Risk::to_string).collect());
        }
    }

    /// Whether Redis can be used, all checks passed.
    async fn look(&self, checked: bool) -> bool {
        let begun = Instant::now();
        let Err((kind, reason)) = self.ask(checked).await else {
            if !checked {
                tracing::info!("Redis answers");
            }
            self.health.outage.answered();
            self.health.silent.store(false, Ordering::Relaxed);
            self.health.usable.pass();
            return true;
        };
        self.health.outage.failed("ping", kind, &reason);
        self.health
            .silent
            .store(begun.elapsed() > SLOW, Ordering::Relaxed);
        self.health.usable.fail(format!("{reason}; waiting for it"));
        false
    }

    async fn ask(&self, checked: bool) -> Result<(), (&'static str, String)> {
        let look = async {
            if checked {
                self.producer.ping().await
            } else {
                self.producer.check().await
            }
        };
        match timeout(PATIENCE, look).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err((error.kind(), error.to_string())),
            Err(_) => Err(("timeout", format!("Redis did not answer within {PATIENCE:?}"))),
        }
    }
}
