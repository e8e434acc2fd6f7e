//! The law.

use std::time::Instant;

use crate::{
    DEFAULT_FAILURE_THRESHOLD, Decision, FallbackBehavior, History, Mode, Observation, Policy, QueueState,
    Reading, Reason, Startup, UNPROVEN_REPLICAS,
    demand::{self, Wanted},
    limits::{Step, limit_rate, stabilize},
};

/// How many replicas the pool should have now.
///
/// Paused changes nothing. A pin is obeyed. Otherwise the queue decides: demand, then activation, tolerance, windows,
/// cooldown, bounds and rates, the limit for a template that never worked, and last, whoever decided, no replica goes that holds a
/// job. A queue that cannot be read moves nothing, until the fallback, if there is one.
#[must_use]
pub fn decide(policy: &Policy, observation: &Observation, history: &History, now: Instant) -> Decision {
    let current = observation.current;
    if policy.paused {
        return unasked(current, Mode::Paused, Reason::Paused);
    }
    match (policy.replicas, observation.queue) {
        (Some(pin), QueueState::Read(reading)) => pinned(pin, current, &reading),
        (Some(pin), QueueState::Unreadable { failures } | QueueState::Partly { failures, .. }) => {
            pinned_blind(policy, pin, current, failures)
        }
        (None, QueueState::Read(reading)) => follow(policy, observation, &reading, history, now),
        (None, QueueState::Partly { reading, failures }) => {
            let seen = follow(policy, observation, &reading, history, now);
            let unseen = blind(policy, observation, failures);
            if seen.replicas > unseen.replicas {
                seen
            } else {
                unseen
            }
        }
        (None, QueueState::Unreadable { failures }) => blind(policy, observation, failures),
    }
}

/// A count that was decided without the queue. It is its own recommendation, and passes for work: when the queue decides
/// again, window and cooldown start from here.
pub(crate) fn unasked(count: u32, mode: Mode, reason: Reason) -> Decision {
    Decision {
        replicas: count,
        desired: count,
        raw: None,
        recommended: count,
        working: true,
        mode,
        reason,
        not_before: None,
    }
}

fn pinned(pin: u32, current: u32, reading: &Reading) -> Decision {
    spare_busy(unasked(pin, Mode::Pinned, Reason::Pinned), current, reading)
}

/// Who is busy cannot be seen. A failed poll or two is waited out; after that a person's word counts for more, or a pool
/// whose Redis is gone for good could never be put away. Shutdown still lets a running job end within its grace time.
fn pinned_blind(policy: &Policy, pin: u32, current: u32, failures: u32) -> Decision {
    let threshold = policy
        .fallback
        .map_or(DEFAULT_FAILURE_THRESHOLD, |fallback| fallback.failure_threshold);
    if pin < current && failures < threshold {
        let held = unasked(current, Mode::Pinned, unseen(failures));
        return Decision {
            desired: pin,
            recommended: pin,
            ..held
        };
    }
    unasked(pin, Mode::Pinned, Reason::Pinned)
}

fn blind(policy: &Policy, observation: &Observation, failures: u32) -> Decision {
    let current = observation.current;
    match policy.fallback {
        Some(fallback) if failures >= fallback.failure_threshold => {
            let count = match fallback.behavior {
                FallbackBehavior::Static => fallback.replicas,
                FallbackBehavior::CurrentReplicas => current,
                FallbackBehavior::CurrentReplicasIfHigher => current.max(fallback.replicas),
                FallbackBehavior::CurrentReplicasIfLower => current.min(fallback.replicas),
            };
            let step = limit_unproven(policy, observation, Step::new(count, Reason::Fallback));
            unasked(step.count, Mode::Fallback, step.reason)
        }
        _ => unasked(current, Mode::Queue, unseen(failures)),
    }
}

/// Why a queue says nothing that failed so often.
fn unseen(failures: u32) -> Reason {
    if failures == 0 {
        Reason::NotReadYet
    } else {
        Reason::QueueUnreadable
    }
}

