//! On which terms jobs are run: what is promised to them, and what they may cost.

use std::time::Duration;

use crate::{Error, Result};

/// How long a job is held without a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// How long a claim lasts without [`Consumer::renew`](crate::Consumer::renew). At least 1 s.
    pub duration: Duration,
}

impl Lease {
    /// How often to [`Consumer::renew`](crate::Consumer::renew) and to
    /// [`Consumer::beat`](crate::Consumer::beat): two of them may fail.
    pub fn renew_every(&self) -> Duration {
        self.duration / 3
    }

    /// How often to [`Consumer::tick`](crate::Consumer::tick): a silence of half a lease counts as an outage.
    pub fn tick_every(&self) -> Duration {
        Duration::from_secs(1).min(self.duration / 6)
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(30),
        }
    }
}

/// How long a job waits before it runs again: exponential, with full jitter. After the `n`th bad run it is any
/// time below min(cap, base · 2ⁿ⁻¹), so that jobs that failed together do not come back together.
/// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The bound after the first bad run.
    pub base: Duration,
    /// The bound that is never passed.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            cap: Duration::from_secs(300),
        }
    }
}

/// How often a job is tried before it is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// So many failures (the handler said so, or ran out of time) and the job is dead. At least 1.
    pub max_attempts: u32,
    /// So many lost workers and the job is dead: it may be what kills them. At least 1.
    pub max_lost: u32,
    /// The wait between two tries.
    pub backoff: Backoff,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            max_lost: 3,
            backoff: Backoff::default(),
        }
    }
}

/// How long jobs that ended are kept: hash, record and place in the listing go together. `None` is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Of complete and cancelled jobs.
    pub finished: Option<Duration>,
    /// Of dead ones.
    pub dead: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            finished: Some(7 * DAY),
            dead: Some(90 * DAY),
        }
    }
}

/// The terms of a queue. All of its workers, and the operator, should have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// How long a job is held without a sign of life.
    pub lease: Lease,
    /// How often a job is tried.
    pub retry: Retry,
    /// How long a job is kept that has ended.
    pub retention: Retention,
}

impl Terms {
    pub(crate) fn validate(&self) -> Result<()> {
        let problem = if self.lease.duration < Duration::from_secs(1) {
            "a lease lasts at least one second"
        } else if self.retry.max_attempts == 0 || self.retry.max_lost == 0 {
            "a job has at least one attempt, and may lose at least one worker"
        } else {
            return Ok(());
        };
        Err(Error::Config(problem.to_owned()))
    }
}
