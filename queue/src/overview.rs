//! A queue, for people.

use crate::{Counts, JobId, WorkerState};

/// How long a queue is and who works on it; all of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// Jobs on the list and in arrivals, without those that are only there to be dropped.
    pub waiting: u64,
    /// Jobs that workers of ours hold.
    pub running: u64,
    /// Jobs that wait for a time.
    pub delayed: u64,
    /// Jobs and items that were given up.
    pub dead: u64,
    /// When the job at the head of the list was submitted, in Unix milliseconds of the server's clock. `None` if
    /// none waits, or a foreign program put it in.
    pub oldest_submitted_ms: Option<u64>,
    /// When the next delayed job is due, in Unix milliseconds of the server's clock.
    pub next_due_ms: Option<u64>,
    /// The server's clock, in Unix milliseconds.
    pub server_time_ms: u64,
    /// What happened how often.
    pub counts: Counts,
    /// How many workers of ours are alive; more than are told of if there are very many.
    pub workers_alive: u64,
    /// Workers of ours, last heard of first; at most [`crate::Producer::MAX_WORKERS`].
    pub workers: Vec<WorkerJobs>,
}

/// A worker and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerJobs {
    /// The worker.
    pub state: WorkerState,
    /// Jobs that it holds. Not all of them where workers hold more than [`crate::Producer::MAX_HELD`] together:
    /// [`WorkerState::held`] is exact.
    pub jobs: Vec<JobId>,
}
