//! What was recommended and done before.
//!
//! Decisions are made when something changes, not at a fixed beat, so a recommendation counts as made until the next
//! one takes its place. (A HorizontalPodAutoscaler samples every 15 s and looks at the samples.)

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::Decision;

/// The longest stabilization window, as in a HorizontalPodAutoscaler: older recommendations are forgotten.
pub const MAX_WINDOW: Duration = Duration::from_secs(3600);
/// The longest period of a rate limit, as in a HorizontalPodAutoscaler: older changes are forgotten.
pub const MAX_PERIOD: Duration = Duration::from_secs(1800);

/// Changes closer together than this are kept as one, at the time of the later: a pool that changes often costs no
/// more memory than [`MAX_PERIOD`] has seconds.
const CHANGE_RESOLUTION: Duration = Duration::from_secs(1);

/// A pool's past, as far as windows and rate limits look back.
#[derive(Clone, Debug)]
pub struct History {
    /// The recommendation in force.
    recommended: u32,
    /// Past recommendations that were higher than all that followed, the highest first.
    peaks: VecDeque<Past>,
    /// Past recommendations that were lower than all that followed, the lowest first.
    lows: VecDeque<Past>,
    changes: VecDeque<Change>,
    /// Whether there was work when last asked, and until when there was before that.
    working: bool,
    worked_until: Option<Instant>,
}

/// A recommendation and when it ceased to be in force.
#[derive(Clone, Copy, Debug)]
struct Past {
    value: u32,
    until: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Change {
    at: Instant,
    added: u32,
    removed: u32,
}

/// The extreme recommendation of a window, and when it leaves the window (`None`: it is in force).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extreme {
    pub(crate) value: u32,
    pub(crate) leaves: Option<Instant>,
}

impl History {
    /// A pool without a past, as after a restart: the window starts at the current count and the cooldown anew, so that a
    /// restart by itself changes no replica count.
    #[must_use]
    pub fn starting_at(current: u32) -> Self {
        Self {
            recommended: current,
            peaks: VecDeque::new(),
            lows: VecDeque::new(),
            changes: VecDeque::new(),
            working: true,
            worked_until: None,
        }
    }

    /// Keeps what was recommended. To be called after every [`crate::decide`], with the same `now`.
    pub fn record(&mut self, decision: &Decision, now: Instant) {
        forget(&mut self.peaks, now);
        forget(&mut self.lows, now);
        if self.working {
            self.worked_until = Some(now);
        }
        self.working = decision.working;
        if decision.recommended == self.recommended {
            return;
        }
        let past = Past {
            value: self.recommended,
            until: now,
        };
        self.peaks.push_back(past);
        self.lows.push_back(past);
        self.recommended = decision.recommended;
        while self
            .peaks
            .back()
            .is_some_and(|last| last.value <= self.recommended)
        {
            self.peaks.pop_back();
        }
        while self
            .lows
            .back()
            .is_some_and(|last| last.value >= self.recommended)
        {
            self.lows.pop_back();
        }
    }

    /// Keeps that the target's count was changed. To be called when the write succeeded.
    pub fn scaled(&mut self, from: u32, to: u32, now: Instant) {
        while self
            .changes
            .front()
            .is_some_and(|change| age(change.at, now) >= MAX_PERIOD)
        {
            self.changes.pop_front();
        }
        let (added, removed) = (to.saturating_sub(from), from.saturating_sub(to));
        match self.changes.back_mut() {
            Some(last) if age(last.at, now) < CHANGE_RESOLUTION => {
                // The later time: a limit is never laxer for it.
                *last = Change {
                    at: now,
                    added: last.added.saturating_add(added),
                    removed: last.removed.saturating_add(removed),
                };
            }
            _ => self.changes.push_back(Change {
                at: now,
                added,
                removed,
            }),
        }
    }

