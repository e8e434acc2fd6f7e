//! In which order Kubernetes deletes the pods of what shrinks.

use std::cmp::Reverse;

use kube::ResourceExt;

use crate::{
    objects::Pod,
    targets::{Kind, Workload},
};

/// The annotation by which a pod is preferred: the lower, the sooner it goes.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// By what Kubernetes chooses the pods that go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As the ReplicaSet controller does: by class, and then by their deletion cost.
    Costs,
    /// As the StatefulSet controller does: the highest ordinals, whatever they are doing.
    Ordinals {
        /// The lowest.
        start: u32,
    },
}

impl Order {
    /// That of the pods of a workload.
    #[must_use]
    pub fn of(kind: Kind, workload: &Workload) -> Self {
        match kind {
            Kind::Deployment | Kind::ReplicaSet => Self::Costs,
            Kind::StatefulSet => Self::Ordinals {
                start: workload.spec.ordinals.unwrap_or_default().start,
            },
        }
    }

    /// Sorts pods, those first that go first.
    pub fn sort(self, pods: &mut [Pod]) {
        match self {
            Self::Costs => sort(pods),
            Self::Ordinals { .. } => pods.sort_by_key(|pod| Reverse(ordinal(pod))),
        }
    }

    /// The least count with which all of these stay. Of sorted pods, as below.
    #[must_use]
    pub fn count(self, pods: &[Pod]) -> u32 {
        match self {
            Self::Costs => u32::try_from(pods.len()).unwrap_or(u32::MAX),
            Self::Ordinals { start } => pods
                .first()
                .map_or(0, |highest| (ordinal(highest) + 1).saturating_sub(start)),
        }
    }

    /// How many go when the count becomes this.
    #[must_use]
    pub fn excess(self, pods: &[Pod], count: u32) -> usize {
        match self {
            Self::Costs => pods.len().saturating_sub(count as usize),
            Self::Ordinals { start } => {
                let first_to_go = start.saturating_add(count);
                pods.iter().take_while(|pod| ordinal(pod) >= first_to_go).count()
            }
        }
    }

    /// The count with which the first of them go, so many, and the others stay.
    #[must_use]
    pub fn left(self, pods: &[Pod], going: usize) -> u32 {
        match self {
            Self::Costs => u32::try_from(pods.len().saturating_sub(going)).unwrap_or(u32::MAX),
            Self::Ordinals { start } => match going.checked_sub(1).and_then(|last| pods.get(last)) {
                Some(last) => ordinal(last).saturating_sub(start),
                None => self.count(pods),
            },
        }
    }
}

/// The number at the end of the name of a StatefulSet's pod.
fn ordinal(pod: &Pod) -> u32 {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let number = name.rsplit_once('-').and_then(|(_, number)| number.parse().ok());
    number.unwrap_or(0)
}

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
    pods.sort_by_key(|pod| (rank(pod), Reverse(pod.creation_timestamp().map(|time| time.0))));
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
