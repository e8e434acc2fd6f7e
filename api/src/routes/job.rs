//! `GET /jobs/{id}`.

use axum::{extract::State, http::StatusCode, response::Response};
use queue::{JobId, Status};
use serde::Serialize;

use super::{
    id::{PathId, job_id, unknown},
    unavailable::answered,
};
use crate::{
    answer::{Shown, answer},
    app,
    error::Problem,
};

pub(crate) async fn job(State(state): State<app::State>, id: PathId) -> Response {
    state
        .metrics
        .measure("GET", "/jobs/{id}", look_up(&state, id))
        .await
}

async fn look_up(state: &app::State, id: PathId) -> Result<Response, Problem> {
    let id = job_id(id)?;
    let job = answered(state, "get", state.producer.get(&id))
        .await
        .map_err(|error| error.problem("the job could not be looked up"))?
        .ok_or_else(unknown)?;
    Ok(answer(StatusCode::OK, &Shown(&job)))
}

#[derive(Serialize)]
struct Standing<'a> {
    status: &'a str,
    id: &'a str,
}

/// What a job's status is now that something was done to it.
pub(super) fn standing(code: StatusCode, id: &JobId, status: &Status) -> Response {
    let standing = Standing {
        status: status.as_str(),
        id: id.as_str(),
    };
    answer(code, &standing)
}
