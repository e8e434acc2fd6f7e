use std::time::Duration;

use queue::Error;
use tokio::time::timeout;

use crate::{app, error::Problem};

/// The answer of a call to Redis, bounded in time, or why there is none; that is counted and logged.
pub(super) async fn answered<T>(
    state: &app::State,
    name: &'static str,
    call: impl Future<Output = queue::Result<T>>,
) -> Result<T, Unavailable> {
    let unavailable = if state.redis.is_silent() {
        Unavailable::Silent
    } else {
        let limit = state.settings.timeout;
        match timeout(limit, call).await {
            Ok(Ok(answer)) => return Ok(answer),
            // Redis is well; the client asked for what cannot be.
            Ok(Err(error @ Error::KeyReused(_))) => return Err(Unavailable::Failed(error)),
            Ok(Err(error)) => Unavailable::Failed(error),
            Err(_) => Unavailable::TimedOut(limit),
        }
    };
    state.metrics.failed(unavailable.kind());
    state.redis.outage.failed(name, unavailable.kind(), &unavailable);
    Err(unavailable)
}

/// Why Redis did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unavailable {
    #[error(transparent)]
    Failed(Error),
    #[error("Redis did not answer within {0:?}")]
    TimedOut(Duration),
    #[error("not asked: it has given no answer for a while")]
    Silent,
}

impl Unavailable {
    /// Whether it may have been done all the same, because only the answer is missing.
    fn is_ambiguous(&self) -> bool {
        match self {
            Self::Failed(error) => error.is_ambiguous(),
            Self::TimedOut(_) => true,
            Self::Silent => false,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Failed(error) => error.kind(),
            Self::TimedOut(_) | Self::Silent => "timeout",
        }
    }

    /// 503 to what should have been done to something.
    pub(super) fn undone(&self, what: &str, done: &str) -> Problem {
        let consequence = if self.is_ambiguous() {
            format!("whether {what} was {done} is not known")
        } else {
            format!("{what} was not {done}")
        };
        self.problem(&consequence)
    }

    /// 503. The client is told the kind only: addresses and user names stay in the log.
    pub(super) fn problem(&self, consequence: &str) -> Problem {
        let kind = self.kind();
        Problem::try_later(format!("Redis cannot be used just now ({kind}); {consequence}"))
    }
}
