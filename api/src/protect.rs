//! What surrounds every route.

use std::{borrow::Cow, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{app, cross_origin, error::Problem, metrics::known};

/// Refuses what a web page of another origin may not do, and answers 500 where a handler panics. Both are counted here: the
/// handler, which counts its own answers, gave none.
pub(crate) async fn protect(State(state): State<app::State>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = known(request.method());
    let path = request.extensions().get::<MatchedPath>().cloned();
    let problem = match cross_origin::check(&request, &state.settings.allowed_origins) {
        Ok(()) => match telemetry::catch_panic("request", next.run(request)).await {
            Ok(response) => return response,
            Err(_) => panicked(),
        },
        Err(refused) => refused.into(),
    };
    let route = path.map_or(Cow::Borrowed("unmatched"), |path| path.as_str().to_owned().into());
    let response = problem.into_response();
    state.metrics.count(method, route, begun, &response);
    response
}

fn panicked() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "a fault in the API itself, of which its log says more; whether the request was carried out is not known",
    )
}
