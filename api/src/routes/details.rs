//! `GET /jobs/{id}/details`: the job, and what is remembered of it besides.

use axum::{extract::State, http::StatusCode, response::Response};
use queue::Past;
use serde::Serialize;

use super::{
    id::{PathId, job_id, unknown},
    unavailable::answered,
};
use crate::{
    answer::{Shown, answer},
    app,
    error::Problem,
    time::Time,
};

#[derive(Serialize)]
struct Detailed<'a> {
    #[serde(flatten)]
    job: Shown<'a>,
    attempts: u64,
    failures: u64,
    lost: u64,
    interruptions: u64,
    due: Option<Time>,
    finished: Option<Time>,
    reason: Option<&'a str>,
    error: Option<&'a str>,
    cancel_requested: bool,
    max_attempts: Option<u32>,
    timeout_seconds: Option<f64>,
    result: Option<Head<'a>>,
    history: Vec<Event<'a>>,
}

/// What a job gave, without the bytes.
#[derive(Serialize)]
struct Head<'a> {
    content_type: &'a str,
    size: u64,
}

/// Something that happened to a job.
#[derive(Serialize)]
pub(super) struct Event<'a> {
    at: Time,
    what: &'a str,
    error: Option<&'a str>,
}

pub(super) fn events(history: &[Past]) -> Vec<Event<'_>> {
    history
        .iter()
        .map(|past| Event {
            at: Time(past.at_ms),
            what: &past.what,
            error: past.error.as_deref(),
        })
        .collect()
}

pub(crate) async fn details(State(state): State<app::State>, id: PathId) -> Response {
    state
        .metrics
        .measure("GET", "/jobs/{id}/details", look_up(&state, id))
        .await
}

async fn look_up(state: &app::State, id: PathId) -> Result<Response, Problem> {
    let id = job_id(id)?;
    let producer = &state.producer;
    let ids = std::slice::from_ref(&id);
    let all = async { tokio::try_join!(producer.get(&id), producer.details(&id), producer.states(ids)) };
    let (job, details, states) = answered(state, "details", all)
        .await
        .map_err(|error| error.problem("the job could not be looked up"))?;
    let (job, details) = job.zip(details).ok_or_else(unknown)?;
    let result = states.iter().flatten().find_map(|state| state.result.as_ref());
    let detailed = Detailed {
        job: Shown(&job),
        attempts: details.attempts,
        failures: details.failures,
        lost: details.lost,
        interruptions: details.interruptions,
        due: details.due_ms.map(Time),
        finished: details.finished_ms.map(Time),
        reason: details.reason.as_deref(),
        error: details.error.as_deref(),
        cancel_requested: details.cancel_requested,
        max_attempts: details.options.max_attempts,
        timeout_seconds: details.options.timeout.map(|timeout| timeout.as_secs_f64()),
        result: result.map(|result| Head {
            content_type: &result.content_type,
            size: result.size,
        }),
        history: events(&details.history),
    };
    Ok(answer(StatusCode::OK, &detailed))
}
