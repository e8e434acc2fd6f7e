//! In which order Kubernetes deletes the pods of a ReplicaSet that shrinks.

use kube::ResourceExt;

use crate::objects::Pod;

/// The annotation by which a pod is preferred: the lower, the sooner it goes.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// How near a pod is to being deleted: the lower, the nearer. The first five rules of the ReplicaSet controller's
/// `ActivePodsWithRanks` are these classes; the deletion cost counts only between pods of one class, and what follows
/// it only between pods of one cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Has no node yet.
    Unassigned,
    /// Has not started.
    Pending,
    /// Its node is not heard of.
    Unknown,
    /// Runs, and is not ready, perhaps no longer: it may be busy and goes all the same.
    NotReady,
    /// Runs and is ready.
    Ready,
}

impl Class {
    /// The class of a pod that is neither finished nor about to be deleted.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        if pod.spec.node_name.as_ref().is_none_or(String::is_empty) {
            return Self::Unassigned;
        }
        match pod.status.phase.as_deref() {
            Some("Running") if is_ready(pod) => Self::Ready,
            Some("Running") => Self::NotReady,
            Some("Unknown") => Self::Unknown,
            _ => Self::Pending,
        }
    }
}

/// What the controller sorts by, as far as it can be relied on: pods that differ in it go in its order. Pods that do not
/// may go in any.
#[must_use]
pub fn rank(pod: &Pod) -> (Class, i32) {
    (Class::of(pod), cost(pod))
}

/// Sorts pods by their rank, and within it the newest first.
pub fn sort(pods: &mut [Pod]) {
    pods.sort_by_key(|pod| {
        (
            rank(pod),
            std::cmp::Reverse(pod.creation_timestamp().map(|time| time.0)),
        )
    });
}

/// Whether the controller counts the pod at all.
#[must_use]
pub fn is_active(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && !matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

fn cost(pod: &Pod) -> i32 {
    pod.annotations()
        .get(DELETION_COST)
        .and_then(|cost| cost.parse().ok())
        .unwrap_or(0)
}

fn is_ready(pod: &Pod) -> bool {
    pod.status
        .conditions
        .iter()
        .any(|condition| condition.kind == "Ready" && condition.status == "True")
}
