//! `GET /queue`: how long the queue is, and who works on it.

use axum::{extract::State, http::StatusCode, response::Response};
use queue::{Counts, JobId, Mark, Overview, WorkerJobs};
use serde::{Serialize, Serializer};

use super::unavailable::answered;
use crate::{answer::answer, app, error::Problem, time::Time};

#[derive(Serialize)]
struct Shown<'a> {
    waiting: u64,
    running: u64,
    delayed: u64,
    dead: u64,
    oldest_seconds: Option<f64>,
    next_due: Option<Time>,
    #[serde(serialize_with = "by_name")]
    counts: &'a Counts,
    workers_alive: u64,
    workers: Vec<Worker<'a>>,
}

#[derive(Serialize)]
struct Worker<'a> {
    id: &'a str,
    ip: &'a str,
    host: Option<&'a str>,
    pod: Option<&'a str>,
    mark: Option<&'static str>,
    held: u64,
    jobs: Vec<&'a str>,
}

pub(crate) async fn queue(State(state): State<app::State>) -> Response {
    state.metrics.measure("GET", "/queue", look(&state)).await
}

async fn look(state: &app::State) -> Result<Response, Problem> {
    let overview = answered(state, "overview", state.producer.overview())
        .await
        .map_err(|error| error.problem("the queue could not be read"))?;
    Ok(answer(StatusCode::OK, &shown(&overview)))
}

fn shown(overview: &Overview) -> Shown<'_> {
    Shown {
        waiting: overview.waiting,
        running: overview.running,
        delayed: overview.delayed,
        dead: overview.dead,
        oldest_seconds: oldest_seconds(overview),
        next_due: overview.next_due_ms.map(Time),
        counts: &overview.counts,
        workers_alive: overview.workers_alive,
        workers: overview.workers.iter().map(worker).collect(),
    }
}

/// For how long the job at the head of the list has waited, by the server's clock.
pub(crate) fn oldest_seconds(overview: &Overview) -> Option<f64> {
    let since = overview.oldest_submitted_ms?;
    let waited = overview.server_time_ms.saturating_sub(since);
    Some(std::time::Duration::from_millis(waited).as_secs_f64())
}

fn worker(worker: &WorkerJobs) -> Worker<'_> {
    let state = &worker.state;
    Worker {
        id: &state.nonce,
        ip: &state.ip,
        host: state.host.as_deref(),
        pod: state.pod_name.as_deref(),
        mark: state.mark.map(|(mark, _)| match mark {
            Mark::Quiet => "quiet",
            Mark::Drain => "drain",
        }),
        held: state.held,
        jobs: worker.jobs.iter().map(JobId::as_str).collect(),
    }
}

fn by_name<S: Serializer>(counts: &&Counts, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counts.each())
}
