//! What the operator says about a pool. Pure: from what was seen and decided to the whole status.

use crds::{
    WorkerPool, conditions,
    status::{DecisionStatus, Mode, QueueStatus, WorkerPoolStatus},
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use scaling::{Decision, Reason};

use crate::{
    bounds::InForce,
    deployment::{GRACE_MAX, grace_seconds},
    error::Error,
    explanation::{because, decision_status},
    queues::View,
    refusal::Refusal,
    scale_down::HeldBack,
    targets::Workload,
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
    /// What was decided, and within which bounds, unless the pool is not served.
    pub decision: Option<(&'a Decision, &'a InForce)>,
    /// When the next decision is made though nothing changes.
    pub next_look: Option<Timestamp>,
    /// Why the count could not be lowered.
    pub held_back: Option<&'a HeldBack>,
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
    WorkerPoolStatus {
        observed_generation: pool.metadata.generation,
        mode: decision.map(|decision| mode(decision.mode)).or(last.mode),
        replicas: counts(|deployment| deployment.status.replicas),
        ready_replicas: counts(|deployment| deployment.status.ready_replicas),
        desired_replicas: decision
            .map(|decision| i32::try_from(decision.desired).unwrap_or(i32::MAX))
            .or(last.desired_replicas),
        decision: findings.decision.map(|(decision, bounds)| {
            decision_status(decision, bounds, findings.next_look, last.decision.as_ref())
        }),
        selector: deployment
            .map(Workload::selector)
            .or_else(|| last.selector.clone()),
        last_scale_time: findings
            .scaled_at
            .map(Time)
            .or_else(|| last.last_scale_time.clone()),
        queue: queue_status(findings.view).or_else(|| last.queue.clone()),
        conditions: [
            ready(findings),
            accepted(pool, findings),
            queue_readable(findings),
            scaling_active(pool, findings),
            available(pool, findings),
            data_safe(findings),
        ]
        .into_iter()
        .map(|verdict| verdict.into_condition(pool, last, now))
        .collect(),
    }
}

/// Whether the two differ in nothing but the depth of the queue, and what changes with it all the time.
#[must_use]
pub fn differs_in_depth_only(last: &WorkerPoolStatus, new: &WorkerPoolStatus) -> bool {
    let without_depth = |status: &WorkerPoolStatus| WorkerPoolStatus {
        queue: None,
        decision: status.decision.clone().map(|decision| DecisionStatus {
            raw_replicas: None,
            next_look_time: None,
            ..decision
        }),
        ..status.clone()
    };
    last != new && without_depth(last) == without_depth(new)
}

fn queue_status(view: Option<&View>) -> Option<QueueStatus> {
    let reading = view?.reading.as_ref()?;
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    // In whole seconds, as the API server keeps it: what is read back is what was written.
    let oldest = reading
        .oldest_submitted_ms
        .and_then(|ms| Timestamp::from_second(i64::try_from(ms / 1000).ok()?).ok());
    Some(QueueStatus {
        waiting: number(reading.ready()),
        running: number(reading.running),
        // What is due waits already.
        delayed: number(reading.delayed.saturating_sub(reading.due)),
        dead: number(reading.dead),
        oldest_job_time: oldest.map(Time),
    })
}

fn mode(mode: scaling::Mode) -> Mode {
    match mode {
        scaling::Mode::Queue => Mode::Queue,
        scaling::Mode::Pinned => Mode::Pinned,
        scaling::Mode::Paused => Mode::Paused,
        scaling::Mode::Fallback => Mode::Fallback,
    }
}

/// A condition, without its times.
struct Verdict {
    kind: &'static str,
    status: &'static str,
    reason: String,
    message: String,
}

impl Verdict {
    fn new(kind: &'static str, status: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind,
            status,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    fn into_condition(self, pool: &WorkerPool, last: &WorkerPoolStatus, now: Timestamp) -> Condition {
        let unchanged = last
            .conditions
            .iter()
            .find(|condition| condition.type_ == self.kind && condition.status == self.status);
        Condition {
            type_: self.kind.to_owned(),
            status: self.status.to_owned(),
            reason: self.reason,
            message: self.message,
            observed_generation: pool.metadata.generation,
            last_transition_time: unchanged
                .map_or(Time(now), |condition| condition.last_transition_time.clone()),
        }
    }
}

fn ready(findings: &Findings<'_>) -> Verdict {
    let verdict =
        |status, reason: &str, message: String| Verdict::new(conditions::READY, status, reason, message);
    if let Some(refusal) = findings.refusal {
        return verdict("False", refusal.reason(), refusal.to_string());
    }
    if let Some(error) = findings.error {
        return verdict("False", "ApplyFailed", error.to_string());
    }
    let follows = findings
        .decision
        .is_some_and(|(decision, _)| !matches!(decision.mode, scaling::Mode::Pinned | scaling::Mode::Paused));
    let view = findings.view;
    if let Some(error) = view.and_then(|view| view.error.as_ref()).filter(|_| follows) {
        return verdict("False", "QueueUnreadable", error.to_string());
    }
    if follows && view.is_none_or(|view| view.reading.is_none()) {
        return verdict(
            "Unknown",
            "NotReadYet",
            "the queue has not been read yet".to_owned(),
        );
    }
    verdict("True", "Applied", "the last decision is applied".to_owned())
}

fn accepted(pool: &WorkerPool, findings: &Findings<'_>) -> Verdict {
    if let Some(refusal) = findings
        .refusal
        .filter(|refusal| refusal.condition() == conditions::ACCEPTED)
    {
        return Verdict::new(
            conditions::ACCEPTED,
            "False",
            refusal.reason(),
            refusal.to_string(),
        );
    }
    let worker = &pool.spec.worker;
    let bounded = grace_seconds(worker) == GRACE_MAX && worker.job_timeout_seconds > Some(GRACE_MAX);
    let message = if bounded && pool.spec.scale_target_ref.is_none() {
        format!(
            "served; but jobs may run longer than the {GRACE_MAX} s that a pod gets to end: those are given back when their \
             pod is evicted"
        )
    } else {
        "served".to_owned()
    };
    Verdict::new(conditions::ACCEPTED, "True", "Accepted", message)
}

fn queue_readable(findings: &Findings<'_>) -> Verdict {
    let verdict = |status, reason: &str, message: String| {
        Verdict::new(conditions::QUEUE_READABLE, status, reason, message)
    };
    if let Some(refusal) = findings
        .refusal
        .filter(|refusal| refusal.condition() == conditions::QUEUE_READABLE)
    {
        return verdict("False", refusal.reason(), refusal.to_string());
    }
    match findings.view {
        Some(View {
            error: Some(error), ..
        }) => verdict("False", error_reason(error), error.to_string()),
        Some(View {
            reading: Some(reading),
            ..
        }) if reading.tracked => verdict("True", "Tracked", "Redis tells of every change".to_owned()),
        Some(View { reading: Some(_), .. }) => verdict(
            "True",
            "Polled",
            "Redis does not tell of changes (CLIENT TRACKING); the queue is polled".to_owned(),
        ),
        _ => verdict(
            "Unknown",
            "NotReadYet",
            "the queue has not been read yet".to_owned(),
        ),
    }
}

pub(crate) fn error_reason(error: &queue::Error) -> &'static str {
    match error {
        queue::Error::Unreachable { .. } | queue::Error::Disconnected { .. } => "Unreachable",
        queue::Error::Timeout { .. } => "Timeout",
        queue::Error::Tls { .. } => "TLSFailed",
        queue::Error::Auth(_) => "LoginRefused",
        queue::Error::Denied(_) => "PermissionDenied",
        queue::Error::TooOld { .. } => "RedisTooOld",
        queue::Error::ReadOnly(_) | queue::Error::NotMaster { .. } => "NotMaster",
        queue::Error::OutOfMemory(_) => "OutOfMemory",
        queue::Error::Loading => "Loading",
        queue::Error::WrongType(_) => "WrongType",
        _ => "ReadFailed",
    }
}

/// About the server alone: Ready does not depend on it, as jobs are run all the same.
fn data_safe(findings: &Findings<'_>) -> Verdict {
    let verdict =
        |status, reason: &str, message: String| Verdict::new(conditions::DATA_SAFE, status, reason, message);
    match findings.view.and_then(|view| view.risks.as_ref()) {
        None => verdict(
            "Unknown",
            "NotAskedYet",
            "how Redis keeps its data has not been asked yet".to_owned(),
        ),
        Some(Err(error)) => verdict("Unknown", error_reason(error), error.to_string()),
        Some(Ok(risks)) if risks.is_empty() => verdict(
            "True",
            "NoRiskFound",
            "Redis evicts nothing and writes down what it is given".to_owned(),
        ),
        Some(Ok(risks)) => {
            let sentences: Vec<_> = risks.iter().map(ToString::to_string).collect();
            verdict("False", "AtRisk", sentences.join("; "))
        }
    }
}

fn scaling_active(pool: &WorkerPool, findings: &Findings<'_>) -> Verdict {
    let verdict = |status, reason: &str, message: String| {
        Verdict::new(conditions::SCALING_ACTIVE, status, reason, message)
    };
    if let Some(refusal) = findings.refusal {
        return verdict("False", refusal.reason(), "the pool is not served".to_owned());
    }
    let Some((decision, bounds)) = findings.decision else {
        return verdict("Unknown", "Undecided", "nothing has been decided yet".to_owned());
    };
    match findings.held_back {
        Some(HeldBack::BusyWorkers) => {
            return verdict(
                active(decision),
                Reason::BusyWorkers.as_str(),
                because(pool, decision, bounds, Reason::BusyWorkers),
            );
        }
        Some(HeldBack::RollingOut) => {
            return verdict(
                active(decision),
                "RollingOut",
                "the count falls when the roll-out has ended".to_owned(),
            );
        }
        Some(HeldBack::CannotAsk(error)) => {
            let message = format!("the count falls when Redis can be asked who is idle: {error}");
            return verdict(active(decision), "CannotAskWorkers", message);
        }
        None => {}
    }
    verdict(
        active(decision),
        decision.reason.as_str(),
        because(pool, decision, bounds, decision.reason),
    )
}

fn active(decision: &Decision) -> &'static str {
    if decision.mode == scaling::Mode::Queue && decision.reason != Reason::QueueUnreadable {
        "True"
    } else {
        "False"
    }
}

