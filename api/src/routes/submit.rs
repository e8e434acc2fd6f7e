//! `POST /jobs`: the original's one route.

use axum::{
    extract::{Request, State},
    response::Response,
};
use queue::{Error, Idempotency, JobId, NewJob};

use super::{
    body::Submission,
    incoming::read,
    unavailable::{Unavailable, answered},
};
use crate::{answer::json, app, error::Problem, idempotency, python_json::Scalar};

/// The answer's fixed parts and the id.
const ANSWER_BYTES: usize = 100;

pub(crate) async fn submit(State(state): State<app::State>, request: Request) -> Response {
    state
        .metrics
        .measure("POST", "/jobs", take(&state, request))
        .await
}

async fn take(state: &app::State, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let key = idempotency::key(&head.headers)?;
    let body = read(body, &state.settings).await?;
    let Submission { start, end, payload } = Submission::read(&body)?;
    let mut job = NewJob::new(start.stored(), end.stored());
    job.idempotency = key.map(|key| Idempotency {
        key: key.into_owned(),
        fingerprint: idempotency::fingerprint(&start, &end, payload.as_ref()),
        keep: state.settings.idempotency,
    });
    job.payload = payload;
    let fresh = job.id.clone();
    let job = answered(state, "submit", state.producer.submit(job))
        .await
        .map_err(|error| refusal(&error))?;
    if job.id == fresh {
        state.metrics.submitted.inc();
    }
    Ok(json(answer(&job.id, &start, &end)))
}

fn refusal(error: &Unavailable) -> Problem {
    match error {
        Unavailable::Failed(Error::KeyReused(_)) => idempotency::reused(),
        error => error.undone("the job", "queued"),
    }
}

/// As the original printed it, key order included, whatever else was sent.
fn answer(id: &JobId, start: &Scalar<'_>, end: &Scalar<'_>) -> String {
    let mut out = String::with_capacity(start.stored().len() + end.stored().len() + ANSWER_BYTES);
    out.push_str(r#"{"status": "submitted", "start": "#);
    start.dump(&mut out);
    out.push_str(r#", "end": "#);
    end.dump(&mut out);
    out.push_str(r#", "id": ""#);
    out.push_str(id.as_str());
    out.push_str("\"}\n");
    out
}
