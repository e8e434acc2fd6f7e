//! The Lease to write. Fields as in `kubectl explain lease.spec`; what other programs put in its metadata stays.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};

/// 2020-01-01T00:00:00Z
const YEAR_2020: i64 = 1_577_836_800;

/// Which leadership it is: higher than any before.
pub(super) fn transitions(lease: &Lease) -> i32 {
    let spec = lease.spec.as_ref();
    spec.and_then(|spec| spec.lease_transitions).unwrap_or(0).max(0)
}

/// The number of the next leadership, after the highest that was seen. By the clock, for a Lease may have been deleted together
/// with its numbers, and Redis goes on refusing marks of any lower one than it has seen; and never lower than it was, for clocks
/// may go back. Seconds since the beginning of 2020: they fit until 2088.
pub(super) fn next(highest: i32, now: Timestamp) -> i32 {
    highest.saturating_add(1).max(by_clock(now))
}

/// The same, where nobody else leads.
pub(super) fn by_clock(now: Timestamp) -> i32 {
    i32::try_from(now.as_second() - YEAR_2020)
        .unwrap_or(i32::MAX)
        .max(0)
}

/// One that nobody has made yet.
pub(super) fn absent(name: &str) -> Lease {
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        spec: None,
    }
}

/// Taken by `holder`, as leadership number `transitions`.
pub(super) fn acquired(
    mut lease: Lease,
    holder: &str,
    transitions: i32,
    duration: Duration,
    now: Timestamp,
) -> Lease {
    lease.spec = Some(LeaseSpec {
        acquire_time: Some(MicroTime(now)),
        holder_identity: Some(holder.to_owned()),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    });
    renewed(lease, duration, now)
}

/// Kept by its holder.
pub(super) fn renewed(mut lease: Lease, duration: Duration, now: Timestamp) -> Lease {
    let spec = lease.spec.get_or_insert_default();
    spec.lease_duration_seconds = Some(i32::try_from(duration.as_secs()).unwrap_or(i32::MAX));
    spec.renew_time = Some(MicroTime(now));
    lease
}

/// Given back by its holder: the next need not wait.
pub(super) fn released(mut lease: Lease, now: Timestamp) -> Lease {
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = Some(String::new());
    spec.renew_time = Some(MicroTime(now));
    lease
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaderships_count_up_though_the_lease_was_deleted_or_the_clock_went_back() {
        let at = |second| Timestamp::from_second(YEAR_2020 + second).unwrap();
        assert_eq!(next(0, at(500)), 500, "all that was known is gone");
        assert_eq!(next(500, at(500)), 501, "twice within a second");
        assert_eq!(next(501, at(30)), 502, "the clock went back");
        assert_eq!(next(7, at(500)), 500, "led before by somebody without a Lease");
        assert_eq!(by_clock(Timestamp::from_second(0).unwrap()), 0);
    }
}
