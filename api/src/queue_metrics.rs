//! The queue, as metrics. Read now and then, never in a scrape; gone while Redis is, for old figures mislead.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use queue::Overview;

use crate::routes::queue::oldest_seconds;

/// What was last seen of the queue. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueueMetrics {
    seen: Arc<Mutex<Option<Overview>>>,
}

impl QueueMetrics {
    /// `None` once it cannot be read.
    pub(crate) fn set(&self, seen: Option<Overview>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

impl Collector for QueueMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(seen) = seen.as_ref() else {
            return Ok(());
        };
        let jobs = [
            ("waiting", seen.waiting),
            ("running", seen.running),
            ("delayed", seen.delayed),
            ("dead", seen.dead),
        ];
        let mut family = encoder.encode_descriptor(
            "queue_jobs",
            "Jobs in the queue, by what they wait for",
            None,
            MetricType::Gauge,
        )?;
        by_label(&mut family, "state", jobs, |count| {
            ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX))
        })?;
        let mut family = encoder.encode_descriptor(
            "queue_events",
            "What happened to jobs of the queue, counted in Redis",
            None,
            MetricType::Counter,
        )?;
        by_label(&mut family, "event", seen.counts.each(), ConstCounter::new)?;
        ConstGauge::new(oldest_seconds(seen).unwrap_or_default()).encode(encoder.encode_descriptor(
            "queue_oldest_job_seconds",
            "For how long the job at the head of the list has waited; 0 if none waits",
            None,
            MetricType::Gauge,
        )?)?;
        ConstGauge::new(i64::try_from(seen.workers_alive).unwrap_or(i64::MAX)).encode(
            encoder.encode_descriptor(
                "queue_workers",
                "Workers that were heard of within their time",
                None,
                MetricType::Gauge,
            )?,
        )
    }
}

fn by_label<M: EncodeMetric>(
    family: &mut MetricEncoder<'_>,
    label: &'static str,
    values: impl IntoIterator<Item = (&'static str, u64)>,
    metric: impl Fn(u64) -> M,
) -> Result<(), fmt::Error> {
    for (value, count) in values {
        metric(count).encode(family.encode_family(&[(label, value)])?)?;
    }
    Ok(())
}
