//! `DELETE /jobs/{id}`: cancels a job.

use axum::{extract::State, http::StatusCode, response::Response};
use queue::{Cancel, JobId, Status};

use super::{
    id::{PathId, job_id, unknown},
    job::standing,
    unavailable::answered,
};
use crate::{app, error::Problem};

pub(crate) async fn cancel(State(state): State<app::State>, id: PathId) -> Response {
    state
        .metrics
        .measure("DELETE", "/jobs/{id}", ask(&state, id))
        .await
}

async fn ask(state: &app::State, id: PathId) -> Result<Response, Problem> {
    let id = job_id(id)?;
    let outcome = answered(state, "cancel", state.producer.cancel(&id))
        .await
        .map_err(|error| error.undone("the job", "cancelled"))?;
    outcome_of(&id, outcome)
}

fn outcome_of(id: &JobId, outcome: Cancel) -> Result<Response, Problem> {
    let conflict = |detail: String| Err(Problem::new(StatusCode::CONFLICT, detail));
    match outcome {
        Cancel::Cancelled | Cancel::AlreadyCancelled => Ok(standing(StatusCode::OK, id, &Status::Cancelled)),
        Cancel::Requested => Ok(standing(StatusCode::ACCEPTED, id, &Status::InProgress)),
        Cancel::Ended(status) => conflict(format!("the job is {status}: there is nothing to cancel")),
        Cancel::Foreign => {
            conflict("a worker of another program has the job, and cannot be told to stop".to_owned())
        }
        Cancel::NotFound => Err(unknown()),
    }
}
