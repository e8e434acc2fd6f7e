//! What a worker counts.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use queue::{Risk, Sweep, Tick};

/// What a worker counts. Clones share it.
#[derive(Clone, Debug)]
pub struct Metrics {
    jobs: Family<OutcomeLabel, Counter>,
    dead: Family<ReasonLabel, Counter>,
    errors: Family<KindLabel, Counter>,
    ticks: Family<EffectLabel, Counter>,
    sweeps: Family<EffectLabel, Counter>,
    risks: Family<RiskLabel, Gauge>,
    pub(crate) held: Gauge,
    pub(crate) slots: Gauge,
    pub(crate) claim_seconds: Histogram,
    pub(crate) job_seconds: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EffectLabel {
    effect: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RiskLabel {
    risk: &'static str,
}

impl Metrics {
    /// Makes them and enters them into the registry.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            jobs: Family::default(),
            dead: Family::default(),
            errors: Family::default(),
            ticks: Family::default(),
            sweeps: Family::default(),
            risks: Family::default(),
            held: Gauge::default(),
            slots: Gauge::default(),
            // From 50 µs, a round trip on loopback, to 1.6 s.
            claim_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            // From 1 ms to 4.5 h: handlers do anything.
            job_seconds: Histogram::new(exponential_buckets(0.001, 4.0, 13)),
        };
        metrics.enter(registry);
        metrics
    }

    fn enter(&self, registry: &mut Registry) {
        registry.register("worker_jobs", "Claims ended, by how", self.jobs.clone());
        registry.register(
            "worker_jobs_dead",
            "Jobs that were given up, by why: every attempt spent, or every worker lost",
            self.dead.clone(),
        );
        registry.register("worker_jobs_held", "Jobs held now", self.held.clone());
        registry.register(
            "worker_slots",
            "Jobs that can be held at once",
            self.slots.clone(),
        );
        registry.register(
            "worker_claim_duration_seconds",
            "Time that a claim took, its round trip included",
            self.claim_seconds.clone(),
        );
        registry.register(
            "worker_job_duration_seconds",
            "Time that a handler took, however it ended",
            self.job_seconds.clone(),
        );
        registry.register(
            "worker_redis_errors",
            "Calls to Redis that failed, by kind",
            self.errors.clone(),
        );
        registry.register(
            "worker_tick_effects",
            "Jobs and workers that a tick of this worker moved, by what was done with them",
            self.ticks.clone(),
        );
        registry.register(
            "worker_foreign_jobs",
            "Jobs whose foreign worker this worker's sweeps found gone, by what was done with them",
            self.sweeps.clone(),
        );
        registry.register(
            "redis_risk",
            "1 while Redis is set up so that it may lose jobs in this way",
            self.risks.clone(),
        );
    }

    pub(crate) fn ended(&self, outcome: &'static str) {
        self.jobs.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    pub(crate) fn died(&self, reason: &'static str, count: u64) {
        self.dead.get_or_create(&ReasonLabel { reason }).inc_by(count);
    }

    pub(crate) fn failed(&self, kind: &'static str) {
        self.errors.get_or_create(&KindLabel { kind }).inc();
    }

    /// These are all that there are now.
    pub(crate) fn at_risk(&self, risks: &[Risk]) {
        self.risks.clear();
        for risk in risks {
            let risk = risk.as_str();
            self.risks.get_or_create(&RiskLabel { risk }).set(1);
        }
    }

    pub(crate) fn swept(&self, sweep: &Sweep) {
        for (effect, count) in [
            ("lost", sweep.lost),
            ("recovered", sweep.recovered),
            ("dead", sweep.dead),
            ("removed", sweep.removed),
        ] {
            if count > 0 {
                self.sweeps.get_or_create(&EffectLabel { effect }).inc_by(count);
            }
        }
    }

    pub(crate) fn ticked(&self, tick: &Tick) {
        for (effect, count) in [
            ("reaped", tick.reaped),
            ("promoted", tick.promoted),
            ("returned", tick.returned),
            ("cancelled", tick.cancelled),
            ("purged", tick.purged),
            ("expired_worker", tick.expired_workers),
        ] {
            if count > 0 {
                self.ticks.get_or_create(&EffectLabel { effect }).inc_by(count);
            }
        }
        if tick.dead > 0 {
            self.died("worker_lost", tick.dead);
        }
    }
}
