//! What holds of a pool, and what does not.

use crds::{WorkerPool, conditions as kinds, status::WorkerPoolStatus};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use scaling::{Decision, Reason};

use super::{Findings, pods};
use crate::{
    deployment::{GRACE_MAX, grace_seconds, labels_not_taken},
    explanation::{because, disabled, disabled_in_words},
    queues::View,
    scale_down::HeldBack,
};

/// Every condition, in the order in which they are shown.
pub(super) fn all(
    pool: &WorkerPool,
    findings: &Findings<'_>,
    last: &WorkerPoolStatus,
    now: Timestamp,
) -> Vec<Condition> {
    let pods_ready = pods::pods_ready(findings, last);
    [
        ready(pool, findings, &pods_ready),
        accepted(pool, findings),
        queue_readable(pool, findings),
        scaling_active(pool, findings),
        pods_ready,
        pods::available(findings),
        data_safe(pool, findings, last),
    ]
    .into_iter()
    .map(|verdict| verdict.into_condition(pool, last, now))
    .collect()
}

/// A condition, without its times.
pub(super) struct Verdict {
    kind: &'static str,
    pub(super) status: &'static str,
    reason: String,
    message: String,
}

impl Verdict {
    pub(super) fn new(
        kind: &'static str,
        status: &'static str,
        reason: &str,
        message: impl Into<String>,
    ) -> Self {
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

/// `Ready` as it is while nothing more is known than this.
pub(super) fn not_ready(
    pool: &WorkerPool,
    last: &WorkerPoolStatus,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Condition {
    Verdict::new(kinds::READY, "False", reason, message).into_condition(pool, last, now)
}

fn ready(pool: &WorkerPool, findings: &Findings<'_>, pods_ready: &Verdict) -> Verdict {
    let verdict = |status, reason: &str, message: String| Verdict::new(kinds::READY, status, reason, message);
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
    if let Some((_, message)) = view.and_then(|view| unreadable(pool, view)).filter(|_| follows) {
        return verdict("False", "QueueUnreadable", message);
    }
    if follows && view.is_none_or(|view| view.reading.is_none()) {
        return verdict(
            "Unknown",
            "NotReadYet",
            "the queue has not been read yet".to_owned(),
        );
    }
    if pods_ready.status == "False" && pods::none_ready(findings) {
        return verdict("False", &pods_ready.reason, pods_ready.message.clone());
    }
    let applied = "the last decision is applied".to_owned();
    // Pods that are starting need no mention.
    let message = match pods_ready.status {
        "False" => format!("{applied}; {}", pods_ready.message),
        _ => applied,
    };
    verdict("True", "OK", message)
}

fn accepted(pool: &WorkerPool, findings: &Findings<'_>) -> Verdict {
    if let Some(refusal) = findings
        .refusal
        .filter(|refusal| refusal.condition() == kinds::ACCEPTED)
    {
        return Verdict::new(kinds::ACCEPTED, "False", refusal.reason(), refusal.to_string());
    }
    let worker = &pool.spec.worker;
    let bounded = grace_seconds(worker) == GRACE_MAX && worker.job_timeout_seconds > Some(GRACE_MAX);
    let cut = (bounded && pool.spec.scale_target_ref.is_none()).then(|| {
        format!(
            "jobs may run longer than the {GRACE_MAX} s that a pod gets to end: those are given back when their pod is evicted"
        )
    });
    let labels = labels_not_taken(pool, findings.deployment);
    let reservations: Vec<_> = cut.into_iter().chain(labels).collect();
    let message = if reservations.is_empty() {
        "served".to_owned()
    } else {
        format!("served; but {}", reservations.join("; "))
    };
    Verdict::new(kinds::ACCEPTED, "True", "Accepted", message)
}

/// What stands in the way of reading, and in which queue, if there are several.
fn unreadable<'a>(pool: &WorkerPool, view: &'a View) -> Option<(&'a queue::Error, String)> {
    let error = view.error.as_ref()?;
    let names = pool.spec.queues.iter().map(|queue| &queue.name);
    let failing = names.zip(&view.queues).find(|(_, queue)| queue.error.is_some());
    let message = match failing {
        Some((name, _)) if view.queues.len() > 1 => format!("queue {name}: {error}"),
        _ => error.to_string(),
    };
    Some((error, message))
}

fn queue_readable(pool: &WorkerPool, findings: &Findings<'_>) -> Verdict {
    let verdict =
        |status, reason: &str, message: String| Verdict::new(kinds::QUEUE_READABLE, status, reason, message);
    if let Some(refusal) = findings
        .refusal
        .filter(|refusal| refusal.condition() == kinds::QUEUE_READABLE)
    {
        return verdict("False", refusal.reason(), refusal.to_string());
    }
    if let Some((error, message)) = findings.view.and_then(|view| unreadable(pool, view)) {
        return verdict("False", error_reason(error), message);
    }
    match findings.view {
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
        queue::Error::Denied(_) | queue::Error::UnknownCommand(_) => "PermissionDenied",
        queue::Error::AnswerTooLarge { .. } => "AnswerTooLarge",
        queue::Error::TooOld { .. } => "RedisTooOld",
        queue::Error::ReadOnly(_) | queue::Error::NotMaster { .. } => "NotMaster",
        queue::Error::OutOfMemory(_) => "OutOfMemory",
        queue::Error::Loading => "Loading",
        queue::Error::WrongType(_) => "WrongType",
        queue::Error::Redirected { .. } => "RedisCluster",
        queue::Error::CrossSlot => "CrossSlot",
        queue::Error::SlotUnavailable(_) => "SlotUnavailable",
        _ => "ReadFailed",
    }
}

/// About the server alone: Ready does not depend on it, as jobs are run all the same.
fn data_safe(pool: &WorkerPool, findings: &Findings<'_>, last: &WorkerPoolStatus) -> Verdict {
    let verdict =
        |status, reason: &str, message: String| Verdict::new(kinds::DATA_SAFE, status, reason, message);
    match findings.view.and_then(|view| view.risks.as_ref()) {
        None => said_of(pool, kinds::DATA_SAFE, last).unwrap_or_else(|| {
            verdict(
                "Unknown",
                "NotAskedYet",
                "how Redis keeps its data has not been asked yet".to_owned(),
            )
        }),
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

/// What the last status says of the spec as it is: it holds until more is known. An operator that starts again has nothing to
/// take back.
fn said_of(pool: &WorkerPool, kind: &'static str, last: &WorkerPoolStatus) -> Option<Verdict> {
    let last = last.conditions.iter().find(|condition| condition.type_ == kind)?;
    (last.observed_generation == pool.metadata.generation).then(|| {
        let status = match last.status.as_str() {
            "True" => "True",
            "False" => "False",
            _ => "Unknown",
        };
        Verdict::new(kind, status, &last.reason, last.message.clone())
    })
}

fn scaling_active(pool: &WorkerPool, findings: &Findings<'_>) -> Verdict {
    let verdict =
        |status, reason: &str, message: String| Verdict::new(kinds::SCALING_ACTIVE, status, reason, message);
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
    let mut message = because(pool, decision, bounds, decision.reason);
    let says_so = matches!(
        decision.reason,
        Reason::ScaleUpDisabled | Reason::ScaleDownDisabled
    );
    if let Some(disabled) = disabled(&pool.spec.scaling).filter(|_| !says_so) {
        message = format!("{message}; {}", disabled_in_words(disabled));
    }
    verdict(active(decision), decision.reason.as_str(), message)
}

fn active(decision: &Decision) -> &'static str {
    match (decision.mode, decision.reason) {
        (_, Reason::NotReadYet) => "Unknown",
        (scaling::Mode::Queue, reason) if reason != Reason::QueueUnreadable => "True",
        _ => "False",
    }
}
