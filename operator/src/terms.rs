//! From a pool's spec to the terms on which its jobs are run: those that its workers are told too.

use std::time::Duration;

use crds::worker::WorkerSpec;
use queue::{Backoff, Lease, Retention, Retry, Terms};

/// What the owner asked for. The API server has checked the ranges; what it would have refused counts as the nearest
/// number allowed.
#[must_use]
pub fn terms(worker: &WorkerSpec) -> Terms {
    Terms {
        lease: Lease {
            duration: at_least_a_second(worker.lease_seconds),
        },
        retry: Retry {
            max_attempts: at_least_one(worker.max_attempts),
            max_lost: at_least_one(worker.max_lost),
            backoff: Backoff {
                base: at_least_a_second(worker.backoff.base_seconds),
                cap: at_least_a_second(worker.backoff.cap_seconds),
            },
        },
        retention: Retention {
            finished: kept_for(worker.retention_seconds),
            dead: kept_for(worker.dead_retention_seconds),
        },
    }
}

fn at_least_one(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0).max(1)
}

fn at_least_a_second(seconds: i32) -> Duration {
    Duration::from_secs(at_least_one(seconds).into())
}

/// 0 is for ever.
fn kept_for(seconds: i32) -> Option<Duration> {
    u64::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_spec_has_the_terms_that_a_worker_has_without_settings() {
        assert_eq!(terms(&WorkerSpec::default()), Terms::default());
    }

    #[test]
    fn every_field_arrives() {
        let worker = serde_json::from_value(serde_json::json!({
            "leaseSeconds": 10, "maxAttempts": 4, "maxLost": 5, "backoff": {"baseSeconds": 6, "capSeconds": 7},
            "retentionSeconds": 0, "deadRetentionSeconds": 8,
        }))
        .unwrap();
        let expected = Terms {
            lease: Lease {
                duration: Duration::from_secs(10),
            },
            retry: Retry {
                max_attempts: 4,
                max_lost: 5,
                backoff: Backoff {
                    base: Duration::from_secs(6),
                    cap: Duration::from_secs(7),
                },
            },
            retention: Retention {
                finished: None,
                dead: Some(Duration::from_secs(8)),
            },
        };
        assert_eq!(terms(&worker), expected);
    }
}
