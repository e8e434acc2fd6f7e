//! What was given up, and what is remembered of a job besides its hash.

use crate::{Cursor, Job, JobOptions, Status};

/// What became of a [cancellation](crate::Producer::cancel).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancel {
    /// It waited, and will not run. (A foreign worker that took it just before may not notice.)
    Cancelled,
    /// It runs: its worker hears of it with its next renewal and stops. A completion that comes first wins.
    Requested,
    /// It was cancelled before.
    AlreadyCancelled,
    /// It had ended otherwise before: complete or failed.
    Ended(Status),
    /// A worker that is not ours has it, and cannot be told.
    Foreign,
    /// There is no such job.
    NotFound,
}

/// What became of a [retry](crate::Producer::retry).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retried {
    /// It waits again, at the tail of the list.
    Yes,
    /// It is not among the dead, so nothing was changed.
    NotDead(Status),
    /// There is no such job.
    NotFound,
}

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// When, in Unix milliseconds of the server's clock.
    pub at_ms: u64,
    /// What, in a few words: `failed`, `timed out`, `worker lost`, `retried`, ...
    pub what: String,
    /// The error then, if there was one; at most 1 KiB.
    pub error: Option<String>,
}

/// One of the dead: a job that was given up, or an item that was no job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// By what it is named to [`crate::Producer::retry_dead`] and [`crate::Producer::delete_dead`]: a job's id, or
    /// `item:` and the SHA-1 of what is no job.
    pub member: String,
    /// The job, if it is one and its hash is still there.
    pub job: Option<Job>,
    /// Why it was given up, in a few words.
    pub reason: String,
    /// The last error, if there was one; at most 1 KiB.
    pub error: Option<String>,
    /// When it was given up, in Unix milliseconds of the server's clock.
    pub since_ms: u64,
    /// Runs begun.
    pub attempts: u64,
    /// Runs that failed or timed out, since it was last retried.
    pub failures: u64,
    /// Runs whose worker was lost, since it was last retried.
    pub lost: u64,
    /// The last ten things that happened to it, oldest first.
    pub history: Vec<Past>,
}

/// One page of the dead, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadPage {
    /// Newest first.
    pub entries: Vec<Dead>,
    /// Where the next page starts; `None` at the end. It is the same place whatever comes or goes before it.
    pub next: Option<Cursor>,
}

/// What is remembered of a job besides its hash. All zero and empty for one that no worker of ours has taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// Runs begun.
    pub attempts: u64,
    /// Runs that failed or timed out, since it was last retried.
    pub failures: u64,
    /// Runs whose worker was lost, since it was last retried.
    pub lost: u64,
    /// Runs that were given back because their worker ended.
    pub interruptions: u64,
    /// When it runs again, if it waits for a time; in Unix milliseconds of the server's clock.
    pub due_ms: Option<u64>,
    /// When it was complete, cancelled or given up; in Unix milliseconds of the server's clock.
    pub finished_ms: Option<u64>,
    /// Why it was given up.
    pub reason: Option<String>,
    /// The last error; at most 1 KiB.
    pub error: Option<String>,
    /// The last ten things that happened to it, oldest first.
    pub history: Vec<Past>,
    /// Whether it runs and its worker is asked to stop.
    pub cancel_requested: bool,
    /// On what terms it was submitted, if these are not its queue's.
    pub options: JobOptions,
}