    /// When the pool last had work, as of `now`: it has worked until it is seen not to.
    pub(crate) fn last_work(&self, now: Instant) -> Instant {
        match self.worked_until {
            Some(until) if !self.working => until,
            _ => now,
        }
    }

    /// The highest of `desired` and all recommendations in force at some time of the window that ends now.
    pub(crate) fn highest(&self, desired: u32, window: Duration, now: Instant) -> Extreme {
        self.extreme(&self.peaks, desired, window, now, |past, best| past > best)
    }

    /// The lowest of `desired` and all recommendations in force at some time of the window that ends now.
    pub(crate) fn lowest(&self, desired: u32, window: Duration, now: Instant) -> Extreme {
        self.extreme(&self.lows, desired, window, now, |past, best| past < best)
    }

    fn extreme(
        &self,
        ordered: &VecDeque<Past>,
        desired: u32,
        window: Duration,
        now: Instant,
        beats: fn(u32, u32) -> bool,
    ) -> Extreme {
        let mut best = Extreme {
            value: desired,
            leaves: None,
        };
        // The recommendation in force ends now, as `desired` takes its place.
        let in_force = Past {
            value: self.recommended,
            until: now,
        };
        for past in ordered.iter().chain([&in_force]) {
            if age(past.until, now) < window && beats(past.value, best.value) {
                best = Extreme {
                    value: past.value,
                    leaves: past.until.checked_add(window),
                };
            }
        }
        best
    }

    /// Replicas added and removed in the period that ends now, and when the oldest of these changes leaves it.
    pub(crate) fn changed_within(&self, period: Duration, now: Instant) -> (u32, u32, Option<Instant>) {
        let mut sum = (0_u32, 0_u32, None);
        for change in self.changes.iter().filter(|change| age(change.at, now) < period) {
            sum.0 = sum.0.saturating_add(change.added);
            sum.1 = sum.1.saturating_add(change.removed);
            sum.2 = sum.2.or_else(|| change.at.checked_add(period));
        }
        sum
    }
}

fn age(then: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(then)
}

fn forget(ordered: &mut VecDeque<Past>, now: Instant) {
    while ordered
        .front()
        .is_some_and(|past| age(past.until, now) >= MAX_WINDOW)
    {
        ordered.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mode, Reason, decide::unasked};

    fn recommending(count: u32) -> Decision {
        unasked(count, Mode::Queue, Reason::JobsPerReplica)
    }

    #[test]
    fn recommendations_are_forgotten_when_no_window_can_reach_them() {
        let (start, mut history) = (Instant::now(), History::starting_at(1000));
        // Falling all the time, each is a peak; rising, a low.
        for step in 1..=1000 {
            history.record(&recommending(1000 - step), start + MAX_WINDOW / 100 * step);
        }
        assert!(history.peaks.len() <= 101, "{} peaks", history.peaks.len());
        for step in 1..=1000 {
            let after = MAX_WINDOW / 100 * (1000 + step);
            history.record(&recommending(step), start + after);
        }
        assert!(history.lows.len() <= 101, "{} lows", history.lows.len());
    }

    #[test]
    fn changes_of_one_second_are_one_at_the_later_time() {
        let (start, mut history) = (Instant::now(), History::starting_at(0));
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        history.scaled(0, 3, at(0));
        history.scaled(3, 5, at(999));
        history.scaled(5, 4, at(1_999));
        assert_eq!(history.changes.len(), 2);
        let period = Duration::from_secs(10);
        assert_eq!(
            history.changed_within(period, at(2_000)),
            (5, 1, Some(at(10_999)))
        );
    }

    #[test]
    fn changes_are_forgotten_when_no_period_can_reach_them() {
        let (start, mut history) = (Instant::now(), History::starting_at(0));
        for step in 0..1000 {
            history.scaled(step, step + 1, start + MAX_PERIOD / 100 * step);
        }
        assert_eq!(history.changes.len(), 100);
    }
}
