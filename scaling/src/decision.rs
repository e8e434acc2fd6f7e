//! What came out, and why.

use std::fmt;
use std::time::Instant;

/// How many replicas, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The count to write now.
    pub replicas: u32,
    /// The count to go to as soon as running jobs allow it: less than `replicas` only with
    /// [`Reason::BusyWorkers`]. The replicas between the two are to take no new jobs.
    pub desired: u32,
    /// What demand alone asks for, before bounds, windows and rates. `None` where the queue was not asked.
    pub raw: Option<u64>,
    /// What goes into the [`crate::History`], with `working`.
    pub recommended: u32,
    /// Whether there is work, as far as is known: a cooldown begins when there is none any more.
    pub working: bool,
    /// Who decided.
    pub mode: Mode,
    /// Which rule had the last word.
    pub reason: Reason,
    /// When to decide again though nothing was seen to change: a window or a period ends then.
    pub not_before: Option<Instant>,
}

/// Who decides the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The queue.
    Queue,
    /// A person, by `spec.replicas`.
    Pinned,
    /// Nobody: the count stays.
    Paused,
    /// The fallback, as the queue cannot be read.
    Fallback,
}

/// Which rule had the last word. Each variant states what holds of the count when it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The count is what it was.
    Paused,
    /// The count is `replicas`, whatever the queue says.
    Pinned,
    /// The count is demand divided by `jobs_per_replica`, rounded up.
    JobsPerReplica,
    /// The count is what starts the last job in line within `target_wait` and keeps up with arrivals.
    TargetWait,
    /// Demand asks for less; the count is `min_replicas`.
    MinReplicas,
    /// Demand asks for more; the count is `max_replicas`.
    MaxReplicas,
    /// The count is the idle one and stays so: no more than `activation_threshold` jobs wait, and none runs or retries.
    BelowActivation,
    /// There is nothing to do; the count is `idle_replicas`.
    IdleReplicas,
    /// There is nothing to do, but was so lately that the count does not yet go to the idle one.
    Cooldown,
    /// Demand differs from what the count is for by no more than the tolerance; the count is what it was.
    WithinTolerance,
    /// The count is lower than demand asks for: it was not asked for throughout the window.
    ScaleUpStabilized,
    /// The count is higher than demand asks for: more was asked for within the window.
    ScaleDownStabilized,
    /// The count rises less than demand asks for: a policy limits how fast.
    ScaleUpLimit,
    /// The count falls less than demand asks for: a policy limits how fast.
    ScaleDownLimit,
    /// Demand asks for more; the count stays, as rising is disabled.
    ScaleUpDisabled,
    /// Demand asks for less; the count stays, as falling is disabled.
    ScaleDownDisabled,
    /// Demand asks for more; the count is what is enough to see whether a replica of the present template can start, as none did.
    Unproven,
    /// The count is to fall, but not below the replicas that hold a job.
    BusyWorkers,
    /// The count is what it was, or the least one of a new pool: the queue has not been read yet.
    NotReadYet,
    /// The count is what it was: a queue that cannot be seen moves nothing. Of several those that can may raise it.
    QueueUnreadable,
    /// The queue could not be read `failure_threshold` times; the count is the fallback's.
    Fallback,
}

impl Mode {
    /// The mode as status and metrics spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "Queue",
            Self::Pinned => "Pinned",
            Self::Paused => "Paused",
            Self::Fallback => "Fallback",
        }
    }
}

impl Reason {
    /// The reason as conditions, events and metrics spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "Paused",
            Self::Pinned => "Pinned",
            Self::JobsPerReplica => "JobsPerReplica",
            Self::TargetWait => "TargetWait",
            Self::MinReplicas => "MinReplicas",
            Self::MaxReplicas => "MaxReplicas",
            Self::BelowActivation => "BelowActivation",
            Self::IdleReplicas => "IdleReplicas",
            Self::Cooldown => "Cooldown",
            Self::WithinTolerance => "WithinTolerance",
            Self::ScaleUpStabilized => "ScaleUpStabilized",
            Self::ScaleDownStabilized => "ScaleDownStabilized",
            Self::ScaleUpLimit => "ScaleUpLimit",
            Self::ScaleDownLimit => "ScaleDownLimit",
            Self::ScaleUpDisabled => "ScaleUpDisabled",
            Self::ScaleDownDisabled => "ScaleDownDisabled",
            Self::Unproven => "Unproven",
            Self::BusyWorkers => "BusyWorkers",
            Self::NotReadYet => "NotReadYet",
            Self::QueueUnreadable => "QueueUnreadable",
            Self::Fallback => "Fallback",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
