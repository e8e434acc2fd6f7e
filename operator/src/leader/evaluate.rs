//! What to do about the Lease, as it was seen.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};

/// A Lease that was seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) lease: Lease,
    /// When it was first seen to say what it says: its holder lives on for its duration from then at most.
    pub(super) changed_at: Instant,
}

impl Seen {
    /// The Lease as it is seen `now`, after it was last seen as `last`.
    pub(super) fn take_in(last: Option<Self>, lease: Lease, now: Instant) -> Self {
        let unchanged = last.filter(|last| last.lease.spec == lease.spec);
        Self {
            lease,
            changed_at: unchanged.map_or(now, |last| last.changed_at),
        }
    }

    fn spec(&self) -> Option<&LeaseSpec> {
        self.lease.spec.as_ref()
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// There is no Lease: make it, as one's own.
    Create,
    /// Nobody holds it, or its holder is gone: take it.
    Acquire,
    /// It is one's own: keep it.
    Renew,
    /// Somebody else holds it, `until` then unless it is seen to change: no write is allowed.
    Wait { leader: String, until: Instant },
}

/// What `me` should do about this Lease. `duration` is for a Lease that does not say its own.
pub(super) fn evaluate(seen: Option<&Seen>, me: &str, duration: Duration, now: Instant) -> Action {
    let Some(seen) = seen else {
        return Action::Create;
    };
    let holder = seen.spec().and_then(|spec| spec.holder_identity.as_deref());
    match holder {
        None | Some("") => Action::Acquire,
        Some(holder) if holder == me => Action::Renew,
        Some(holder) => {
            let until = seen.changed_at + seen.spec().and_then(stated_duration).unwrap_or(duration);
            if now >= until {
                Action::Acquire
            } else {
                Action::Wait {
                    leader: holder.to_owned(),
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
            leader: "other".to_owned(),
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
                lease,
                changed_at: at,
            };
            assert_eq!(
                evaluate(Some(&seen), "me", OWN, now),
                action,
                "{:?} after {age} ms",
                seen.lease.spec
            );
        }
        assert_eq!(evaluate(None, "me", OWN, at), Action::Create);
    }

    #[test]
    fn wall_clocks_are_never_compared() {
        let at = Instant::now();
        // Renewed in 1970, or in 2100: what counts is when that was seen.
        for renewed in [0, 4_102_444_800] {
            let seen = Seen::take_in(None, lease(Some("other"), Some(5), renewed), at);
            let wait = evaluate(Some(&seen), "me", OWN, at + Duration::from_secs(4));
            assert!(matches!(wait, Action::Wait { .. }), "{wait:?}");
            let take = evaluate(Some(&seen), "me", OWN, at + Duration::from_secs(5));
            assert_eq!(take, Action::Acquire);
        }
    }

    #[test]
    fn lease_lives_from_when_it_was_first_seen_to_say_what_it_says() {
        let at = Instant::now();
        let after = |millis| at + Duration::from_millis(millis);
        let first = Seen::take_in(None, lease(Some("other"), Some(2), 10), at);
        let same = Seen::take_in(Some(first), lease(Some("other"), Some(2), 10), after(1_500));
        assert_eq!(same.changed_at, at);
        let renewed = Seen::take_in(Some(same), lease(Some("other"), Some(2), 11), after(1_600));
        assert_eq!(renewed.changed_at, after(1_600));
        // Somebody who slept for an hour finds it renewed: alive, however old the last look.
        let woken = Seen::take_in(Some(renewed), lease(Some("other"), Some(2), 12), after(3_600_000));
        assert!(matches!(
            evaluate(Some(&woken), "me", OWN, after(3_600_000)),
            Action::Wait { .. }
        ));
    }
}
