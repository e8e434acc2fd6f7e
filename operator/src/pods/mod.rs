//! The reasons for which pods of a workload are not ready.
//!
//! Pods are not watched. The watch on the workload shows that fewer are ready than it asks for; where that lasts, its
//! ReplicaSets and one page of its pods are listed, again at growing intervals.
//!
//! - `diagnosis`, `pod`: pure; from ReplicaSets and pods to the [`Trouble`] that most of them have.
//! - `tracker`: pure; the times of looks, and the findings of the last one.
//! - `pacer`: the rate of looks, over all pools.
//! - `look`: the lists themselves.
//! - `proof`: pure; whether the pod template is known to work, by which the count is limited.

mod diagnosis;
mod look;
mod pacer;
mod pod;
mod proof;
#[cfg(test)]
mod tests;
mod tracker;
mod trouble;

pub(crate) use self::look::follow;
pub use self::{
    diagnosis::{Report, Seen, diagnose},
    pacer::LookPacer,
    proof::{TemplateProof, TemplateReport, is_rolled_out_and_ready},
    tracker::{PodCounts, PodsTracker, Readiness},
    trouble::Trouble,
};
