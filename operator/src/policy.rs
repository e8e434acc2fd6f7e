//! From a pool's spec to the policy of the law.

use std::{num::NonZeroU32, time::Duration};

use crds::{WorkerPoolSpec, scaling as spec, tolerance::Tolerance};
use scaling::{Behavior, Combine, Fallback, FallbackBehavior, Policy, RateLimit, Rules, SelectPolicy};

use crate::bounds::InForce;

/// What the owner asked for, within the bounds that are in force. The API server has checked the ranges; what it would have
/// refused counts as the nearest number allowed.
#[must_use]
pub fn policy(pool: &WorkerPoolSpec, bounds: &InForce) -> Policy {
    let scaling = &pool.scaling;
    let (up, down) = (&scaling.behavior.scale_up, &scaling.behavior.scale_down);
    Policy {
        replicas: pool.replicas.map(count),
        paused: pool.paused,
        min_replicas: bounds.min_replicas,
        max_replicas: bounds.max_replicas,
        jobs_per_replica: at_least_one(scaling.jobs_per_replica),
        target_wait: scaling.target_wait_seconds.map(seconds),
        concurrency: at_least_one(pool.worker.concurrency),
        idle_replicas: bounds.idle_replicas,
        activation_threshold: count(scaling.activation_threshold),
        cooldown: seconds(scaling.cooldown_seconds),
        initial_cooldown: seconds(scaling.initial_cooldown_seconds),
        behavior: Behavior {
            scale_up: Rules {
                tolerance: up.tolerance.map_or(0.0, Tolerance::share),
                ..rules(up.stabilization_window_seconds, &up.policies, up.select_policy)
            },
            scale_down: Rules {
                tolerance: down.tolerance.map_or(0.0, Tolerance::share),
                ..rules(
                    down.stabilization_window_seconds,
                    &down.policies,
                    down.select_policy,
                )
            },
        },
        fallback: scaling.fallback.as_ref().map(fallback),
    }
}

fn rules(window: i32, policies: &[spec::ScalingPolicy], select: spec::SelectPolicy) -> Rules {
    Rules {
        policies: policies.iter().map(rate_limit).collect(),
        select_policy: match select {
            spec::SelectPolicy::Max => SelectPolicy::Max,
            spec::SelectPolicy::Min => SelectPolicy::Min,
            spec::SelectPolicy::Disabled => SelectPolicy::Disabled,
        },
        ..Rules::within(seconds(window))
    }
}

fn rate_limit(policy: &spec::ScalingPolicy) -> RateLimit {
    let (value, period) = (count(policy.value), seconds(policy.period_seconds));
    match policy.kind {
        spec::ScalingPolicyType::Pods => RateLimit::Pods { value, period },
        spec::ScalingPolicyType::Percent => RateLimit::Percent { value, period },
    }
}

fn fallback(fallback: &spec::Fallback) -> Fallback {
    Fallback {
        failure_threshold: at_least_one(fallback.failure_threshold).get(),
        replicas: count(fallback.replicas),
        behavior: match fallback.behavior {
            spec::FallbackBehavior::Static => FallbackBehavior::Static,
            spec::FallbackBehavior::CurrentReplicas => FallbackBehavior::CurrentReplicas,
            spec::FallbackBehavior::CurrentReplicasIfHigher => FallbackBehavior::CurrentReplicasIfHigher,
            spec::FallbackBehavior::CurrentReplicasIfLower => FallbackBehavior::CurrentReplicasIfLower,
        },
    }
}

pub(crate) fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

pub(crate) fn combine(combine: spec::Combine) -> Combine {
    match combine {
        spec::Combine::Sum => Combine::Sum,
        spec::Combine::Max => Combine::Max,
    }
}

pub(crate) fn at_least_one(number: i32) -> NonZeroU32 {
    NonZeroU32::new(count(number)).unwrap_or(NonZeroU32::MIN)
}

fn seconds(number: i32) -> Duration {
    Duration::from_secs(count(number).into())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::bounds::Schedules;

    fn law(spec: &WorkerPoolSpec) -> Policy {
        policy(
            spec,
            &Schedules::default().in_force(&spec.scaling, Timestamp::UNIX_EPOCH),
        )
    }

    #[test]
    fn empty_spec_is_the_laws_default_policy() {
        assert_eq!(law(&WorkerPoolSpec::default()), Policy::default());
    }

    #[test]
    fn every_field_arrives() {
        let spec: WorkerPoolSpec = serde_json::from_value(serde_json::json!({
            "replicas": 7,
            "paused": true,
            "worker": {"concurrency": 4},
            "scaling": {
                "minReplicas": 1, "maxReplicas": 20, "jobsPerReplica": 3, "targetWaitSeconds": 6, "activationThreshold": 2,
                "idleReplicas": 0, "cooldownSeconds": 10, "initialCooldownSeconds": 11,
                "behavior": {
                    "scaleUp": {"tolerance": "100m", "stabilizationWindowSeconds": 8, "selectPolicy": "Min",
                        "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}]},
                    "scaleDown": {"tolerance": 0.2, "stabilizationWindowSeconds": 9, "selectPolicy": "Disabled",
                        "policies": [{"type": "Pods", "value": 5, "periodSeconds": 15}]}
                },
                "fallback": {"failureThreshold": 4, "replicas": 2, "behavior": "Static"}
            }
        }))
        .unwrap();
        let number = |n| NonZeroU32::new(n).unwrap();
        let expected = Policy {
            replicas: Some(7),
            paused: true,
            min_replicas: 1,
            max_replicas: 20,
            jobs_per_replica: number(3),
            target_wait: Some(Duration::from_secs(6)),
            concurrency: number(4),
            idle_replicas: Some(0),
            activation_threshold: 2,
            cooldown: Duration::from_secs(10),
            initial_cooldown: Duration::from_secs(11),
            behavior: Behavior {
                scale_up: Rules {
                    tolerance: 0.1,
                    stabilization_window: Duration::from_secs(8),
                    policies: vec![RateLimit::Percent {
                        value: 50,
                        period: Duration::from_secs(60),
                    }],
                    select_policy: SelectPolicy::Min,
                },
                scale_down: Rules {
                    tolerance: 0.2,
                    stabilization_window: Duration::from_secs(9),
                    policies: vec![RateLimit::Pods {
                        value: 5,
                        period: Duration::from_secs(15),
                    }],
                    select_policy: SelectPolicy::Disabled,
                },
            },
            fallback: Some(Fallback {
                failure_threshold: 4,
                replicas: 2,
                behavior: FallbackBehavior::Static,
            }),
        };
        assert_eq!(law(&spec), expected);
    }
}
