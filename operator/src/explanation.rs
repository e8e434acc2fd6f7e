//! A decision in sentences, for status and events.

use crds::{
    WorkerPool,
    scaling::{ScalingSpec, SelectPolicy},
    status::{DecisionStatus, Disabled},
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use scaling::{Decision, Reason};

use crate::bounds::InForce;

/// A time that is told again differs by this much at most from what was told before, or it is another one.
const SAME_TIME_SECONDS: i64 = 1;

/// What the decision was made from, and when the next one comes though nothing changes. `last`: what was told before.
#[must_use]
pub fn decision_status(
    scaling: &ScalingSpec,
    decision: &Decision,
    bounds: &InForce,
    decided_by: Option<&str>,
    next_look: Option<Timestamp>,
    last: Option<&DecisionStatus>,
) -> DecisionStatus {
    let number = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    DecisionStatus {
        raw_replicas: decision.raw.map(|raw| i64::try_from(raw).unwrap_or(i64::MAX)),
        queue: decided_by.map(str::to_owned),
        min_replicas: number(bounds.min_replicas),
        max_replicas: number(bounds.max_replicas),
        open_schedules: bounds.open.clone(),
        disabled: disabled(scaling),
        next_look_time: next_look.map(|next| {
            let told = last.and_then(|last| last.next_look_time.as_ref());
            told.filter(|told| is_same(told.0, next))
                .cloned()
                .unwrap_or_else(|| Time(in_whole_seconds(next)))
        }),
    }
}

/// In which direction the count does not go by itself.
#[must_use]
pub fn disabled(scaling: &ScalingSpec) -> Option<Disabled> {
    let is_disabled = |policy| policy == SelectPolicy::Disabled;
    match (
        is_disabled(scaling.behavior.scale_up.select_policy),
        is_disabled(scaling.behavior.scale_down.select_policy),
    ) {
        (true, true) => Some(Disabled::Both),
        (true, false) => Some(Disabled::ScaleUp),
        (false, true) => Some(Disabled::ScaleDown),
        (false, false) => None,
    }
}

/// The same in words.
#[must_use]
pub fn disabled_in_words(disabled: Disabled) -> &'static str {
    match disabled {
        Disabled::ScaleUp => "scaleUp is disabled: the count does not rise by itself",
        Disabled::ScaleDown => "scaleDown is disabled: the count does not fall by itself",
        Disabled::Both => "scaleUp and scaleDown are disabled: the count stays by itself",
    }
}

/// Upwards, as the API server keeps no fractions and nobody is to look too early.
fn in_whole_seconds(time: Timestamp) -> Timestamp {
    let seconds = time.as_second() + i64::from(time.subsec_nanosecond() > 0);
    Timestamp::from_second(seconds).unwrap_or(time)
}

fn is_same(told: Timestamp, next: Timestamp) -> bool {
    (in_whole_seconds(next).as_second() - told.as_second()).abs() <= SAME_TIME_SECONDS
}

