//! `GET /dead`: what was given up, newest first, a page at a time.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
};
use queue::Dead;
use serde::Serialize;

use super::{
    details::{Event, events},
    page::{PageOf, Parameters},
    unavailable::answered,
};
use crate::{
    answer::{Shown, answer},
    app,
    error::Problem,
    time::Time,
};

#[derive(Serialize)]
struct Listed<'a> {
    dead: Vec<Entry<'a>>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    reason: &'a str,
    error: Option<&'a str>,
    since: Time,
    attempts: u64,
    failures: u64,
    lost: u64,
    history: Vec<Event<'a>>,
    job: Option<Shown<'a>>,
}

pub(crate) async fn list(
    State(state): State<app::State>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Response {
    state
        .metrics
        .measure("GET", "/dead", page(&state, parameters))
        .await
}

async fn page(
    state: &app::State,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let PageOf { limit, cursor } = PageOf::read(parameters)?;
    let page = answered(state, "dead", state.producer.dead(cursor.as_ref(), limit))
        .await
        .map_err(|error| error.problem("the dead could not be listed"))?;
    let listed = Listed {
        dead: page.entries.iter().map(entry).collect(),
        next: page.next.as_ref().map(queue::Cursor::to_string),
    };
    Ok(answer(StatusCode::OK, &listed))
}

fn entry(dead: &Dead) -> Entry<'_> {
    Entry {
        id: &dead.member,
        reason: &dead.reason,
        error: dead.error.as_deref(),
        since: Time(dead.since_ms),
        attempts: dead.attempts,
        failures: dead.failures,
        lost: dead.lost,
        history: events(&dead.history),
        job: dead.job.as_ref().map(Shown),
    }
}
