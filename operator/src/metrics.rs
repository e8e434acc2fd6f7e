//! What the operator counts and measures.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crds::status::{Disabled, Mode};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::Registry,
};
use scaling::Reason;

use crate::{PoolRef, jobs::JobMetrics, pods::Trouble, queues::Queues};

/// From a millisecond, which a write to a fast API server takes, to the slow poll.
const REACTION_BUCKETS: [f64; 12] = [
    0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

/// A metric with a label for each pool: name, help, and how to take it from what was seen.
type PoolMetric = (&'static str, &'static str, fn(&PoolGauges) -> Option<i64>);

const POOL_METRICS: [PoolMetric; 6] = [
    (
        "operator_pool_desired_replicas",
        "The count last decided",
        |pool| pool.desired,
    ),
    ("operator_pool_ready_replicas", "Pods that are ready", |pool| {
        Some(pool.ready)
    }),
    ("queue_waiting_jobs", "Jobs in line", |pool| Some(pool.waiting)),
    ("queue_running_jobs", "Jobs that a worker holds", |pool| {
        Some(pool.running)
    }),
    (
        "queue_delayed_jobs",
        "Jobs that wait for their time, after a failure or a lost worker",
        |pool| Some(pool.delayed),
    ),
    ("queue_dead_jobs", "Jobs that were given up", |pool| {
        Some(pool.dead)
    }),
];

/// What one pool shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct PoolGauges {
    /// The count last decided; `None` for a pool that is not served.
    pub desired: Option<i64>,
    /// Pods that are ready.
    pub ready: i64,
    /// Jobs in line.
    pub waiting: i64,
    /// Jobs that a worker holds.
    pub running: i64,
    /// Jobs that wait for their time.
    pub delayed: i64,
    /// Jobs that were given up.
    pub dead: i64,
    /// Who decides the count.
    pub mode: Option<Mode>,
    /// In which direction the count does not go by itself.
    pub disabled: Option<Disabled>,
    /// Pods that are not ready, and the reason of most of them; `None` if all are.
    pub not_ready: Option<(Trouble, u32)>,
}

/// A metric that is 1 for what holds of a pool: name, help, its label, and how to take the label's values from what was
/// seen.
type PoolStates = (
    &'static str,
    &'static str,
    &'static str,
    fn(&PoolGauges) -> &'static [&'static str],
);

const POOL_STATES: [PoolStates; 2] = [
    (
        "operator_pool_mode",
        "1 for who decides the count: the queue, a person (Pinned), nobody (Paused), or the fallback",
        "mode",
        |pool| match pool.mode {
            Some(Mode::Queue) => &["Queue"],
            Some(Mode::Pinned) => &["Pinned"],
            Some(Mode::Paused) => &["Paused"],
            Some(Mode::Fallback) => &["Fallback"],
            None => &[],
        },
    ),
    (
        "operator_pool_scaling_disabled",
        "1 for each direction in which the count does not go by itself: selectPolicy is Disabled there",
        "direction",
        |pool| match pool.disabled {
            Some(Disabled::ScaleUp) => &["up"],
            Some(Disabled::ScaleDown) => &["down"],
            Some(Disabled::Both) => &["up", "down"],
            None => &[],
        },
    ),
];

/// The operator's metrics. Registered under `workerpool_operator_`.
#[derive(Debug, Default)]
pub struct Metrics {
    decisions: Family<DecisionLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
    undecodable: Family<KindLabels, Gauge>,
    events_dropped: Counter,
    reconcile_seconds: Option<Histogram>,
    reaction_seconds: Option<Histogram>,
    ready: Gauge,
    leads: Gauge,
    pools: Mutex<HashMap<PoolRef, PoolGauges>>,
    /// Those of Jobs.
    pub jobs: JobMetrics,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: String,
}