/// A sentence for the reason. Without the depth of the queue, which changes by itself.
#[must_use]
pub fn because(pool: &WorkerPool, decision: &Decision, bounds: &InForce, reason: Reason) -> String {
    let (scaling, desired) = (&pool.spec.scaling, decision.desired);
    match reason {
        Reason::Paused => "spec.paused is true: nothing is changed".to_owned(),
        Reason::Pinned => format!(
            "spec.replicas asks for exactly {desired}; remove it to follow the queue: kubectl patch wp {} --type=merge -p \
             '{{\"spec\":{{\"replicas\":null}}}}'",
            pool.metadata.name.as_deref().unwrap_or_default()
        ),
        Reason::JobsPerReplica => format!("{desired} for {} jobs each", scaling.jobs_per_replica),
        Reason::TargetWait => format!(
            "{desired}, so that jobs start within {} s",
            scaling.target_wait_seconds.unwrap_or_default()
        ),
        Reason::MinReplicas => format!(
            "demand asks for fewer than minReplicas, {}{}",
            bounds.min_replicas,
            by_schedule(bounds)
        ),
        Reason::MaxReplicas => format!(
            "demand asks for more than maxReplicas, {}{}",
            bounds.max_replicas,
            by_schedule(bounds)
        ),
        Reason::BelowActivation => format!(
            "no more than {} jobs wait (activationThreshold)",
            scaling.activation_threshold
        ),
        Reason::IdleReplicas => "there is nothing to do: idleReplicas".to_owned(),
        Reason::Cooldown => format!(
            "there is nothing to do, but {desired} are kept for a while (cooldownSeconds, initialCooldownSeconds)"
        ),
        Reason::WithinTolerance => {
            format!("what is asked for differs from {desired} by no more than the tolerance")
        }
        Reason::ScaleUpStabilized => {
            "more is asked for, but not throughout the window of scaleUp yet".to_owned()
        }
        Reason::ScaleDownStabilized => format!(
            "{desired} were needed within the last {} s",
            scaling.behavior.scale_down.stabilization_window_seconds
        ),
        Reason::ScaleUpLimit => "more is asked for; a policy of scaleUp limits how fast".to_owned(),
        Reason::ScaleDownLimit => "fewer are asked for; a policy of scaleDown limits how fast".to_owned(),
        Reason::ScaleUpDisabled => "more is asked for; scaleUp is disabled".to_owned(),
        Reason::ScaleDownDisabled => "fewer are asked for; scaleDown is disabled".to_owned(),
        Reason::Unproven => format!(
            "more is asked for, but no pod of the present template was ever ready and one cannot start: {desired} are tried until \
             one is; PodsReady says why"
        ),
        Reason::BusyWorkers => {
            format!("{desired} would do; the others go when they have finished their jobs")
        }
        Reason::NotReadYet => {
            "the queue has not been read yet: the count stays, and a new pool begins with minReplicas"
                .to_owned()
        }
        Reason::QueueUnreadable => "the queue cannot be read: the count stays".to_owned(),
        Reason::Fallback => format!("the queue cannot be read: the fallback asks for {desired}"),
    }
}

fn by_schedule(bounds: &InForce) -> String {
    if bounds.open.is_empty() {
        String::new()
    } else {
        format!(" (open: {})", bounds.open.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use scaling::Mode;

    use super::*;

    fn decision(reason: Reason) -> Decision {
        Decision {
            replicas: 10,
            desired: 10,
            raw: Some(200),
            recommended: 10,
            working: true,
            mode: Mode::Queue,
            reason,
            not_before: None,
        }
    }

    fn night_shift() -> InForce {
        InForce {
            min_replicas: 2,
            max_replicas: 10,
            open: vec!["night".to_owned()],
            ..InForce::default()
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn what_limits_the_count_is_told_with_the_schedule_that_makes_it_so() {
        let pool = WorkerPool::new("hw7", crds::WorkerPoolSpec::default());
        let sentence = because(
            &pool,
            &decision(Reason::MaxReplicas),
            &night_shift(),
            Reason::MaxReplicas,
        );
        assert_eq!(
            sentence,
            "demand asks for more than maxReplicas, 10 (open: night)"
        );
    }

    #[test]
    fn queue_that_decides_is_named() {
        let status = decision_status(
            &ScalingSpec::default(),
            &decision(Reason::JobsPerReplica),
            &night_shift(),
            Some("mails"),
            None,
            None,
        );
        assert_eq!(status.queue.as_deref(), Some("mails"));
    }

    #[test]
    fn status_says_what_demand_asked_for_the_bounds_in_force_and_when_the_next_look_is() {
        let next = Some(at("2026-11-24T08:00:00.25Z"));
        let status = decision_status(
            &ScalingSpec::default(),
            &decision(Reason::MaxReplicas),
            &night_shift(),
            None,
            next,
            None,
        );
        let expected = DecisionStatus {
            raw_replicas: Some(200),
            queue: None,
            disabled: None,
            min_replicas: 2,
            max_replicas: 10,
            open_schedules: vec!["night".to_owned()],
            next_look_time: Some(Time(at("2026-11-24T08:00:01Z"))),
        };
        assert_eq!(status, expected);
    }

    #[test]
    fn time_of_the_next_look_does_not_jitter_with_the_moment_of_asking() {
        let told = decision_status(
            &ScalingSpec::default(),
            &decision(Reason::Cooldown),
            &night_shift(),
            None,
            Some(at("2026-11-24T08:00:00.25Z")),
            None,
        );
        let again = |next: &str| {
            decision_status(
                &ScalingSpec::default(),
                &decision(Reason::Cooldown),
                &night_shift(),
                None,
                Some(at(next)),
                Some(&told),
            )
        };
        assert_eq!(again("2026-11-24T08:00:01.1Z"), told);
        assert_eq!(again("2026-11-24T07:59:59.9Z"), told);
        assert_ne!(again("2026-11-24T08:00:03Z"), told);
    }
}
