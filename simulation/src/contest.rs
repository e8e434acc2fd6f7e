//! Who is compared, and on what.

use std::{fmt, num::NonZeroU32, time::Duration};

use scaling::Policy;

use crate::{
    keda::{Keda, Settings},
    law::Law,
    run::{Outcome, run},
    scaler::Scaler,
    trace::{Shape, Trace},
};

/// More replicas than this nobody may have.
const MAX_REPLICAS: u32 = 200;

/// A kind of trace.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// How jobs come.
    pub shape: Shape,
    /// Seconds that a job takes on average.
    pub takes: f64,
    /// Seconds of the trace.
    pub seconds: f64,
    /// What a plot of it is called.
    pub title: &'static str,
    /// The seconds of it that are plotted.
    pub plotted: (f64, f64),
}

/// The traces of the table.
pub const CASES: [Case; 3] = [
    Case {
        shape: Shape::Poisson { rate: 5.0 },
        takes: 2.0,
        seconds: 14_400.0,
        title: "Poisson: 5 jobs a second, 2 s each",
        plotted: (0.0, 1800.0),
    },
    Case {
        shape: Shape::Bursty {
            apart: 300.0,
            jobs: 100,
            within: 1.0,
        },
        takes: 2.0,
        seconds: 14_400.0,
        title: "Bursts of 100 jobs, every five minutes or so, 2 s each",
        plotted: (0.0, 3600.0),
    },
    Case {
        shape: Shape::Daily {
            night: 0.05,
            day: 4.0,
        },
        takes: 3.0,
        seconds: 86_400.0,
        title: "A day: 0.05 jobs a second at midnight, 4 at noon, 3 s each",
        plotted: (0.0, 86_400.0),
    },
];

/// Under which conditions.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// Seconds within which jobs should start.
    pub target: f64,
    /// Seconds from asking for a replica to its first job.
    pub start: f64,
    /// Seconds that jobs took on average before the trace begins.
    pub takes: f64,
}

/// Who is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// The law with `targetWaitSeconds`.
    TargetWait,
    /// The law with `jobsPerReplica`.
    JobsPerReplica(u32),
    /// KEDA with its `pollingInterval` in seconds and its `listLength`.
    Keda(u32, u32),
    /// A HorizontalPodAutoscaler alone, with this `averageValue`.
    Hpa(u32),
}

impl Case {
    /// The trace.
    #[must_use]
    pub fn trace(&self, seed: u64) -> Trace {
        self.shape.trace(seed, self.seconds, self.takes)
    }
}

impl System {
    /// All of the table.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![
            Self::TargetWait,
            Self::JobsPerReplica(1),
            Self::JobsPerReplica(2),
            Self::JobsPerReplica(3),
            Self::JobsPerReplica(4),
            Self::JobsPerReplica(5),
            Self::Keda(30, 5),
            Self::Keda(1, 5),
            Self::Keda(1, 1),
            Self::Hpa(5),
        ]
    }

    /// Whether plots show it: more lines than these nobody could tell apart.
    #[must_use]
    pub fn is_plotted(self) -> bool {
        matches!(self, Self::TargetWait | Self::Keda(30, 5) | Self::Keda(1, 5))
    }

    /// What it makes of a trace.
    #[must_use]
    pub fn run(self, trace: &Trace, conditions: Conditions) -> Outcome {
        run(trace, self.scaler(conditions).as_mut(), conditions.start)
    }

    fn scaler(self, conditions: Conditions) -> Box<dyn Scaler> {
        let law = |policy| Box::new(Law::new(policy, conditions.takes, conditions.start));
        let policy = Policy {
            max_replicas: MAX_REPLICAS,
            ..Policy::default()
        };
        let keda = |polling_interval, list_length| {
            Box::new(Keda::new(Settings {
                list_length,
                max_replicas: MAX_REPLICAS,
                polling_interval,
            }))
        };
        match self {
            Self::TargetWait => law(Policy {
                target_wait: Some(Duration::from_secs_f64(conditions.target)),
                ..policy
            }),
            Self::JobsPerReplica(jobs) => law(Policy {
                jobs_per_replica: NonZeroU32::new(jobs).unwrap_or(NonZeroU32::MIN),
                ..policy
            }),
            Self::Keda(poll, length) => keda(Some(f64::from(poll)), length),
            Self::Hpa(length) => keda(None, length),
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TargetWait => f.write_str("targetWaitSeconds"),
            Self::JobsPerReplica(jobs) => write!(f, "jobsPerReplica {jobs}"),
            Self::Keda(poll, length) => write!(f, "KEDA, poll {poll} s, listLength {length}"),
            Self::Hpa(length) => write!(f, "HPA alone, averageValue {length}"),
        }
    }
}