fn available(pool: &WorkerPool, findings: &Findings<'_>) -> Verdict {
    let least = match (pool.spec.replicas, findings.decision) {
        (Some(pin), _) => pin,
        (None, Some((_, bounds))) => i32::try_from(bounds.min_replicas).unwrap_or(i32::MAX),
        (None, None) => pool.spec.scaling.min_replicas,
    };
    let ready = findings
        .deployment
        .map_or(0, |deployment| deployment.status.ready_replicas);
    if ready >= least {
        Verdict::new(
            conditions::AVAILABLE,
            "True",
            "EnoughReady",
            format!("at least {least} are ready"),
        )
    } else {
        Verdict::new(
            conditions::AVAILABLE,
            "False",
            "TooFewReady",
            format!("fewer than {least} are ready"),
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pool() -> WorkerPool {
        serde_json::from_value(json!({
            "apiVersion": "workerpool.dev/v1alpha1",
            "kind": "WorkerPool",
            "metadata": {"name": "hw7", "namespace": "default", "generation": 4},
            "spec": {},
        }))
        .unwrap()
    }

    fn view(waiting: u64) -> View {
        View {
            reading: Some(crate::queues::tests::reading(waiting, 0)),
            ..View::default()
        }
    }

    fn decision(replicas: u32, mode: scaling::Mode, reason: Reason) -> Decision {
        Decision {
            replicas,
            desired: replicas,
            raw: None,
            recommended: replicas,
            working: true,
            mode,
            reason,
            not_before: None,
        }
    }

    fn condition<'a>(status: &'a WorkerPoolStatus, kind: &str) -> (&'a str, &'a str) {
        let found = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == kind)
            .unwrap();
        (&found.status, &found.reason)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn queue_that_is_followed_makes_all_conditions_true() {
        let (view, decision) = (view(7), decision(2, scaling::Mode::Queue, Reason::JobsPerReplica));
        let findings = Findings {
            view: Some(&view),
            decision: Some((&decision, &InForce::default())),
            ..Findings::default()
        };
        let status = build_status(&pool(), &findings, &WorkerPoolStatus::default(), at(1));
        assert_eq!(condition(&status, "Ready"), ("True", "Applied"));
        assert_eq!(condition(&status, "Accepted"), ("True", "Accepted"));
        assert_eq!(condition(&status, "QueueReadable"), ("True", "Tracked"));
        assert_eq!(condition(&status, "ScalingActive"), ("True", "JobsPerReplica"));
        assert_eq!(condition(&status, "Available"), ("True", "EnoughReady"));
        assert_eq!(status.observed_generation, Some(4));
        assert_eq!(status.desired_replicas, Some(2));
        assert_eq!(status.queue.as_ref().unwrap().waiting, 7);
    }

    #[test]
    fn transition_time_moves_only_when_the_status_of_a_condition_does() {
        let (view, decision) = (view(7), decision(2, scaling::Mode::Queue, Reason::JobsPerReplica));
        let findings = Findings {
            view: Some(&view),
            decision: Some((&decision, &InForce::default())),
            ..Findings::default()
        };
        let first = build_status(&pool(), &findings, &WorkerPoolStatus::default(), at(1));
        let second = build_status(&pool(), &findings, &first, at(2));
        assert_eq!(first, second);

        let refusal = Refusal::SeveralQueues;
        let refused = Findings {
            refusal: Some(&refusal),
            ..findings
        };
        let third = build_status(&pool(), &refused, &second, at(3));
        let time = |kind: &str| {
            let found = third
                .conditions
                .iter()
                .find(|condition| condition.type_ == kind)
                .unwrap();
            found.last_transition_time.0
        };
        assert_eq!(condition(&third, "Accepted"), ("False", "SeveralQueues"));
        assert_eq!(time("Accepted"), at(3));
        assert_eq!(time("QueueReadable"), at(1));
    }

    #[test]
    fn pinned_pool_is_ready_though_its_queue_cannot_be_read() {
        let view = View {
            error: Some(queue::Error::Loading),
            failures: 5,
            ..View::default()
        };
        let pinned = decision(3, scaling::Mode::Pinned, Reason::Pinned);
        let findings = Findings {
            view: Some(&view),
            decision: Some((&pinned, &InForce::default())),
            ..Findings::default()
        };
        let status = build_status(&pool(), &findings, &WorkerPoolStatus::default(), at(1));
        assert_eq!(condition(&status, "Ready"), ("True", "Applied"));
        assert_eq!(condition(&status, "QueueReadable"), ("False", "Loading"));
        assert_eq!(condition(&status, "ScalingActive"), ("False", "Pinned"));
        assert_eq!(status.mode, Some(Mode::Pinned));

        let following = decision(3, scaling::Mode::Queue, Reason::QueueUnreadable);
        let findings = Findings {
            decision: Some((&following, &InForce::default())),
            ..findings
        };
        let status = build_status(&pool(), &findings, &status, at(2));
        assert_eq!(condition(&status, "Ready"), ("False", "QueueUnreadable"));
    }

    #[test]
    fn data_at_risk_is_told_in_plain_words_and_leaves_the_pool_ready() {
        let decision = decision(2, scaling::Mode::Queue, Reason::JobsPerReplica);
        let build = |risks| {
            let view = View { risks, ..view(7) };
            let findings = Findings {
                view: Some(&view),
                decision: Some((&decision, &InForce::default())),
                ..Findings::default()
            };
            build_status(&pool(), &findings, &WorkerPoolStatus::default(), at(1))
        };
        assert_eq!(condition(&build(None), "DataSafe"), ("Unknown", "NotAskedYet"));
        assert_eq!(
            condition(&build(Some(Ok(Vec::new()))), "DataSafe"),
            ("True", "NoRiskFound")
        );
        let denied = queue::Error::Denied("config".to_owned());
        assert_eq!(
            condition(&build(Some(Err(denied))), "DataSafe"),
            ("Unknown", "PermissionDenied")
        );

        let policy = "allkeys-lru".to_owned();
        let at_risk = build(Some(Ok(vec![queue::Risk::Evicts { policy }])));
        assert_eq!(condition(&at_risk, "DataSafe"), ("False", "AtRisk"));
        assert_eq!(condition(&at_risk, "Ready"), ("True", "Applied"));
        let found = at_risk
            .conditions
            .iter()
            .find(|condition| condition.type_ == "DataSafe");
        let message = &found.unwrap().message;
        assert!(message.contains("allkeys-lru"), "{message}");
    }

    #[test]
    fn depth_alone_is_told_from_other_changes() {
        let decision = decision(2, scaling::Mode::Queue, Reason::JobsPerReplica);
        let build = |view: &View, last: &WorkerPoolStatus| {
            let findings = Findings {
                view: Some(view),
                decision: Some((&decision, &InForce::default())),
                ..Findings::default()
            };
            build_status(&pool(), &findings, last, at(1))
        };
        let first = build(&view(7), &WorkerPoolStatus::default());
        let deeper = build(&view(8), &first);
        assert!(differs_in_depth_only(&first, &deeper));
        assert!(!differs_in_depth_only(&first, &first));
        let mut asked_for_more = first.clone();
        asked_for_more.decision.as_mut().unwrap().raw_replicas = Some(9);
        assert!(differs_in_depth_only(&first, &asked_for_more));
        let more = WorkerPoolStatus {
            desired_replicas: Some(3),
            ..deeper
        };
        assert!(!differs_in_depth_only(&first, &more));
    }
}
