//! How runs of jobs end, and what becomes of the jobs then.

use std::time::Duration;

use super::Token;
use crate::{JobId, JobResult};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The job is done.
    Complete {
        /// What it gave. It is kept if the job is complete by this, and together with that.
        result: Option<JobResult>,
    },
    /// The handler says that it failed.
    Failed {
        /// Why; the first KiB is kept.
        error: String,
    },
    /// It took longer than it may.
    TimedOut {
        /// What is to be said of it; the first KiB is kept.
        error: String,
    },
    /// It was stopped because its user wants it no more.
    Cancelled,
    /// Not now: it is to run again after a time, and loses no attempt.
    Later {
        /// How long it waits at least.
        after: Duration,
    },
}

/// That a run ended, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Whose run.
    pub id: JobId,
    /// Of which claim.
    pub token: Token,
    /// How.
    pub how: Ending,
}

/// What became of a job whose run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// It is complete, by this token. Also the answer to the same finish said twice.
    Finished,
    /// It failed and will run again.
    Retried {
        /// Not before this time is over.
        after: Duration,
    },
    /// It failed for the last time.
    Dead,
    /// It is cancelled.
    Cancelled,
    /// It will run again, and nothing was spent.
    Postponed,
    /// Another worker has it, or it has ended otherwise: nothing of it was changed.
    Stale,
    /// The job's hash is gone (deleted or expired while it ran): the lease was dropped, nothing else was written.
    Gone,
}

/// The most bytes of results in one script call: what a server takes in some milliseconds, and far below what it
/// accepts of a client at once.
const MAX_RESULT_BYTES: usize = 8 * JobResult::MAX_BODY;

/// Splits what ended into what goes into one script call each: at most `limit`.
pub(super) fn calls(mut ended: &[Ended], limit: usize) -> Vec<&[Ended]> {
    let mut calls = Vec::new();
    while !ended.is_empty() {
        let (call, rest) = ended.split_at(of_one_call(ended, limit));
        calls.push(call);
        ended = rest;
    }
    calls
}

/// How many of `ended`, from the first on: at least one.
fn of_one_call(ended: &[Ended], limit: usize) -> usize {
    let mut bytes = 0;
    let fits = |one: &&Ended| {
        if let Ending::Complete { result: Some(result) } = &one.how {
            bytes += result.body().len();
        }
        bytes <= MAX_RESULT_BYTES
    };
    ended.iter().take(limit).take_while(fits).count().max(1)
}
