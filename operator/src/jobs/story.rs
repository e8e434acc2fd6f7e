//! What of a Job is worth an event. Few: a burst of Jobs must not become three times as many events.

use crds::job::{
    conditions,
    status::{JobStatus, State},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{entry::ending, status::find};
use crate::events::Event;

/// What changed from one status to the next, as far as it is worth an event.
pub(super) fn between(last: &JobStatus, new: &JobStatus) -> Vec<Event> {
    let mut events = Vec::new();
    let accepted = find(new, conditions::ACCEPTED);
    let before = find(last, conditions::ACCEPTED);
    if let Some(accepted) = accepted.filter(|now| before.is_none_or(|before| before.reason != now.reason)) {
        match accepted.status.as_str() {
            "True" if last.submitted_time.is_none() => {
                events.push(Event::normal("Submitted", "Submit", accepted.message.clone()));
            }
            "False" if ending(new).is_none() => events.push(warning("Waiting", "Submit", accepted)),
            _ => {}
        }
    }
    if new.started_time.is_some()
        && new.attempts > last.attempts
        && new.state.as_deref() == Some(State::Running.as_str())
    {
        events.push(Event::normal("Started", "Run", started(new)));
    }
    match ending(new).filter(|_| ending(last).is_none()) {
        Some(end) if end.type_ == conditions::COMPLETE => {
            events.push(Event::normal("Completed", "Run", end.message.clone()));
        }
        Some(end) if end.reason == "Cancelled" => {
            events.push(Event::normal("Cancelled", "Run", end.message.clone()));
        }
        Some(end) => events.push(warning("Failed", "Run", end)),
        None => {}
    }
    events
}

/// A Job went, and may still run.
pub(super) fn uncancelled(why: &str) -> Event {
    let note = format!("{why}: the Job is gone, and what it was for may still run");
    Event::warning("NotCancelled", "Cancel", note)
}

fn warning(reason: &'static str, action: &'static str, condition: &Condition) -> Event {
    Event::warning(
        reason,
        action,
        format!("{}: {}", condition.reason, condition.message),
    )
}

fn started(status: &JobStatus) -> String {
    let run = status.attempts.unwrap_or_default();
    let worker = status.worker.as_ref();
    match worker.and_then(|worker| worker.pod.as_ref().or(worker.ip.as_ref())) {
        Some(worker) => format!("run {run} began on {worker}"),
        None => format!("run {run} began"),
    }
}
