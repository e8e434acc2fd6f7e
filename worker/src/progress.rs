//! Liveness: a worker that makes no progress while Redis answers others is to be restarted.
//!
//! A worker whose connection hangs in a way that no timeout of its own ends looks healthy, holds its pod's place
//! and does nothing. It cannot see that from inside its loops, so a watchdog looks at when each of them last
//! heard from Redis, and tells a stall from an outage by asking Redis over a connection made just now.

use std::{
    fmt,
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::{Duration, Instant},
};

use queue::Error;
use telemetry::Condition;
use tokio::time::{sleep, timeout};

/// A loop that has not heard from Redis for this long beyond its period has stalled. Longer than the longest
/// wait after an error and every timeout together.
const STALLED: Duration = Duration::from_secs(30);

/// How often the watchdog looks.
const PERIOD: Duration = Duration::from_secs(5);

/// How long Redis may take to answer the watchdog.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether it is no answer of Redis but the lack of one.
pub(crate) fn is_silence(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable { .. } | Error::Timeout { .. } | Error::Disconnected { .. }
    )
}

/// When one loop last heard from Redis. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Pulse(Arc<Mutex<Beat>>);

#[derive(Clone, Copy, Debug)]
enum Beat {
    /// Heard of at this time.
    Heard(Instant),
    /// Waits for something that is not Redis, say a free slot.
    Resting,
}

impl Pulse {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Beat::Heard(Instant::now()))))
    }

    pub(crate) fn heard(&self) {
        self.set(Beat::Heard(Instant::now()));
    }

    /// As [`Pulse::heard`] if the error is one that Redis itself answered.
    pub(crate) fn failed(&self, error: &Error) {
        if !is_silence(error) {
            self.heard();
        }
    }

    /// From now on it waits for something that is not Redis, and rightly for as long as it takes.
    pub(crate) fn rests(&self) {
        self.set(Beat::Resting);
    }

    /// Waits for something that is not Redis. What is there already is no rest: a loop whose calls all fail
    /// comes by here each time, and is silent all the same.
    pub(crate) async fn rest<T>(&self, wait: impl Future<Output = T>) -> T {
        let mut wait = pin!(wait);
        let at_once = poll_fn(|context| match wait.as_mut().poll(context) {
            Poll::Ready(there) => Poll::Ready(Some(there)),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(there) = at_once.await {
            return there;
        }
        self.rests();
        let came = wait.await;
        self.heard();
        came
    }

    fn silence(&self, now: Instant) -> Duration {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Beat::Heard(at) => now.saturating_duration_since(at),
            Beat::Resting => Duration::ZERO,
        }
    }

    fn set(&self, beat: Beat) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = beat;
    }
}

/// All loops of a worker.
#[derive(Clone, Debug)]
pub struct Progress(pub(crate) Vec<Loops>);

impl Progress {
    /// The first loop that has been silent for too long, and for how long.
    pub(crate) fn stalled(&self, now: Instant) -> Option<(&'static str, Duration)> {
        self.0.iter().find_map(|loops| loops.stalled(now))
    }
}

/// The loops of one queue, each with its period.
#[derive(Clone, Debug)]
pub(crate) struct Loops {
    pub(crate) claims: Pulse,
    pub(crate) endings: Pulse,
    pub(crate) renewals: Pulse,
    pub(crate) ticks: Pulse,
    renewal_period: Duration,
}

impl Loops {
    pub(crate) fn new(renewal_period: Duration) -> Self {
        Self {
            claims: Pulse::new(),
            endings: Pulse::new(),
            renewals: Pulse::new(),
            ticks: Pulse::new(),
            renewal_period,
        }
    }

    fn stalled(&self, now: Instant) -> Option<(&'static str, Duration)> {
        [
            ("claims", &self.claims, STALLED),
            ("endings", &self.endings, STALLED),
            ("renewals", &self.renewals, STALLED + self.renewal_period),
            ("ticks", &self.ticks, STALLED),
        ]
        .into_iter()
        .map(|(name, pulse, bound)| (name, pulse.silence(now), bound))
        .find(|(_, silence, bound)| silence > bound)
        .map(|(name, silence, _)| (name, silence))
    }
}

/// Keeps `condition` up to date, for ever: failing while a loop has stalled and `ping`, which must use a
/// connection made just now, succeeds.
pub async fn watch<F>(progress: Progress, condition: Condition, ping: impl Fn() -> F)
where
    F: Future<Output = Result<(), Error>>,
{
    loop {
        sleep(PERIOD).await;
        judge(progress.stalled(Instant::now()), &condition, &ping).await;
    }
}

async fn judge<F, E>(stalled: Option<(&'static str, Duration)>, condition: &Condition, ping: impl Fn() -> F)
where
    F: Future<Output = Result<(), E>>,
    E: fmt::Display,
{
    let Some((name, silence)) = stalled else {
        return condition.pass();
    };
    match timeout(PATIENCE, ping()).await {
        Ok(Ok(())) => {
            let reason = format!("{name}: nothing heard from Redis for {silence:?}, which answers others");
            tracing::error!(reason, "no progress");
            condition.fail(reason);
        }
        // Redis is away, slow or locked for everybody: a restart would change nothing.
        Ok(Err(_)) | Err(_) => condition.pass(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_secs(60);

    fn passes(condition: &Condition) -> bool {
        condition.check()().is_ok()
    }

    #[test]
    fn silent_loop_is_stalled_and_a_resting_one_is_not() {
        let progress = Loops::new(Duration::from_secs(10));
        let now = Instant::now();
        assert_eq!(progress.stalled(now), None);
        assert_eq!(
            progress.stalled(now + LATER).map(|(name, _)| name),
            Some("claims")
        );
        progress.claims.rests();
        progress.endings.rests();
        progress.renewals.rests();
        progress.ticks.rests();
        assert_eq!(progress.stalled(now + LATER), None);
    }

    #[test]
    fn answer_that_is_an_error_counts_as_heard_and_silence_does_not() {
        let pulse = Pulse::new();
        pulse.rests();
        pulse.failed(&Error::Timeout {
            address: "redis:6379".to_owned(),
            after: LATER,
        });
        assert_eq!(pulse.silence(Instant::now() + LATER), Duration::ZERO);
        pulse.failed(&Error::Loading);
        assert!(pulse.silence(Instant::now() + LATER) >= LATER);
    }

    #[tokio::test]
    async fn only_a_wait_that_takes_time_is_a_rest() {
        let pulse = Pulse::new();
        let before = Instant::now();
        pulse.set(Beat::Heard(before - LATER));
        pulse.rest(std::future::ready(())).await;
        assert_eq!(pulse.silence(before), LATER);
        pulse.rest(tokio::task::yield_now()).await;
        assert_eq!(pulse.silence(before), Duration::ZERO);
    }

    #[tokio::test]
    async fn stall_is_a_failure_only_while_redis_answers_others() {
        let condition = Condition::failing("new");
        judge(None, &condition, || async { Ok::<(), Error>(()) }).await;
        assert!(passes(&condition));
        judge(Some(("claims", LATER)), &condition, || async {
            Ok::<(), Error>(())
        })
        .await;
        assert!(!passes(&condition));
        judge(Some(("claims", LATER)), &condition, || async {
            Err(Error::Loading)
        })
        .await;
        assert!(passes(&condition));
    }
}
