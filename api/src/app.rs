//! Everything that the API answers, as one router.

use std::{future::ready, sync::Arc};

use axum::{
    Router, extract,
    http::{Method, StatusCode},
    response::Response,
};
use prometheus_client::registry::Registry;
use queue::Producer;
use telemetry::{Health, Shutdown, endpoints};

pub use crate::redis_watch::RedisWatch;
use crate::{
    config::RequestSettings,
    error::Problem,
    metrics::{Metrics, known},
    queue_metrics::QueueMetrics,
    redis_watch::RedisHealth,
    routes,
};

/// What every handler gets.
pub(crate) type State = Arc<Shared>;

pub(crate) struct Shared {
    pub(crate) producer: Producer,
    pub(crate) settings: RequestSettings,
    pub(crate) metrics: Metrics,
    pub(crate) redis: RedisHealth,
}

/// The routes of the API, with its health and metrics; and what keeps its knowledge of Redis up to date, to be run
/// beside it. `/readyz` fails until the first look at Redis went well, and again once `shutdown` was asked for.
pub fn app(
    producer: Producer,
    settings: RequestSettings,
    shutdown: &Shutdown,
    mut registry: Registry,
) -> (Router, RedisWatch) {
    let metrics = Metrics::register(&mut registry);
    let redis = RedisHealth::unknown();
    let health = redis.report(Health::new()).ready("shutdown", shutdown.check());
    let queue = QueueMetrics::default();
    registry.register_collector(Box::new(queue.clone()));
    let watch = RedisWatch {
        producer: producer.clone(),
        health: redis.clone(),
        queue,
        metrics: metrics.clone(),
    };
    let state = Arc::new(Shared {
        producer,
        settings,
        metrics,
        redis,
    });
    let router = routes::table::router()
        .merge(endpoints(health, registry).with_state(()))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(state);
    (router, watch)
}

async fn not_found(extract::State(state): extract::State<State>, method: Method) -> Response {
    let detail = "there is nothing here; GET /help lists what there is";
    refuse(&state, &method, Problem::new(StatusCode::NOT_FOUND, detail)).await
}

async fn method_not_allowed(extract::State(state): extract::State<State>, method: Method) -> Response {
    let detail = format!("{method} is not for this path; the header Allow says what is");
    refuse(
        &state,
        &method,
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail),
    )
    .await
}

async fn refuse(state: &State, method: &Method, problem: Problem) -> Response {
    state
        .metrics
        .measure(known(method), "unmatched", ready(Err(problem)))
        .await
}
