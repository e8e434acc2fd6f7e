//! When to look at the pods of a workload, and what the last look found. Pure.

use super::{Report, Trouble};

/// The pods of one pool that are not ready. Without an allocation while all are.
#[derive(Debug, Default)]
pub struct PodsTracker(Option<Box<Episode>>);

/// A time in which fewer pods were ready than the workload asked for.
#[derive(Debug)]
struct Episode {
    report: Option<Report>,
    /// The reason that the status gave before the operator was started again, until the first look.
    inherited: Option<Trouble>,
}

impl PodsTracker {
    /// Why the pods are not ready: what the last look found, or what the status said before a restart. `None` once all are, before
    /// the first look, and after a change of the pool's spec until the next look.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        let episode = self.0.as_deref()?;
        let found = episode.report.as_ref().map(|report| report.trouble);
        found.or(episode.inherited)
    }

    /// Whether a pod of the newest revision was ready at the last look; `None` without a look.
    #[must_use]
    pub fn newest_ready(&self) -> Option<bool> {
        let report = self.0.as_deref()?.report.as_ref()?;
        Some(report.newest_ready)
    }
}
