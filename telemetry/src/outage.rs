use std::{
    fmt::Display,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The same trouble is logged no more often than this.
const QUIET: Duration = Duration::from_secs(30);

/// Logs the trouble with something outside that many calls run into at once, say a Redis that is away: one
/// warning for each kind and half a minute, and one line when it is over. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Outage(Arc<Mutex<Option<Logged>>>);

#[derive(Clone, Copy, Debug)]
struct Logged {
    kind: &'static str,
    since: Instant,
    last: Instant,
    over: bool,
}

impl Outage {
    /// A call failed: which one, a short name for how, and the error for people.
    pub fn failed(&self, call: &'static str, kind: &'static str, error: &dyn Display) {
        if self.is_news(kind, Instant::now()) {
            tracing::warn!(call, kind, %error, "Redis cannot be used");
        } else {
            tracing::debug!(call, kind, %error, "Redis still cannot be used");
        }
    }

    /// A call succeeded.
    pub fn answered(&self) {
        if let Some(outage) = self.end() {
            tracing::info!(after = ?outage, "Redis answers again");
        }
    }

    fn is_news(&self, kind: &'static str, now: Instant) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *logged {
            Some(known) if known.kind == kind && now.duration_since(known.last) < QUIET => false,
            known => {
                let since = known.filter(|known| !known.over).map_or(now, |known| known.since);
                *known = Some(Logged {
                    kind,
                    since,
                    last: now,
                    over: false,
                });
                true
            }
        }
    }

    fn end(&self) -> Option<Duration> {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = logged.as_mut().filter(|known| !known.over)?;
        known.over = true;
        Some(known.since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_trouble_is_news_once_in_a_while_and_another_kind_at_once() {
        let outage = Outage::default();
        let start = Instant::now();
        assert!(outage.is_news("unreachable", start));
        assert!(!outage.is_news("unreachable", start + QUIET / 2));
        assert!(outage.is_news("loading", start + QUIET / 2));
        assert!(outage.is_news("loading", start + QUIET * 2));
    }

    #[test]
    fn end_of_an_outage_is_told_once_and_flapping_stays_quiet() {
        let outage = Outage::default();
        let start = Instant::now();
        assert!(outage.end().is_none());
        assert!(outage.is_news("timeout", start));
        assert!(outage.end().is_some());
        assert!(outage.end().is_none());
        assert!(!outage.is_news("timeout", start + QUIET / 2));
        assert!(outage.end().is_none());
    }
}
