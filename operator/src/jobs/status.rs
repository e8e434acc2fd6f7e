//! What is said about a Job. Pure: from what was heard to the whole status.

use crds::job::{
    conditions,
    status::{JobProgress, JobResult, JobStatus, JobWorker, State},
};
use k8s_openapi::{
    ByteString,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use queue::{JobId, JobState, ResultHead, Status};

use super::{
    access::Access,
    entry::{Entry, News, Rejection},
};

/// The status to be. Two calls that see the same answer the same, but for the result, which is only there when the queue has just
/// told it.
pub(super) fn build_status(entry: &Entry, access: &Access, clock: Timestamp) -> JobStatus {
    let last = &entry.status;
    let (mut status, ended) = match &entry.news {
        None => (last.clone(), None),
        Some(News::Submitted(at_ms)) => (submitted(*at_ms), None),
        Some(News::State(state)) => (mirrored(state, entry.id().as_ref()), ended(state)),
        Some(News::Lost) => (failed(last), Some(lost())),
        Some(News::Rejected(rejection)) => (failed(last), Some(rejected(rejection))),
    };
    let kept_ending = match &entry.news {
        None => super::entry::ending(last).cloned(),
        Some(_) => None,
    };
    let ending = ended
        .map(|verdict| verdict.into_condition(entry, clock))
        .or(kept_ending);
    let accepted = match accepted(entry, access, ending.is_some()) {
        Some(verdict) => Some(verdict.into_condition(entry, clock)),
        None => find(last, conditions::ACCEPTED).cloned(),
    };
    status.conditions = [accepted, ending].into_iter().flatten().collect();
    status
}

/// The last status, which says besides that a step panicked, if one did. Made from as little as can be: what panicked may be what
/// makes the whole status.
pub(super) fn panic_status(entry: &Entry, clock: Timestamp) -> Option<JobStatus> {
    let accepted = panic_verdict(entry)?.into_condition(entry, clock);
    let mut status = entry.status.clone();
    status
        .conditions
        .retain(|condition| condition.type_ != accepted.type_);
    status.conditions.insert(0, accepted);
    Some(status)
}

fn panic_verdict(entry: &Entry) -> Option<Verdict> {
    // What a Job that was never submitted ended with stays its last word.
    if entry.ending().is_some() && !entry.submitted {
        return None;
    }
    let panicked = &entry.panic.as_ref()?.panicked;
    Some(Verdict {
        kind: conditions::ACCEPTED,
        holds: entry.submitted,
        reason: "InternalError",
        message: format!(
            "{panicked}; the operator's log has the line of code. This Job is tried again, others go on"
        ),
    })
}

/// Whether the two differ in nothing but how far the program says it is.
pub(super) fn differs_in_progress_only(last: &JobStatus, new: &JobStatus) -> bool {
    let without = |status: &JobStatus| JobStatus {
        progress: None,
        ..status.clone()
    };
    last.progress != new.progress && without(last) == without(new)
}

/// Without the result, which is not kept.
pub(super) fn without_result(status: &JobStatus) -> JobStatus {
    JobStatus {
        result: None,
        ..status.clone()
    }
}

pub(super) fn find<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == kind)
}

fn submitted(at_ms: Option<u64>) -> JobStatus {
    JobStatus {
        state: word(State::Waiting),
        queue_state: Some(Status::Submitted.as_str().to_owned()),
        attempts: Some(0),
        submitted_time: at_ms.and_then(time),
        ..JobStatus::default()
    }
}

/// The last status, of a Job that failed without a word of the queue.
fn failed(last: &JobStatus) -> JobStatus {
    JobStatus {
        state: word(State::Failed),
        ..last.clone()
    }
}

fn word(state: State) -> Option<String> {
    Some(state.as_str().to_owned())
}

/// State of the Job for the queue's word. A foreign word comes from a program that took the job out of the queue, so the job runs
/// there until the queue counts it as ended.
fn state_of(state: &JobState) -> State {
    match &state.status {
        Status::Submitted if state.due_ms.is_some() => State::Scheduled,
        Status::Submitted => State::Waiting,
        Status::Other(_) if state.finished_ms.is_some() => State::Failed,
        Status::InProgress | Status::Other(_) => State::Running,
        Status::Complete => State::Complete,
        Status::Failed => State::Failed,
        Status::Cancelled => State::Cancelled,
    }
}

fn mirrored(state: &JobState, id: Option<&JobId>) -> JobStatus {
    let some = |count: u64| (count > 0).then_some(number(count));
    let worker = JobWorker {
        ip: state.worker_ip.clone(),
        pod: state.worker_pod.clone(),
    };
    JobStatus {
        state: word(state_of(state)),
        queue_state: Some(state.status.as_str().to_owned()),
        attempts: Some(number(state.attempts)),
        failures: some(state.failures),
        lost: some(state.lost),
        worker: (worker != JobWorker::default()).then_some(worker),
        submitted_time: state.submitted_ms.and_then(time),
        started_time: state.started_ms.and_then(time),
        finished_time: state.finished_ms.and_then(time),
        next_attempt_time: state.due_ms.and_then(time),
        progress: state.progress.as_ref().map(|progress| JobProgress {
            percent: progress.percent.map(i32::from),
            message: progress.message.clone(),
        }),
        result: state.result.as_ref().map(|head| result(head, id)),
        error: state.error.clone(),
        conditions: Vec::new(),
    }
}

