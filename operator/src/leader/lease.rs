//! The Lease to write. Fields as in `kubectl explain lease.spec`; what other programs put in its metadata stays.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};

/// Which leadership it is: higher than any before.
pub(super) fn transitions(lease: &Lease) -> i32 {
    let spec = lease.spec.as_ref();
    spec.and_then(|spec| spec.lease_transitions).unwrap_or(0).max(0)
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
