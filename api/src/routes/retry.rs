//! `POST /jobs/{id}/retry`: gives a dead job another try.

use axum::{extract::State, http::StatusCode, response::Response};
use queue::{Retried, Status};

use super::{
    id::{PathId, job_id, unknown},
    job::standing,
    unavailable::answered,
};
use crate::{app, error::Problem};

pub(crate) async fn retry(State(state): State<app::State>, id: PathId) -> Response {
    state
        .metrics
        .measure("POST", "/jobs/{id}/retry", ask(&state, id))
        .await
}

async fn ask(state: &app::State, id: PathId) -> Result<Response, Problem> {
    let id = job_id(id)?;
    let outcome = answered(state, "retry", state.producer.retry(&id))
        .await
        .map_err(|error| error.undone("the job", "retried"))?;
    match outcome {
        Retried::Yes => Ok(standing(StatusCode::OK, &id, &Status::Submitted)),
        Retried::NotDead(status) => {
            let detail = format!("the job is {status}: only one that was given up can be retried");
            Err(Problem::new(StatusCode::CONFLICT, detail))
        }
        Retried::NotFound => Err(unknown()),
    }
}
