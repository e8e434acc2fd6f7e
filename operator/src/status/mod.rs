//! What the operator says about a pool. Pure: from what was seen and decided to the whole status.
//!
//! - `conditions`: what holds and what does not.
//! - `pods`: readiness of its pods.
//! - `queues`: how deep the queues are.

mod conditions;
mod pods;
mod queues;
#[cfg(test)]
mod tests;

use crds::{
    WorkerPool,
    status::{DecisionStatus, Mode, WorkerPoolStatus},
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use scaling::Decision;

use self::pods::PodNumbers;
pub(crate) use self::{conditions::error_reason, pods::not_ready as pods_not_ready};
use crate::{
    bounds::InForce, error::Error, explanation::decision_status, pods::Readiness, queues::View,
    refusal::Refusal, scale_down::HeldBack, targets::Workload,
};

/// What was seen and done in one go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Findings<'a> {
    /// Why the pool is not served.
    pub refusal: Option<&'a Refusal>,
    /// What failed.
    pub error: Option<&'a Error>,
    /// What is known of the queue.
    pub view: Option<&'a View>,
    /// What is scaled, if it is there.
    pub deployment: Option<&'a Workload>,
    /// Readiness of its pods; `None` if it is known by its `/scale` alone.
    pub readiness: Option<Readiness<'a>>,
    /// What was decided, and within which bounds, unless the pool is not served.
    pub decision: Option<(&'a Decision, &'a InForce)>,
    /// The name of the queue that the decision was made from, where it was one of several.
    pub decided_by: Option<&'a str>,
    /// When the next decision is made though nothing changes.
    pub next_look: Option<Timestamp>,
    /// Why the count could not be lowered.
    pub held_back: Option<&'a HeldBack>,
    /// The hash of the template of which a pod was last ready.
    pub proven_template: Option<&'a str>,
    /// The generation of the pool's own Deployment that is as it should be.
    pub deployment_generation: Option<i64>,
    /// When the count was changed just now.
    pub scaled_at: Option<Timestamp>,
}

/// The status to be. Nothing in it changes by itself: two calls that see the same answer the same.
#[must_use]
pub fn build_status(
    pool: &WorkerPool,
    findings: &Findings<'_>,
    last: &WorkerPoolStatus,
    now: Timestamp,
) -> WorkerPoolStatus {
    let deployment = findings.deployment;
    let counts = |count: fn(&Workload) -> i32| deployment.map(count).or(Some(0));
    let decision = findings.decision.map(|(decision, _)| decision);
    let pods = PodNumbers::of(findings);
    WorkerPoolStatus {
        observed_generation: pool.metadata.generation,
        mode: decision.map(|decision| mode(decision.mode)),
        replicas: counts(|deployment| deployment.status.replicas),
        ready_replicas: counts(|deployment| deployment.status.ready_replicas),
        desired_replicas: decision.map(|decision| i32::try_from(decision.desired).unwrap_or(i32::MAX)),
        decision: findings.decision.map(|(decision, bounds)| {
            let (by, told) = (findings.decided_by, last.decision.as_ref());
            decision_status(&pool.spec.scaling, decision, bounds, by, findings.next_look, told)
        }),
        pods: Some(format!("{}/{}", pods.ready, pods.desired)),
        queue_names: Some(queues::names(&pool.spec.queues)),
        proven_template: findings
            .proven_template
            .map(str::to_owned)
            .or_else(|| last.proven_template.clone()),
        deployment_generation: findings
            .deployment_generation
            .or(last.deployment_generation)
            .filter(|_| pool.spec.scale_target_ref.is_none()),
        selector: deployment
            .map(Workload::selector)
            .or_else(|| last.selector.clone()),
        last_scale_time: findings
            .scaled_at
            .map(Time)
            .or_else(|| last.last_scale_time.clone()),
        queue: queues::together(findings.view).or_else(|| last.queue.clone()),
        queues: queues::each(pool, findings.view).unwrap_or_else(|| last.queues.clone()),
        conditions: conditions::all(pool, findings, last, now),
    }
}

/// The last status, whose `Ready` says that the operator panicked. Made from as little as can be: what panicked may be
/// what makes the whole status.
#[must_use]
pub fn with_panic(
    pool: &WorkerPool,
    last: &WorkerPoolStatus,
    message: &str,
    now: Timestamp,
) -> WorkerPoolStatus {
    let mut status = last.clone();
    let ready = conditions::not_ready(pool, last, "InternalError", message, now);
    status
        .conditions
        .retain(|condition| condition.type_ != ready.type_);
    status.conditions.insert(0, ready);
    status
}

/// Whether the two differ in nothing but the depth of the queue, and what changes with it all the time.
#[must_use]
pub fn differs_in_depth_only(last: &WorkerPoolStatus, new: &WorkerPoolStatus) -> bool {
    let without_depth = |status: &WorkerPoolStatus| WorkerPoolStatus {
        queue: None,
        queues: queues::without_depth(&status.queues),
        decision: status.decision.clone().map(|decision| DecisionStatus {
            queue: None,
            raw_replicas: None,
            next_look_time: None,
            ..decision
        }),
        ..status.clone()
    };
    last != new && without_depth(last) == without_depth(new)
}

fn mode(mode: scaling::Mode) -> Mode {
    match mode {
        scaling::Mode::Queue => Mode::Queue,
        scaling::Mode::Pinned => Mode::Pinned,
        scaling::Mode::Paused => Mode::Paused,
        scaling::Mode::Fallback => Mode::Fallback,
    }
}
