//! Every route: the router and `GET /help` are made of this one table.

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, header},
    response::Response,
    routing::{MethodRouter, delete, get, post},
};

use super::{cancel, dead, dead_many, details, job, list, queue, result, retry, submit};
use crate::{
    app,
    content::Disposition::{Save, Show},
};

/// One thing that can be asked.
struct Route {
    method: &'static str,
    path: &'static str,
    /// Completes the sentence "This …", for `GET /help`.
    does: &'static str,
    handler: MethodRouter<app::State>,
}

fn route(
    method: &'static str,
    path: &'static str,
    does: &'static str,
    handler: MethodRouter<app::State>,
) -> Route {
    Route {
        method,
        path,
        does,
        handler,
    }
}

fn table() -> Vec<Route> {
    vec![
        route("POST", "/jobs", "puts a job into the queue", post(submit::submit)),
        route("GET", "/jobs", "lists jobs, newest first", get(list::list)),
        route("GET", "/jobs/{id}", "shows a job as it is now", get(job::job)),
        route(
            "GET",
            "/jobs/{id}/details",
            "shows its attempts, errors and history too",
            get(details::details),
        ),
        route(
            "GET",
            "/jobs/{id}/result",
            "answers what it gave",
            result::at("/jobs/{id}/result", Show),
        ),
        route(
            "GET",
            "/jobs/{id}/results",
            "is the same",
            result::at("/jobs/{id}/results", Show),
        ),
        route(
            "GET",
            "/results/{id}",
            "is the same too",
            result::at("/results/{id}", Show),
        ),
        route(
            "GET",
            "/download/{id}",
            "answers it as a file to save",
            result::at("/download/{id}", Save),
        ),
        route("DELETE", "/jobs/{id}", "cancels a job", delete(cancel::cancel)),
        route(
            "POST",
            "/jobs/{id}/retry",
            "gives a dead job another try",
            post(retry::retry),
        ),
        route(
            "GET",
            "/dead",
            "lists what was given up, newest first",
            get(dead::list),
        ),
        route(
            "POST",
            "/dead/retry",
            "retries many, or all, of the dead",
            post(dead_many::retry),
        ),
        route(
            "DELETE",
            "/dead",
            "deletes many, or all, of the dead",
            delete(dead_many::delete),
        ),
        route(
            "GET",
            "/queue",
            "shows how long the queue is, and who works on it",
            get(queue::queue),
        ),
        route("GET", "/help", "lists what can be asked", get(help)),
    ]
}

/// What `telemetry` answers beside the table.
const PROBES: [(&str, &str); 3] = [
    ("/healthz", "says whether the process lives"),
    ("/readyz", "says whether it can be used, and what is at risk"),
    ("/metrics", "shows its metrics, and the queue's"),
];

/// The routes of the table.
pub(crate) fn router() -> Router<app::State> {
    table().into_iter().fold(Router::new(), |router, route| {
        router.route(route.path, route.handler)
    })
}

async fn help(State(state): State<app::State>) -> Response {
    let answer = async {
        let mut response = Response::new(listing().into());
        let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        Ok(response)
    };
    state.metrics.measure("GET", "/help", answer).await
}

/// A line for each: method, path, and what it does.
fn listing() -> String {
    let routes = table()
        .into_iter()
        .map(|route| (route.method, route.path, route.does));
    let probes = PROBES.into_iter().map(|(path, does)| ("GET", path, does));
    routes
        .chain(probes)
        .map(|(method, path, does)| format!("{method:<6}  {path:<18}  {does}\n"))
        .collect()
}
