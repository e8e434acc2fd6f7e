//! Waiting: a condition and a deadline, never a sleep of a guessed length.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep, timeout_at};

/// How often a condition is looked at. A look costs the API server about 2 ms; a dozen tests at once stay below 5 % of a core.
const INTERVAL: Duration = Duration::from_millis(150);

/// What one look at a condition found.
#[derive(Debug)]
pub enum Look<T> {
    /// It holds; here is what was asked for.
    Seen(T),
    /// Not yet; this is what is there instead.
    NotYet(String),
}

impl<T> Look<T> {
    /// `Seen(value)` if it holds, else `NotYet` with what was seen.
    pub fn when(holds: bool, value: T, seen: impl FnOnce() -> String) -> Self {
        if holds {
            Self::Seen(value)
        } else {
            Self::NotYet(seen())
        }
    }
}

/// Looks until the condition holds.
///
/// # Errors
/// When it does not hold `within` the given time: says what was waited for and what was last seen (a look that fails counts as
/// "not yet", its error as what was seen).
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<Look<T>>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    let mut last = "nothing: the first look did not come back".to_owned();
    loop {
        match timeout_at(deadline, look()).await {
            Ok(Ok(Look::Seen(value))) => return Ok(value),
            Ok(Ok(Look::NotYet(seen))) => last = seen,
            Ok(Err(error)) => last = format!("{error:#}"),
            Err(_) => bail!("not within {within:?}: {what}\nlast seen: {last}"),
        }
        if Instant::now() + INTERVAL > deadline {
            bail!("not within {within:?}: {what}\nlast seen: {last}");
        }
        sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_that_never_holds_fails_with_what_was_last_seen() {
        let within = Duration::from_millis(400);
        let failure = eventually::<()>("the sky is green", within, async || {
            Ok(Look::NotYet("it is blue".to_owned()))
        })
        .await
        .unwrap_err()
        .to_string();
        assert!(failure.contains("the sky is green"), "{failure}");
        assert!(failure.contains("it is blue"), "{failure}");
    }

    #[tokio::test]
    async fn a_look_that_fails_is_looked_at_again() {
        let mut looks = 0;
        let seen = eventually("the third look", Duration::from_secs(5), async || {
            looks += 1;
            if looks < 3 {
                bail!("look {looks} failed");
            }
            Ok(Look::Seen(looks))
        })
        .await
        .unwrap();
        assert_eq!(seen, 3);
    }

    #[tokio::test]
    async fn a_look_that_hangs_does_not_outlive_the_deadline() {
        let within = Duration::from_millis(300);
        let started = Instant::now();
        let hangs = eventually::<()>("an answer", within, async || std::future::pending().await);
        assert!(hangs.await.is_err());
        assert!(started.elapsed() < within * 3);
    }
}
