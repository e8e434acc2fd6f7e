//! `GET /jobs`: newest first, a page at a time.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
};
use serde::Serialize;

use super::{
    page::{PageOf, Parameters},
    unavailable::answered,
};
use crate::{
    answer::{Shown, answer},
    app,
    error::Problem,
};

#[derive(Serialize)]
struct Listed<'a> {
    jobs: Vec<Shown<'a>>,
    next: Option<String>,
}

pub(crate) async fn list(
    State(state): State<app::State>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Response {
    state
        .metrics
        .measure("GET", "/jobs", page(&state, parameters))
        .await
}

async fn page(
    state: &app::State,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let PageOf { limit, cursor } = PageOf::read(parameters)?;
    let page = answered(state, "list", state.producer.list(cursor.as_ref(), limit))
        .await
        .map_err(|error| error.problem("the jobs could not be listed"))?;
    let listed = Listed {
        jobs: page.jobs.iter().map(Shown).collect(),
        next: page.next.as_ref().map(queue::Cursor::to_string),
    };
    Ok(answer(StatusCode::OK, &listed))
}