fn follow(
    policy: &Policy,
    observation: &Observation,
    reading: &Reading,
    history: &History,
    now: Instant,
) -> Decision {
    let current = observation.current;
    let working = has_work(policy, current, reading);
    let wanted = demand::wanted(policy, reading);
    let wish = if working {
        tolerate(policy, current, &wanted, bounded(policy, &wanted))
    } else {
        rest(policy, reading.demand() > 0)
    };
    let stable = stabilize(policy, history, current, wish, now);
    let warm = if working {
        stable
    } else {
        cool_down(policy, observation, history, stable, now)
    };
    let within = clamp(policy, working, warm);
    let step = if (policy.idle()..=policy.max_replicas).contains(&current) {
        clamp(policy, working, limit_rate(policy, history, current, within, now))
    } else {
        // Bounds hold at once: neither window nor rate keeps a pool outside of them.
        within
    };
    let step = limit_unproven(policy, observation, step);
    let decision = Decision {
        replicas: step.count,
        desired: step.count,
        raw: Some(wanted.replicas),
        recommended: wish.count,
        working,
        mode: Mode::Queue,
        reason: step.reason,
        not_before: step.not_before,
    };
    spare_busy(decision, current, reading)
}

/// Whether there is work; for a pool that rests, whether there is enough to wake it. At zero only fresh jobs count
/// against the threshold: retries and leases of lost workers are no news to be filtered.
fn has_work(policy: &Policy, current: u32, reading: &Reading) -> bool {
    let idle = policy.idle();
    let threshold = policy.activation_threshold.into();
    if !policy.sleeps() || current > idle {
        reading.demand() > 0
    } else if idle > 0 {
        reading.demand() > threshold
    } else {
        reading.running > 0 || reading.due_retries > 0 || reading.waiting > threshold
    }
}

/// What demand asks for, within the bounds of a pool that has work.
fn bounded(policy: &Policy, wanted: &Wanted) -> Step {
    match u32::try_from(wanted.replicas) {
        Ok(count) => clamp(policy, true, Step::new(count, wanted.rule)),
        Err(_) => Step::new(policy.max_replicas, Reason::MaxReplicas),
    }
}

/// The count of a pool without work. `held_back`: jobs wait, but too few to wake it.
fn rest(policy: &Policy, held_back: bool) -> Step {
    let reason = if held_back {
        Reason::BelowActivation
    } else if policy.idle_replicas.is_some() {
        Reason::IdleReplicas
    } else if policy.min_replicas > 0 {
        Reason::MinReplicas
    } else {
        Reason::JobsPerReplica
    };
    Step::new(policy.idle(), reason)
}

/// Demand that differs little from what the current count is for changes nothing.
fn tolerate(policy: &Policy, current: u32, wanted: &Wanted, wish: Step) -> Step {
    let rules = if wish.count > current {
        &policy.behavior.scale_up
    } else {
        &policy.behavior.scale_down
    };
    let count = f64::from(current);
    if wish.count != current && (wanted.exact - count).abs() <= rules.tolerance * count {
        return Step::new(current, Reason::WithinTolerance);
    }
    wish
}

/// A pool that had work until lately does not go to rest yet; at least one replica waits for more.
fn cool_down(
    policy: &Policy,
    observation: &Observation,
    history: &History,
    step: Step,
    now: Instant,
) -> Step {
    let held = policy.awake().max(1).min(observation.current);
    if step.count >= held {
        return step;
    }
    let cooled = history.last_work(now).checked_add(policy.cooldown);
    let grown_up = now.checked_add(policy.initial_cooldown.saturating_sub(observation.age));
    match cooled.max(grown_up) {
        Some(until) if until > now => Step {
            count: held,
            reason: Reason::Cooldown,
            not_before: Some(until),
        },
        _ => step,
    }
}

/// Within the bounds; `max_replicas` has the last word. What may change later stays so.
fn clamp(policy: &Policy, working: bool, step: Step) -> Step {
    let lowest = if working { policy.awake() } else { policy.idle() };
    if step.count > policy.max_replicas {
        Step {
            count: policy.max_replicas,
            reason: Reason::MaxReplicas,
            ..step
        }
    } else if step.count < lowest {
        Step {
            count: lowest,
            reason: Reason::MinReplicas,
            ..step
        }
    } else {
        step
    }
}

/// The count of a template of which no replica was ever ready, while one cannot start. At once, as bounds: those that go hold no job.
fn limit_unproven(policy: &Policy, observation: &Observation, step: Step) -> Step {
    let Startup::Failing { keep } = observation.startup else {
        return step;
    };
    let limit = policy.min_replicas.max(UNPROVEN_REPLICAS).max(keep);
    if step.count > limit {
        Step::new(limit, Reason::Unproven)
    } else {
        step
    }
}

/// Going down stops at the replicas that hold a job.
fn spare_busy(decision: Decision, current: u32, reading: &Reading) -> Decision {
    let floor = reading.busy_replicas.min(current);
    if decision.replicas >= floor {
        return decision;
    }
    Decision {
        replicas: floor,
        reason: Reason::BusyWorkers,
        ..decision
    }
}
