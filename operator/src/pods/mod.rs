//! Why the pods of a workload are not ready.
//!
//! Pods are not watched. The watch on the workload shows that fewer are ready than it asks for; where that lasts, its
//! ReplicaSets and one page of its pods are listed, again at growing intervals, and told apart by `diagnosis`.
//!
//! - `diagnosis`: pure; from ReplicaSets and pods to the reason that most of them have.
//! - `tracker`: pure; when to look, and what the last look found.

mod diagnosis;
mod tracker;

pub use self::{
    diagnosis::{Report, Trouble},
    tracker::PodsTracker,
};
