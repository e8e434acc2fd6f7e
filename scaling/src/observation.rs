//! What was seen just now.

use std::time::Duration;

/// One look at the pool.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// The count that the scale target asks for now (its `spec.replicas`).
    pub current: u32,
    /// How long ago the pool was created.
    pub age: Duration,
    /// The queue, or that it could not be read.
    pub queue: QueueState,
    /// Whether new replicas can start.
    pub startup: Startup,
}

/// Whether new replicas can start, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Startup {
    /// Nothing is known that keeps them from it, or one of the same template was ready once.
    #[default]
    Possible,
    /// None of the present template was ever ready, and one cannot start.
    Failing {
        /// The count is not limited below this: replicas of an earlier template are ready and work.
        keep: u32,
    },
}

/// The queue as far as it could be seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum QueueState {
    /// Read, and fresh enough to act on.
    Read(Reading),
    /// Of several queues some were read; the reading is of these. The count may rise for it, but not fall.
    Partly {
        /// Of the queues that were read.
        reading: Reading,
        /// Failed polls in a row of the others.
        failures: u32,
    },
    /// Not read: not yet (`failures: 0`), or not any more.
    Unreadable {
        /// Failed polls in a row.
        failures: u32,
    },
}

/// What a readable queue says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Jobs in line, those on their way to a worker included.
    pub waiting: u64,
    /// Jobs that a worker holds.
    pub running: u64,
    /// Retries whose time has come, not yet back in line.
    pub due_retries: u64,
    /// Replicas that must not go now: they hold a job, or nobody can say that they hold none.
    pub busy_replicas: u32,
    /// Seconds a job takes, where measured. Not finite or not above zero counts as not measured.
    pub seconds_per_job: Option<f64>,
    /// Jobs that arrive a second, where measured; else 0.
    pub arrivals_per_second: f64,
    /// Seconds from asking for a replica until it takes its first job, where measured; else 0.
    pub seconds_to_start: f64,
}

impl Reading {
    /// Unfinished jobs that are the workers' business now: running ones count, so that a pool whose workers are all
    /// busy over an empty list is not idle.
    #[must_use]
    pub fn demand(&self) -> u64 {
        self.backlog().saturating_add(self.running)
    }

    /// Jobs that could start at once if a worker were free.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        self.waiting.saturating_add(self.due_retries)
    }
}
