//! Why the pods of a workload are not ready.
//!
//! Pods are not watched. The watch on the workload shows that fewer are ready than it asks for; where that lasts, its
//! ReplicaSets and one page of its pods are listed, again at growing intervals.
//!
//! - `diagnosis`, `pod`: pure; from ReplicaSets and pods to the [`Trouble`] that most of them have.
//! - `tracker`: pure; when to look, and what the last look found.
//! - `pacer`: how many looks all pools together make.
//! - `look`: the lists themselves.

mod diagnosis;
mod look;
mod pacer;
mod pod;
#[cfg(test)]
mod tests;
mod tracker;
mod trouble;

pub(crate) use self::look::follow;
pub use self::{
    diagnosis::{Report, Seen, diagnose},
    pacer::LookPacer,
    tracker::{PodCounts, PodsTracker, Readiness},
    trouble::Trouble,
};