/// Itself if all of it is here, else where it is.
fn result(head: &ResultHead, id: Option<&JobId>) -> JobResult {
    let mut result = JobResult {
        content_type: head.content_type.clone(),
        size_bytes: i64::try_from(head.size).unwrap_or(i64::MAX),
        ..JobResult::default()
    };
    if u64::try_from(head.head.len()) != Ok(head.size) {
        result.path = id.map(|id| format!("/jobs/{id}/result"));
        return result;
    }
    match std::str::from_utf8(&head.head) {
        Ok(text) => result.text = Some(text.to_owned()),
        Err(_) => result.data = Some(ByteString(head.head.clone())),
    }
    result
}

/// A condition, without its times.
struct Verdict {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Verdict {
    fn into_condition(self, entry: &Entry, clock: Timestamp) -> Condition {
        let status = if self.holds { "True" } else { "False" };
        let unchanged = find(&entry.status, self.kind).filter(|condition| condition.status == status);
        Condition {
            type_: self.kind.to_owned(),
            status: status.to_owned(),
            reason: self.reason.to_owned(),
            message: self.message,
            observed_generation: entry.generation,
            last_transition_time: unchanged.map_or_else(
                || seconds(clock),
                |condition| condition.last_transition_time.clone(),
            ),
        }
    }
}

/// `None`: as it was before.
fn accepted(entry: &Entry, access: &Access, has_ended: bool) -> Option<Verdict> {
    let verdict = |holds, reason, message: String| {
        Some(Verdict {
            kind: conditions::ACCEPTED,
            holds,
            reason,
            message,
        })
    };
    if let Some(News::Rejected(rejection)) = &entry.news {
        return verdict(false, rejection.reason, rejection.message.clone());
    }
    if let Some(panicked) = panic_verdict(entry) {
        return Some(panicked);
    }
    let pool = &entry.pool.name;
    match (entry.submitted, access) {
        _ if has_ended && !entry.submitted => None,
        (true, Access::Missing { .. }) if !has_ended => verdict(
            false,
            "PoolDeleted",
            format!(
                "the WorkerPool {pool} is gone; the job stays in its Redis, and a pool that follows the same queue takes it up"
            ),
        ),
        (true, _) => verdict(
            true,
            "Submitted",
            format!("it is in the queue of the WorkerPool {pool}"),
        ),
        (false, Access::Missing { .. }) => verdict(
            false,
            "PoolNotFound",
            format!("there is no WorkerPool {pool} in this namespace yet; the Job waits for it"),
        ),
        (false, Access::NotServed { .. }) => verdict(
            false,
            "PoolNotServed",
            format!("the WorkerPool {pool} is not served, its conditions say why; the Job waits for it"),
        ),
        (false, Access::Failing(error)) => {
            let reason = crate::status::error_reason(error);
            // Other words for the same are no news: there may be thousands of Jobs to tell them.
            let said = find(&entry.status, conditions::ACCEPTED).is_some_and(|said| said.reason == reason);
            if said {
                None
            } else {
                verdict(false, reason, format!("{error}; the Job waits for it"))
            }
        }
        (false, Access::Unknown | Access::Open) => None,
    }
}

fn ended(state: &JobState) -> Option<Verdict> {
    let failed = |reason, message| Verdict {
        kind: conditions::FAILED,
        holds: true,
        reason,
        message,
    };
    match &state.status {
        Status::Complete => Some(Verdict {
            kind: conditions::COMPLETE,
            holds: true,
            reason: "Completed",
            message: "it was done".to_owned(),
        }),
        Status::Failed => Some(failed("Failed", why(state))),
        Status::Cancelled => Some(failed("Cancelled", "it was cancelled".to_owned())),
        // What that word means nobody here knows, so nobody is told that the job is done.
        Status::Other(word) if state.finished_ms.is_some() => Some(failed(
            "EndedElsewhere",
            format!("a program that is not workerpool ended it with the status {word:?}"),
        )),
        Status::Submitted | Status::InProgress | Status::Other(_) => None,
    }
}

fn why(state: &JobState) -> String {
    let runs = format!("given up after {} runs", state.attempts);
    let parts = [Some(runs), state.reason.clone(), state.error.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
}

fn lost() -> Verdict {
    Verdict {
        kind: conditions::FAILED,
        holds: true,
        reason: "NotInQueue",
        message: "the queue no longer knows it: Redis lost it, somebody deleted it, or it ended so long ago that it is forgotten".to_owned(),
    }
}

fn rejected(rejection: &Rejection) -> Verdict {
    Verdict {
        kind: conditions::FAILED,
        holds: true,
        reason: rejection.reason,
        message: rejection.message.clone(),
    }
}

/// In whole seconds, as the API server keeps it: what is read back is what was written.
fn time(unix_ms: u64) -> Option<Time> {
    let second = i64::try_from(unix_ms / 1000).ok()?;
    Timestamp::from_second(second).ok().map(Time)
}

fn seconds(clock: Timestamp) -> Time {
    Time(Timestamp::from_second(clock.as_second()).unwrap_or(clock))
}

fn number(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
