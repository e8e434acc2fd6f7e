//! What the pool's owner asked for.

use std::num::NonZeroU32;
use std::time::Duration;

/// How many failed polls of the queue make it unreadable where no [`Fallback`] says another number.
pub const DEFAULT_FAILURE_THRESHOLD: u32 = 3;

/// So many replicas, or `min_replicas` if that is more, are enough to see whether a template that never worked does now.
pub const UNPROVEN_REPLICAS: u32 = 3;

/// The wishes of a pool's owner, validated: everything here is taken at its word.
///
/// Schedules and the like are evaluated before: `min_replicas` and `max_replicas` are the bounds in force now.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Exactly this many replicas, whatever the queue says. `None` follows the queue.
    pub replicas: Option<u32>,
    /// Change nothing.
    pub paused: bool,
    /// Never fewer than this when following the queue.
    pub min_replicas: u32,
    /// Never more than this when following the queue. Wins over `min_replicas` should they ever cross.
    pub max_replicas: u32,
    /// Waiting and running jobs that one replica should have.
    pub jobs_per_replica: NonZeroU32,
    /// A job should start within this time. Takes the place of `jobs_per_replica` as soon as it is known how long
    /// a job takes.
    pub target_wait: Option<Duration>,
    /// Jobs that one replica runs at once.
    pub concurrency: NonZeroU32,
    /// The count while there is nothing to do; not above `min_replicas`, which then holds only while there is. `None`:
    /// `min_replicas` always.
    pub idle_replicas: Option<u32>,
    /// A pool at its idle count leaves it only for more waiting jobs than this. Without effect where that is
    /// `min_replicas` and not 0.
    pub activation_threshold: u32,
    /// How long there must have been nothing to do before the pool goes to its idle count or to zero. Apart from the
    /// stabilization window, which holds for every step down.
    pub cooldown: Duration,
    /// As `cooldown`, counted from the pool's creation.
    pub initial_cooldown: Duration,
    /// How fast the count may follow.
    pub behavior: Behavior,
    /// What to do when the queue cannot be read. `None` holds the count.
    pub fallback: Option<Fallback>,
}

impl Default for Policy {
    /// The defaults of a WorkerPool.
    fn default() -> Self {
        Self {
            replicas: None,
            paused: false,
            min_replicas: 0,
            max_replicas: 10,
            jobs_per_replica: NonZeroU32::MIN.saturating_add(4),
            target_wait: None,
            concurrency: NonZeroU32::MIN,
            idle_replicas: None,
            activation_threshold: 0,
            cooldown: Duration::ZERO,
            initial_cooldown: Duration::ZERO,
            behavior: Behavior::default(),
            fallback: None,
        }
    }
}

impl Policy {
    /// The lowest count: of a pool that has nothing to do.
    pub(crate) fn idle(&self) -> u32 {
        let awake = self.awake();
        self.idle_replicas.map_or(awake, |idle| idle.min(awake))
    }

    /// The lowest count of a pool that has something to do, unless that is to be less than one replica.
    pub(crate) fn awake(&self) -> u32 {
        self.min_replicas.min(self.max_replicas)
    }

    /// Whether a pool without work goes to a count at which it must be woken: to zero, or below its minimum.
    pub(crate) fn sleeps(&self) -> bool {
        self.idle() < self.awake().max(1)
    }
}

/// How fast the count may follow demand, each way. The names mean what they mean in a HorizontalPodAutoscaler; the
/// defaults differ: up at once and in one step, down after 30 s and then in one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Behavior {
    /// Rules for a rising count.
    pub scale_up: Rules,
    /// Rules for a falling count.
    pub scale_down: Rules,
}

impl Default for Behavior {
    fn default() -> Self {
        Self {
            scale_up: Rules::within(Duration::ZERO),
            scale_down: Rules::within(Duration::from_secs(30)),
        }
    }
}

/// The rules of one direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Demand that differs from what the current count is for by no more than this share of it changes nothing: 0.1 is a
    /// tenth. Of a count of 0 every share is nothing.
    pub tolerance: f64,
    /// The count goes only as far as every recommendation of this long asked for. At most [`crate::MAX_WINDOW`].
    pub stabilization_window: Duration,
    /// How much may change in how long. Empty: no limit.
    pub policies: Vec<RateLimit>,
    /// Which of the policies is the limit.
    pub select_policy: SelectPolicy,
}

impl Rules {
    /// Rules with this window, no tolerance and no limit of speed.
    #[must_use]
    pub fn within(stabilization_window: Duration) -> Self {
        Self {
            tolerance: 0.0,
            stabilization_window,
            policies: Vec::new(),
            select_policy: SelectPolicy::Max,
        }
    }
}

/// At most so much change in a period, counted from the count that the period began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    /// At most `value` replicas.
    Pods {
        /// Replicas.
        value: u32,
        /// At most [`crate::MAX_PERIOD`].
        period: Duration,
    },
    /// At most `value` percent of the replicas that the period began with; from zero, one replica.
    Percent {
        /// Percent; over 100 is allowed.
        value: u32,
        /// At most [`crate::MAX_PERIOD`].
        period: Duration,
    },
}

/// Which of several rate limits holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SelectPolicy {
    /// The one that allows the most change.
    #[default]
    Max,
    /// The one that allows the least change.
    Min,
    /// No change in this direction at all.
    Disabled,
}

/// What to do when the queue cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// After how many failed polls in a row.
    pub failure_threshold: u32,
    /// The count to fall back on.
    pub replicas: u32,
    /// How `replicas` and the current count make one number.
    pub behavior: FallbackBehavior,
}

/// How the fallback's count and the current one make one number; the names are KEDA's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FallbackBehavior {
    /// The fallback's count. May shrink a pool that cannot see its queue.
    Static,
    /// The current count.
    CurrentReplicas,
    /// The higher of the two: never shrinks.
    #[default]
    CurrentReplicasIfHigher,
    /// The lower of the two. May shrink a pool that cannot see its queue.
    CurrentReplicasIfLower,
}
