//! What is counted of Jobs.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// What is counted of Jobs. Registered with the operator's other metrics.
#[derive(Debug, Default)]
pub struct JobMetrics {
    known: Gauge,
    submitted: Counter,
    calls: Family<CallLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    call: &'static str,
}

impl JobMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("jobs", "Job resources that are looked after", self.known.clone());
        registry.register(
            "jobs_submitted",
            "Job resources that were put into their queue",
            self.submitted.clone(),
        );
        registry.register(
            "job_requests",
            "Requests to the API server about Job resources, by what they were for",
            self.calls.clone(),
        );
    }

    pub(super) fn known(&self, count: usize) {
        self.known.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn submitted(&self) {
        self.submitted.inc();
    }

    /// A request to the API server was made.
    pub fn called(&self, call: &'static str) {
        self.calls.get_or_create(&CallLabels { call }).inc();
    }
}
