//! What to do about the Lease, as it was seen.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};

/// A Lease that was seen, or that there is none.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) lease: Option<Lease>,
    /// When it was first seen to say what it says, or to be gone: its holder lives on for its duration from then at most.
    pub(super) changed_at: Instant,
}

impl Seen {
    /// The Lease as it is seen `now`, after it was last seen as `last`.
    pub(super) fn take_in(last: Option<Self>, lease: Option<Lease>, now: Instant) -> Self {
        let says = |lease: &Option<Lease>| lease.as_ref().map(|lease| lease.spec.clone());
        let unchanged = last.filter(|last| says(&last.lease) == says(&lease));
        Self {
            lease,
            changed_at: unchanged.map_or(now, |last| last.changed_at),
        }
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// There is no Lease, and nobody who led by it leads any more: make it, as one's own.
    Create,
    /// Nobody holds it, or its holder is gone: take it.
    Acquire,
    /// It is one's own: keep it.
    Renew,
    /// Somebody else holds it, `until` then unless it is seen to change: no write is allowed. Who that is, is not known where
    /// the Lease is gone, which somebody deleted perhaps: the leader will make it anew.
    Wait { leader: Option<String>, until: Instant },
}

/// What `me` should do about this Lease. `duration` is for a Lease that does not say its own.
pub(super) fn evaluate(seen: &Seen, me: &str, duration: Duration, now: Instant) -> Action {
    let Some(lease) = &seen.lease else {
        let until = seen.changed_at + duration;
        return if now >= until {
            Action::Create
        } else {
            Action::Wait { leader: None, until }
        };
    };
    let spec = lease.spec.as_ref();
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref());
    match holder {
        None | Some("") => Action::Acquire,
        Some(holder) if holder == me => Action::Renew,
        Some(holder) => {
            let until = seen.changed_at + spec.and_then(stated_duration).unwrap_or(duration);
            if now >= until {
                Action::Acquire
            } else {
                Action::Wait {
                    leader: Some(holder.to_owned()),
                    until,
                }
            }
        }
    }
}

fn stated_duration(spec: &LeaseSpec) -> Option<Duration> {
    let seconds = u64::try_from(spec.lease_duration_seconds?).ok()?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp};

    use super::*;

    const OWN: Duration = Duration::from_secs(2);

    fn lease(holder: Option<&str>, duration: Option<i32>, renewed: i64) -> Lease {
        Lease {
            spec: Some(LeaseSpec {
                holder_identity: holder.map(str::to_owned),
                lease_duration_seconds: duration,
                renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        }
    }

    #[test]
    fn free_lease_is_taken_ones_own_is_kept_and_anothers_is_waited_for() {
        let at = Instant::now();
        let wait = |seconds| Action::Wait {
            leader: Some("other".to_owned()),
            until: at + Duration::from_secs(seconds),
        };
        let empty = Lease::default();
        // The Lease, the age of what it says in milliseconds, what to do.
        let table = [
            (empty, 0, Action::Acquire),
            (lease(None, Some(5), 0), 0, Action::Acquire),
            (lease(Some(""), Some(5), 0), 0, Action::Acquire),
            (lease(Some("me"), Some(5), 0), 0, Action::Renew),
            // Expired by one's own clock, and yet nobody took it: nobody else led.
            (lease(Some("me"), Some(5), 0), 60_000, Action::Renew),
            (lease(Some("other"), Some(5), 0), 0, wait(5)),
            (lease(Some("other"), Some(5), 0), 4_999, wait(5)),
            (lease(Some("other"), Some(5), 0), 5_000, Action::Acquire),
            (lease(Some("other"), None, 0), 1_999, wait(2)),
            (lease(Some("other"), None, 0), 2_000, Action::Acquire),
            (lease(Some("other"), Some(0), 0), 1_999, wait(2)),
            (lease(Some("other"), Some(-7), 0), 2_000, Action::Acquire),
        ];
        for (lease, age, action) in table {
            let now = at + Duration::from_millis(age);
            let seen = Seen {
                lease: Some(lease),
                changed_at: at,
            };
            assert_eq!(
                evaluate(&seen, "me", OWN, now),
                action,
                "{:?} after {age} ms",
                seen.lease
            );
        }
    }

    #[test]
    fn lease_that_is_gone_is_made_anew_when_nobody_can_lead_by_it_any_more() {
        let at = Instant::now();
        let after = |millis| at + Duration::from_millis(millis);
        let first = Seen::take_in(None, Some(lease(Some("other"), Some(2), 10)), at);
        let gone = Seen::take_in(Some(first), None, after(100));
        let wait = Action::Wait {
            leader: None,
            until: after(2_100),
        };
        assert_eq!(evaluate(&gone, "me", OWN, after(2_099)), wait);
        let still_gone = Seen::take_in(Some(gone), None, after(2_099));
        assert_eq!(evaluate(&still_gone, "me", OWN, after(2_099)), wait);
        assert_eq!(evaluate(&still_gone, "me", OWN, after(2_100)), Action::Create);

        // Its leader has made it anew meanwhile.
        let back = Seen::take_in(
            Some(still_gone),
            Some(lease(Some("other"), Some(2), 12)),
            after(2_100),
        );
        assert!(matches!(
            evaluate(&back, "me", OWN, after(4_099)),
            Action::Wait { leader: Some(_), .. }
        ));
    }

    #[test]
    fn wall_clocks_are_never_compared() {
        let at = Instant::now();
        // Renewed in 1970, or in 2100: what counts is when that was seen.
        for renewed in [0, 4_102_444_800] {
            let seen = Seen::take_in(None, Some(lease(Some("other"), Some(5), renewed)), at);
            let wait = evaluate(&seen, "me", OWN, at + Duration::from_secs(4));
            assert!(matches!(wait, Action::Wait { .. }), "{wait:?}");
            let take = evaluate(&seen, "me", OWN, at + Duration::from_secs(5));
            assert_eq!(take, Action::Acquire);
        }
    }

    #[test]
    fn lease_lives_from_when_it_was_first_seen_to_say_what_it_says() {
        let at = Instant::now();
        let after = |millis| at + Duration::from_millis(millis);
        let first = Seen::take_in(None, Some(lease(Some("other"), Some(2), 10)), at);
        let same = Seen::take_in(Some(first), Some(lease(Some("other"), Some(2), 10)), after(1_500));
        assert_eq!(same.changed_at, at);
        let renewed = Seen::take_in(Some(same), Some(lease(Some("other"), Some(2), 11)), after(1_600));
        assert_eq!(renewed.changed_at, after(1_600));
        // Somebody who slept for an hour finds it renewed: alive, however old the last look.
        let woken = Seen::take_in(
            Some(renewed),
            Some(lease(Some("other"), Some(2), 12)),
            after(3_600_000),
        );
        assert!(matches!(
            evaluate(&woken, "me", OWN, after(3_600_000)),
            Action::Wait { .. }
        ));
    }
}
