use std::{fmt::Display, time::Duration};

use queue::JobResult;

/// How a handler ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The work is done: the job is complete.
    Done,
    /// The work is done, and this is what it gave.
    DoneWith(JobResult),
    /// The work cannot be done, now or ever: the attempt failed. The job is tried again later, or is dead if that was
    /// its last attempt.
    Failed {
        /// What went wrong, for people; kept with the job, its first KiB.
        error: String,
    },
    /// The work is not to be done yet, through no fault of the job: it comes back after this time, and the
    /// attempt is not counted.
    Later {
        /// After how long, at the earliest.
        after: Duration,
    },
    /// The handler was told to stop, and did. Said without having been told, it is [`Outcome::Later`] in a second.
    Stopped,
}

impl Outcome {
    /// The attempt failed, and this is why.
    pub fn failed(error: impl Display) -> Self {
        Self::Failed {
            error: error.to_string(),
        }
    }
}

impl<E: Display> From<Result<(), E>> for Outcome {
    /// So that a handler can end with `work().await.into()`.
    fn from(result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(error) => Self::failed(error),
        }
    }
}

impl<E: Display> From<Result<JobResult, E>> for Outcome {
    /// As above, for work that gives something.
    fn from(result: Result<JobResult, E>) -> Self {
        match result {
            Ok(result) => Self::DoneWith(result),
            Err(error) => Self::failed(error),
        }
    }
}