impl Metrics {
    /// Makes the metrics and registers them.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reconcile_seconds: Some(Histogram::new(REACTION_BUCKETS)),
            reaction_seconds: Some(Histogram::new(REACTION_BUCKETS)),
            ..Self::default()
        };
        let registry = registry.sub_registry_with_prefix("operator");
        registry.register(
            "decisions",
            "Decisions made, by the rule that had the last word",
            metrics.decisions.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Pools that could not be reconciled, by what failed",
            metrics.errors.clone(),
        );
        registry.register(
            "undecodable_objects",
            "Objects that cannot be decoded now, and are left as they are",
            metrics.undecodable.clone(),
        );
        registry.register(
            "events_dropped",
            "Events that were not published",
            metrics.events_dropped.clone(),
        );
        registry.register(
            "up_to_date",
            "1 once all pools and Deployments are known",
            metrics.ready.clone(),
        );
        metrics.jobs.register(registry);
        registry.register(
            "leads",
            "1 while this operator leads; of all replicas one does",
            metrics.leads.clone(),
        );
        if let (Some(reconcile), Some(reaction)) = (&metrics.reconcile_seconds, &metrics.reaction_seconds) {
            registry.register(
                "reconcile_duration_seconds",
                "How long a pool took to be reconciled",
                reconcile.clone(),
            );
            registry.register(
                "reaction_duration_seconds",
                "From Redis' telling of a change until the API server had taken the new count",
                reaction.clone(),
            );
        }
        metrics
    }

    /// A decision was made.
    pub fn decided(&self, reason: Reason) {
        let labels = DecisionLabels {
            reason: reason.as_str(),
        };
        self.decisions.get_or_create(&labels).inc();
    }

    /// Something failed, of this kind.
    pub fn failed(&self, kind: &'static str) {
        self.errors.get_or_create(&ErrorLabels { kind }).inc();
    }

    /// So many objects of a kind cannot be decoded now.
    pub fn undecodable(&self, kind: &str, count: usize) {
        let labels = KindLabels {
            kind: kind.to_owned(),
        };
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.undecodable.get_or_create(&labels).set(count);
    }

    /// An event could not be published.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// A pool was reconciled, in this time.
    pub fn reconciled(&self, took: Duration) {
        if let Some(histogram) = &self.reconcile_seconds {
            histogram.observe(took.as_secs_f64());
        }
    }

    /// A change in Redis became a new count, in this time.
    pub fn reacted(&self, took: Duration) {
        if let Some(histogram) = &self.reaction_seconds {
            histogram.observe(took.as_secs_f64());
        }
    }

    /// All pools and Deployments are known.
    pub fn up_to_date(&self) {
        self.ready.set(1);
    }

    /// Whether this operator leads.
    pub fn leads(&self, leads: bool) {
        self.leads.set(leads.into());
    }

    /// What a pool shows now.
    pub fn show(&self, pool: &PoolRef, gauges: PoolGauges) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        match pools.get_mut(pool) {
            Some(known) => *known = gauges,
            None => {
                pools.insert(pool.clone(), gauges);
            }
        }
    }

    /// Ends the series of a pool that is gone.
    pub fn forget(&self, pool: &PoolRef) {
        self.pools
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(pool);
    }

    fn pools(&self) -> Vec<(PoolRef, PoolGauges)> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools
            .iter()
            .map(|(pool, gauges)| (pool.clone(), *gauges))
            .collect()
    }
}

/// The series that each pool has: made when they are asked for, so that none outlives its pool and an age is never stale.
#[derive(Debug)]
pub struct PoolCollector {
    metrics: std::sync::Arc<Metrics>,
    queues: Queues,
}

impl PoolCollector {
    /// Of these metrics, and of what these queues last said.
    #[must_use]
    pub fn new(metrics: std::sync::Arc<Metrics>, queues: Queues) -> Self {
        Self { metrics, queues }
    }
}

