//! `GET /jobs/{id}/result`, under the later course years' names too, and `GET /download/{id}`.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use queue::{ResultLook, Status};

use super::{
    id::{PathId, job_id, unknown},
    unavailable::answered,
};
use crate::{
    app,
    content::{self, Disposition},
    error::Problem,
};

/// The result, at this path.
pub(super) fn at(route: &'static str, disposition: Disposition) -> MethodRouter<app::State> {
    get(
        move |State(state): State<app::State>, id: PathId, headers: HeaderMap| async move {
            let look = look_up(&state, id, disposition, &headers);
            state.metrics.measure("GET", route, look).await
        },
    )
}

async fn look_up(
    state: &app::State,
    id: PathId,
    disposition: Disposition,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let id = job_id(id)?;
    let look = answered(state, "result", state.producer.result(&id))
        .await
        .map_err(|error| error.problem("the result could not be looked up"))?;
    match look {
        ResultLook::Found(result) => Ok(content::answer(&id, result, disposition, headers)),
        ResultLook::Empty => Ok(StatusCode::NO_CONTENT.into_response()),
        ResultLook::NotFinished(status) => Err(none_yet(&status)),
        ResultLook::EndedElsewhere(status) => Err(ended_elsewhere(&status)),
        ResultLook::NotFound => Err(unknown()),
    }
}

/// 409, without `Retry-After`: nothing will come.
fn ended_elsewhere(status: &Status) -> Problem {
    let detail = format!(
        "the job is {status}: a program that is not workerpool ended it with this status, and there is no result here"
    );
    Problem::new(StatusCode::CONFLICT, detail).of_job(status)
}

/// 409: with `Retry-After` if there may be one later.
fn none_yet(status: &Status) -> Problem {
    let conflict = |detail: &str| {
        Problem::new(StatusCode::CONFLICT, format!("the job is {status}: {detail}")).of_job(status)
    };
    match status {
        Status::Failed => conflict("it has no result; its details say why"),
        Status::Cancelled => conflict("it has no result"),
        _ => conflict("no result yet").after_a_while(),
    }
}
