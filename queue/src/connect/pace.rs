//! When the next connection may be made, so that neither a server that is away for an hour nor one that drops every
//! connection at once is run at in a loop.

use std::time::{Duration, Instant};

/// After the first failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// However long a server is away, it is found again within so long.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A connection that lived so long was a good one: the next is made at once.
const STEADY: Duration = Duration::from_secs(1);

/// Counts failures in a row. A connection that ends young counts too; only the first such is made again at once, because
/// a server that was restarted deserves it.
#[derive(Debug, Default)]
pub(super) struct Pace {
    failures: u32,
    not_before: Option<Instant>,
}

impl Pace {
    /// Whether a connection may be made now.
    pub(super) fn allows(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|not_before| now >= not_before)
    }

    /// No connection could be made.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + self.pause());
    }

    /// The connection that was made at `made` is over.
    pub(super) fn ended(&mut self, made: Instant, now: Instant) {
        if now.duration_since(made) >= STEADY {
            *self = Self::default();
            return;
        }
        self.not_before = Some(now + self.pause());
        self.failures = self.failures.saturating_add(1);
    }

    fn pause(&self) -> Duration {
        match self.failures {
            0 => Duration::ZERO,
            n => LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow(n - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Asks every millisecond of `time` and does what `outcome` says each time that it may connect. Answers when.
    fn tries(time: Duration, mut outcome: impl FnMut(&mut Pace, Instant)) -> Vec<Duration> {
        let (begin, mut pace, mut tries) = (Instant::now(), Pace::default(), Vec::new());
        for ms in 0..u64::try_from(time.as_millis()).unwrap() {
            let at = Duration::from_millis(ms);
            if pace.allows(begin + at) {
                tries.push(at);
                outcome(&mut pace, begin + at);
            }
        }
        tries
    }

    #[test]
    fn a_server_that_is_away_for_an_hour_is_tried_every_second_until_the_end() {
        let tries = tries(HOUR, Pace::failed);
        assert!(tries.len() <= 3_610, "{}", tries.len());
        let longest = tries.windows(2).map(|two| two[1] - two[0]).max();
        assert_eq!(longest, Some(LONGEST_PAUSE));
        assert!(tries.last().is_some_and(|last| *last >= HOUR - LONGEST_PAUSE));
    }

    #[test]
    fn a_server_that_drops_every_connection_at_once_is_not_run_at_in_a_loop() {
        let tries = tries(HOUR, |pace, now| pace.ended(now, now));
        assert!(tries.len() <= 3_610, "{}", tries.len());
    }

    #[test]
    fn the_first_connection_after_a_good_one_or_a_young_one_is_made_at_once() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.ended(now, now);
        assert!(pace.allows(now));
        pace.ended(now, now);
        assert!(!pace.allows(now));
        pace.ended(now, now + STEADY);
        assert!(pace.allows(now + STEADY));
    }

    #[test]
    fn a_failure_to_connect_is_followed_by_a_pause_that_grows() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        let pauses = [100, 200, 400, 800, 1_000, 1_000].map(Duration::from_millis);
        for pause in pauses {
            pace.failed(now);
            assert!(!pace.allows(now + pause - Duration::from_millis(1)));
            now += pause;
            assert!(pace.allows(now));
        }
    }
}
