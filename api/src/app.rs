//! Everything that the API answers, as one router.

use std::{future::ready, sync::Arc};

use axum::{
    Router, extract,
    http::{Method, StatusCode},
    middleware::from_fn_with_state,
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
    protect::protect,
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
    let routes = routes::table::router().merge(endpoints(health, registry).with_state(()));
    (protected(routes, state), watch)
}

/// These routes, answers to whatever else is asked, and protection around all of it: a layer on the whole, so that no route can
/// be without.
fn protected(routes: Router<State>, state: State) -> Router {
    routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&state), protect))
        .with_state(state)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::routing::post;
    use queue::{Queue, Server};
    use telemetry::Limits;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::Notify,
        time::timeout,
    };
    use tokio_util::sync::CancellationToken;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    /// Serves a handler that panics and one that waits for the notification, protected as the routes of the product are.
    async fn serve() -> (TcpStream, TcpStream, Arc<Notify>, Registry) {
        let mut registry = Registry::default();
        // Nothing listens on port 1; nobody asks Redis here.
        let server = Server::new("127.0.0.1:1".parse().unwrap());
        let state = Arc::new(Shared {
            producer: Producer::new(&server, Queue::new("queue".parse().unwrap())).unwrap(),
            settings: RequestSettings {
                body_bytes: 1,
                timeout: DEADLINE,
                idempotency: DEADLINE,
                allowed_origins: Vec::new(),
            },
            metrics: Metrics::register(&mut registry),
            redis: RedisHealth::unknown(),
        });
        let release = Arc::new(Notify::new());
        let released = Arc::clone(&release);
        let routes = Router::new()
            .route("/panics/{id}", post(async || -> Response { panic!("boom") }))
            .route("/waits", post(async move || released.notified().await));
        let app = protected(routes, state);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            telemetry::serve(listener, app, &Limits::default(), CancellationToken::new()).await;
        });
        let connect = || async { TcpStream::connect(address).await.unwrap() };
        (connect().await, connect().await, release, registry)
    }

    async fn ask(stream: &mut TcpStream, path: &str) {
        let request = format!("POST {path} HTTP/1.1\r\nhost: test\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
    }

    /// What is answered, as soon as it ends so.
    async fn answer(stream: &mut TcpStream, end: &str) -> String {
        let mut answer = Vec::new();
        while !answer.ends_with(end.as_bytes()) {
            let read = timeout(DEADLINE, stream.read_buf(&mut answer)).await;
            let so_far = String::from_utf8_lossy(&answer);
            assert_ne!(read.expect("an answer").unwrap(), 0, "closed: {so_far}");
        }
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn panic_is_answered_and_harms_neither_connection_nor_others() {
        let (mut panicking, mut waiting, release, registry) = serve().await;
        ask(&mut waiting, "/waits").await;
        for _ in 0..2 {
            ask(&mut panicking, "/panics/1").await;
            let answer = answer(&mut panicking, "}\n").await;
            assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
            assert!(answer.contains("application/problem+json"), "{answer}");
            assert!(!answer.contains("boom"), "{answer}");
        }
        release.notify_one();
        let answer = answer(&mut waiting, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let counted = r#"_count{method="POST",route="/panics/{id}",code="500"} 2"#;
        assert!(text.contains(counted), "{text}");
    }
}
