//! How fast the count may follow: stabilization windows and rate limits.
//!
//! The algorithm of the HorizontalPodAutoscaler (`stabilizeRecommendationWithBehaviors`,
//! `calculateScaleUpLimitWithScalingRules` and `calculateScaleDownLimitWithBehaviors` in
//! kubernetes/pkg/controller/podautoscaler/horizontal.go). What differs: no policy means no limit, a percentage of zero
//! replicas is one replica, and a recommendation holds until the next one.

use std::time::{Duration, Instant};

use crate::{History, Policy, RateLimit, Reason, SelectPolicy};

/// A count on its way through the rules: the rule that spoke last, and when it may speak otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) count: u32,
    pub(crate) reason: Reason,
    pub(crate) not_before: Option<Instant>,
}

impl Step {
    pub(crate) fn new(count: u32, reason: Reason) -> Self {
        Self {
            count,
            reason,
            not_before: None,
        }
    }
}

/// Goes up only to what all of the up-window asked for, and down only to what all of the down-window asked for.
pub(crate) fn stabilize(policy: &Policy, history: &History, current: u32, wish: Step, now: Instant) -> Step {
    let up_to = history.lowest(wish.count, policy.behavior.scale_up.stabilization_window, now);
    let down_to = history.highest(wish.count, policy.behavior.scale_down.stabilization_window, now);
    let count = current.max(up_to.value).min(down_to.value);
    if count == wish.count {
        wish
    } else if count < wish.count {
        Step {
            count,
            reason: Reason::ScaleUpStabilized,
            not_before: up_to.leaves,
        }
    } else {
        Step {
            count,
            reason: Reason::ScaleDownStabilized,
            not_before: down_to.leaves,
        }
    }
}

/// Lets the count change no faster than the policies of that direction allow.
pub(crate) fn limit_rate(policy: &Policy, history: &History, current: u32, wish: Step, now: Instant) -> Step {
    if wish.count > current {
        limit_up(policy, history, current, wish, now)
    } else if wish.count < current {
        limit_down(policy, history, current, wish, now)
    } else {
        wish
    }
}

fn limit_up(policy: &Policy, history: &History, current: u32, wish: Step, now: Instant) -> Step {
    let rules = &policy.behavior.scale_up;
    let limits = rules.policies.iter().map(|limit| {
        let (start, again) = period_start(limit, history, current, now);
        let allowed = match *limit {
            RateLimit::Pods { value, .. } => start.saturating_add(value),
            RateLimit::Percent { value, .. } => percent_above(start, value),
        };
        (allowed, again)
    });
    let limit = match rules.select_policy {
        SelectPolicy::Disabled => return Step::new(current, Reason::ScaleUpDisabled),
        SelectPolicy::Max => limits.max_by_key(|(allowed, _)| *allowed),
        SelectPolicy::Min => limits.min_by_key(|(allowed, _)| *allowed),
    };
    match limit {
        Some((allowed, again)) if allowed.max(current) < wish.count => Step {
            count: allowed.max(current),
            reason: Reason::ScaleUpLimit,
            not_before: again,
        },
        _ => wish,
    }
}

fn limit_down(policy: &Policy, history: &History, current: u32, wish: Step, now: Instant) -> Step {
    let rules = &policy.behavior.scale_down;
    let limits = rules.policies.iter().map(|limit| {
        let (start, again) = period_start(limit, history, current, now);
        let allowed = match *limit {
            RateLimit::Pods { value, .. } => start.saturating_sub(value),
            RateLimit::Percent { value, .. } => percent_below(start, value),
        };
        (allowed, again)
    });
    let limit = match rules.select_policy {
        SelectPolicy::Disabled => return Step::new(current, Reason::ScaleDownDisabled),
        SelectPolicy::Max => limits.min_by_key(|(allowed, _)| *allowed),
        SelectPolicy::Min => limits.max_by_key(|(allowed, _)| *allowed),
    };
    match limit {
        Some((allowed, again)) if allowed.min(current) > wish.count => Step {
            count: allowed.min(current),
            reason: Reason::ScaleDownLimit,
            not_before: again,
        },
        _ => wish,
    }
}

/// The count that the limit's period began with, and when the limit next allows more: as soon as a change leaves the
/// period, or, where there was none, one period after the change that is about to be made.
fn period_start(limit: &RateLimit, history: &History, current: u32, now: Instant) -> (u32, Option<Instant>) {
    let period = period(limit);
    let (added, removed, leaves) = history.changed_within(period, now);
    let start = current.saturating_add(removed).saturating_sub(added);
    (start, leaves.or_else(|| now.checked_add(period)))
}

fn period(limit: &RateLimit) -> Duration {
    match *limit {
        RateLimit::Pods { period, .. } | RateLimit::Percent { period, .. } => period,
    }
}

fn percent_above(start: u32, percent: u32) -> u32 {
    let added = (u64::from(start) * u64::from(percent)).div_ceil(100);
    // A percentage of nothing is nothing: without the one, such a policy would never leave zero.
    let added = if start == 0 { 1 } else { added };
    start.saturating_add(u32::try_from(added).unwrap_or(u32::MAX))
}

fn percent_below(start: u32, percent: u32) -> u32 {
    let kept = u64::from(start) * u64::from(100_u32.saturating_sub(percent)) / 100;
    u32::try_from(kept).unwrap_or(start)
}