impl Collector for PoolCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let pools = self.metrics.pools();
        for (name, help, value) in POOL_METRICS {
            let gauge = ConstGauge::new(0_i64);
            let mut family = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            for (pool, gauges) in &pools {
                if let Some(value) = value(gauges) {
                    ConstGauge::new(value).encode(family.encode_family(&labels(pool))?)?;
                }
            }
        }
        for (name, help, label, values) in POOL_STATES {
            let gauge = ConstGauge::new(1_i64);
            let mut family = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            for (pool, gauges) in &pools {
                let [namespace, name] = labels(pool);
                for value in values(gauges) {
                    let labels = [&namespace, &name, &(label, (*value).to_owned())].map(Clone::clone);
                    gauge.encode(family.encode_family(&labels)?)?;
                }
            }
        }
        let gauge = ConstGauge::new(0_i64);
        let help = "Pods that are not ready, by the reason of most of them; absent where all are";
        let name = "operator_pool_pods_not_ready";
        let mut family = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
        for (pool, gauges) in &pools {
            if let Some((trouble, count)) = gauges.not_ready {
                let [namespace, name] = labels(pool);
                let labels = [namespace, name, ("reason", trouble.as_str().to_owned())];
                ConstGauge::new(i64::from(count)).encode(family.encode_family(&labels)?)?;
            }
        }
        let now = Instant::now();
        let gauge = ConstGauge::new(0.0_f64);
        let help = "Time since the queue was last read";
        let name = "operator_pool_reading_age_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
        for (pool, read_at) in self.queues.read_times() {
            let age = now.saturating_duration_since(read_at).as_secs_f64();
            ConstGauge::new(age).encode(family.encode_family(&labels(&pool))?)?;
        }
        let gauge = ConstGauge::new(1_i64);
        let help = "1 for each way in which the pool's Redis may lose what it was given";
        let name = "operator_pool_redis_risk";
        let mut family = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
        for (pool, risks) in self.queues.risks() {
            let [namespace, name] = labels(&pool);
            for risk in risks {
                let labels = [&namespace, &name, &("risk", risk.as_str().to_owned())].map(Clone::clone);
                gauge.encode(family.encode_family(&labels)?)?;
            }
        }
        let servers = ConstGauge::new(i64::try_from(self.queues.servers()).unwrap_or(i64::MAX));
        let help = "Redis servers, and logins to them, that are watched";
        let encoder =
            encoder.encode_descriptor("operator_redis_servers", help, None, servers.metric_type())?;
        servers.encode(encoder)
    }
}

fn labels(pool: &PoolRef) -> [(&'static str, String); 2] {
    [
        ("namespace", pool.namespace.clone().unwrap_or_default()),
        ("pool", pool.name.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::leader::Leadership;

    #[test]
    fn series_of_a_pool_end_with_it() {
        let mut registry = Registry::with_prefix("workerpool");
        let metrics = Arc::new(Metrics::register(&mut registry));
        let (queues, _wakes) = Queues::new(Leadership::permanent(1));
        registry.register_collector(Box::new(PoolCollector::new(Arc::clone(&metrics), queues)));
        let scrape = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        };
        let pool = PoolRef::new("hw7").within("default");
        let gauges = PoolGauges {
            desired: Some(3),
            ready: 2,
            waiting: 11,
            running: 2,
            delayed: 4,
            dead: 1,
            mode: Some(Mode::Paused),
            disabled: Some(Disabled::Both),
            not_ready: Some((Trouble::ImagePullFailed, 1)),
        };
        metrics.show(&pool, gauges);
        let series = "workerpool_operator_pool_pods_not_ready{namespace=\"default\",pool=\"hw7\",reason=\"ImagePullFailed\"} 1\n";
        assert!(scrape().contains(series), "{series} is not in {}", scrape());
        for (name, value) in [
            ("operator_pool_desired_replicas", 3),
            ("operator_pool_ready_replicas", 2),
            ("queue_waiting_jobs", 11),
            ("queue_running_jobs", 2),
            ("queue_delayed_jobs", 4),
            ("queue_dead_jobs", 1),
        ] {
            let series = format!("workerpool_{name}{{namespace=\"default\",pool=\"hw7\"}} {value}\n");
            assert!(scrape().contains(&series), "{series} is not in {}", scrape());
        }
        for (name, label) in [
            ("mode", "mode=\"Paused\""),
            ("scaling_disabled", "direction=\"up\""),
            ("scaling_disabled", "direction=\"down\""),
        ] {
            let series =
                format!("workerpool_operator_pool_{name}{{namespace=\"default\",pool=\"hw7\",{label}}} 1\n");
            assert!(scrape().contains(&series), "{series} is not in {}", scrape());
        }
        assert_eq!(scrape().matches("pool_mode{").count(), 1);
        metrics.forget(&pool);
        assert!(!scrape().contains("hw7"), "{}", scrape());
    }
}
