//! Where a program beside this one says how far a job is.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, Path, Request, State},
    http::StatusCode,
    routing::post,
};
use queue::JobId;
use serde::Deserialize;
use tokio::time::timeout;

use crate::{held::Held, reports::Reports};

/// A message of a KiB, and what is around it.
const MAX_BODY: usize = 8 * 1024;

/// Time for a body to arrive. Probes share the listener and its connections.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What is to be known of jobs to take in their progress: where those of each queue are held.
#[derive(Clone, Debug)]
struct Callback {
    queues: Arc<[(Held, Reports)]>,
    body_timeout: Duration,
}

#[derive(Debug, Deserialize)]
struct Report {
    percent: Option<f64>,
    #[serde(default)]
    message: String,
}

/// `POST /jobs/{id}/progress`, for the jobs that are held now, of whichever queue.
pub(crate) fn routes(queues: impl IntoIterator<Item = (Held, Reports)>) -> Router {
    routes_with(queues, BODY_TIMEOUT)
}

fn routes_with(queues: impl IntoIterator<Item = (Held, Reports)>, body_timeout: Duration) -> Router {
    let callback = Callback {
        queues: queues.into_iter().collect(),
        body_timeout,
    };
    Router::new()
        .route("/jobs/{id}/progress", post(report))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(callback)
}

async fn report(
    State(callback): State<Callback>,
    Path(id): Path<String>,
    request: Request,
) -> Result<StatusCode, (StatusCode, String)> {
    let Callback { queues, body_timeout } = callback;
    let body = match timeout(body_timeout, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => body,
        Ok(Err(rejection)) => return Err((rejection.status(), rejection.body_text())),
        Err(_) => {
            let problem = format!("the body did not arrive within {body_timeout:?}\n");
            return Err((StatusCode::REQUEST_TIMEOUT, problem));
        }
    };
    let report = parse(&body).map_err(|problem| (StatusCode::BAD_REQUEST, problem))?;
    let job = JobId::new(id.as_str());
    let holder = job.and_then(|job| {
        let mut held = queues.iter();
        held.find_map(|(held, reports)| Some((held.token(&job)?, reports)))
            .map(|(token, reports)| (job, token, reports))
    });
    let Some((job, token, reports)) = holder else {
        let problem = format!("this worker does not hold the job {id:?} now\n");
        return Err((StatusCode::NOT_FOUND, problem));
    };
    reports.note(
        &job,
        &token,
        report.percent.map(crate::handler::whole_percent),
        report.message,
    );
    Ok(StatusCode::NO_CONTENT)
}

fn parse(body: &[u8]) -> Result<Report, String> {
    const WANTED: &str = r#"send a JSON object like {"percent": 42, "message": "resizing"}"#;
    let report: Report = serde_json::from_slice(body).map_err(|error| format!("{WANTED}: {error}\n"))?;
    match report.percent {
        Some(percent) if !(0.0..=100.0).contains(&percent) => {
            Err(format!("percent is a number from 0 to 100, not {percent}\n"))
        }
        None if report.message.is_empty() => Err(format!("{WANTED}: it says nothing\n")),
        _ => Ok(report),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::{Body, to_bytes};
    use futures::stream;
    use tower::ServiceExt;

    use super::*;
    use crate::Metrics;

    async fn post(held: &[Held], id: &str, body: &str) -> (StatusCode, String) {
        let request = Request::post(format!("/jobs/{id}/progress"))
            .body(Body::from(body.to_owned()))
            .unwrap();
        let app = routes(held.iter().map(|held| (held.clone(), Reports::default())));
        let response = app.oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), MAX_BODY).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn progress_is_taken_of_jobs_that_are_held_and_only_if_it_says_something() {
        let metrics = Metrics::register(&mut telemetry::registry("test", "0"));
        let held = [Held::new(metrics.clone()), Held::new(metrics)];
        let token = serde_json::from_value("token".into()).unwrap();
        let hold = held[1].hold(JobId::new("a").unwrap(), token);
        for good in [
            r#"{"percent": 42.5, "message": "x"}"#,
            r#"{"percent": 0}"#,
            r#"{"message": "x"}"#,
        ] {
            assert_eq!(
                post(&held, "a", good).await,
                (StatusCode::NO_CONTENT, String::new())
            );
        }
        for (bad, says) in [
            ("42", "send a JSON object like"),
            ("{}", "it says nothing"),
            (r#"{"percent": 101}"#, "from 0 to 100, not 101"),
        ] {
            let (status, problem) = post(&held, "a", bad).await;
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert!(problem.contains(says), "{problem}");
        }
        let (status, problem) = post(&held, "b", r#"{"percent": 1}"#).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(problem, "this worker does not hold the job \"b\" now\n");
        drop(hold);
        assert_eq!(
            post(&held, "a", r#"{"percent": 1}"#).await.0,
            StatusCode::NOT_FOUND
        );
        let long = format!(r#"{{"message": "{}"}}"#, "x".repeat(MAX_BODY));
        assert_eq!(post(&held, "a", &long).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn body_that_does_not_arrive_is_not_waited_for() {
        let request = Request::post("/jobs/a/progress")
            .body(Body::from_stream(stream::pending::<Result<Bytes, Infallible>>()))
            .unwrap();
        let app = routes_with([], Duration::from_millis(1));
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    }
}
