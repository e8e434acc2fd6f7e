//! Pods that the count was lowered by.
//!
//! They keep their marks until they must have ended. That may be long after the count fell: a container that is sent SIGTERM before
//! it listens to it (as pid 1 it then never hears of it) lives on for its whole grace time, and would take a job as soon as its
//! mark ends.
//!
//! Where the count rises again before the controller has taken them, they stay, and their marks are lifted.

use std::time::{Duration, Instant};

use kube::ResourceExt;

use super::{SETTLE, victims::Victim};
use crate::{objects::Pod, queues::Errand};

/// How much longer than its grace time a pod may take to end: the kubelet begins late on a busy machine.
const MARGIN: Duration = Duration::from_secs(30);

/// Pods that are about to end.
#[derive(Debug)]
pub(super) struct Going {
    /// UIDs.
    pods: Vec<String>,
    /// The count that was to be left, the lowest of several.
    left: u32,
    /// When the last of their marks ends.
    until: Instant,
    /// Since when the count is higher again.
    raised_at: Option<Instant>,
}

/// Whether some of them may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recall {
    /// No.
    No,
    /// That is seen in so long.
    In(Duration),
    /// Those that are there now.
    Now,
}

impl Going {
    /// Adds to those that go already; answers what makes their marks last.
    pub(super) fn add(going: &mut Option<Self>, victims: &[Victim], left: u32, now: Instant) -> Errand {
        let grace = victims
            .iter()
            .map(|victim| victim.grace)
            .max()
            .unwrap_or_default();
        let time = grace + MARGIN;
        let pods: Vec<_> = victims.iter().map(|victim| victim.uid.clone()).collect();
        let before = going.take().filter(|before| now < before.until);
        let (mut all, lowest, until) = before.map_or((Vec::new(), left, now), |before| {
            (before.pods, before.left.min(left), before.until)
        });
        all.extend(pods.iter().cloned());
        *going = Some(Self {
            pods: all,
            left: lowest,
            until: until.max(now + time),
            raised_at: None,
        });
        Errand::Keep { pods, time }
    }

    /// Whether to look for pods that stay, at this count. What the controller had begun when the count rose, it has done after
    /// [`SETTLE`].
    pub(super) fn recall(&mut self, current: u32, now: Instant) -> Recall {
        if current <= self.left || now >= self.until {
            self.raised_at = None;
            return Recall::No;
        }
        let due = *self.raised_at.get_or_insert(now) + SETTLE;
        match due.checked_duration_since(now) {
            Some(wait) if !wait.is_zero() => Recall::In(wait),
            _ => Recall::Now,
        }
    }

    /// Those that are there all the same.
    pub(super) fn staying(self, active: &[Pod]) -> Vec<String> {
        let is_there = |uid: &String| active.iter().any(|pod| pod.uid().as_ref() == Some(uid));
        self.pods.into_iter().filter(is_there).collect()
    }
}
