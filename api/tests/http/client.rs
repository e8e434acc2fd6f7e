//! The API without a socket, and one request to it.

use std::time::{Duration, Instant};

use api::{
    app::{RedisWatch, app},
    config::RequestSettings,
};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode},
};
use queue::{Producer, Queue, Server, test_server::RedisServer};
use telemetry::Shutdown;
use tokio::time::sleep;
use tower::ServiceExt;

/// For what must happen on a busy machine too.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) const JOB: &str = r#"{"start": "go!", "end": "stop!"}"#;

pub(crate) const SETTINGS: RequestSettings = RequestSettings {
    body_bytes: 131_072,
    timeout: Duration::from_secs(10),
    idempotency: Duration::from_secs(60),
    allowed_origins: Vec::new(),
};

pub(crate) fn queue() -> Queue {
    Queue::new("queue".parse().unwrap())
}

pub(crate) fn app_on(server: &Server) -> (Router, RedisWatch) {
    app_with(server, SETTINGS, &Shutdown::default())
}

pub(crate) fn app_with(
    server: &Server,
    settings: RequestSettings,
    shutdown: &Shutdown,
) -> (Router, RedisWatch) {
    let producer = Producer::new(server, queue()).unwrap();
    app(producer, settings, shutdown, telemetry::registry("test", "0"))
}

/// An app on a Redis of its own.
pub(crate) fn running() -> (Router, RedisServer) {
    let redis = RedisServer::start().unwrap();
    (app_on(&redis.server()).0, redis)
}

/// An app whose Redis is not there: nothing listens on port 1.
pub(crate) fn without_redis() -> (Router, RedisWatch) {
    app_on(&Server::new("127.0.0.1:1".parse().unwrap()))
}

/// A client's view of one database.
pub(crate) fn db(redis: &RedisServer, db: u32) -> redis::Connection {
    redis::Client::open(format!("redis://{}/{db}", redis.server().address))
        .unwrap()
        .get_connection()
        .unwrap()
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// One request, without a socket.
pub(crate) async fn ask(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(body, 1 << 24).await.unwrap().to_vec();
    Answer {
        status: head.status,
        headers: head.headers,
        body,
    }
}

pub(crate) async fn send(app: &Router, method: Method, path: &str, body: impl Into<Body>) -> Answer {
    let request = Request::builder().method(method).uri(path);
    ask(app, request.body(body.into()).unwrap()).await
}

pub(crate) async fn get(app: &Router, path: &str) -> Answer {
    send(app, Method::GET, path, Body::empty()).await
}

/// The answer to a GET, as soon as it is like that.
pub(crate) async fn get_until(app: &Router, path: &str, is_so: impl Fn(&Answer) -> bool) -> Answer {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = get(app, path).await;
        if is_so(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "still {answer:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn post(app: &Router, body: impl Into<Body>) -> Answer {
    send(app, Method::POST, "/jobs", body).await
}

/// Puts a job in; its id.
pub(crate) async fn submit(app: &Router, body: &str) -> String {
    let answer = post(app, body.to_owned()).await;
    assert_eq!(answer.status, StatusCode::OK);
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[track_caller]
pub(crate) fn assert_problem(answer: &Answer, status: StatusCode, field: Option<&str>) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["status"], status.as_u16());
    assert_eq!(problem["title"], status.canonical_reason().unwrap());
    assert_eq!(problem["type"], "about:blank");
    assert_eq!(problem.get("field").and_then(|field| field.as_str()), field);
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| !detail.is_empty())
    );
}
