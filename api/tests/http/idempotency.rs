//! `POST /jobs` with an `Idempotency-Key`.

use axum::{
    Router,
    http::{HeaderValue, Request, StatusCode},
};
use queue::test_server::RedisServer;
use redis::Commands;

use crate::client::{Answer, JOB, ask, assert_problem, db, get, post, running};

async fn post_as(app: &Router, key: &[u8], body: &str) -> Answer {
    let key = HeaderValue::from_bytes(key).unwrap();
    let request = Request::post("/jobs").header("Idempotency-Key", key);
    ask(app, request.body(body.to_owned().into()).unwrap()).await
}

fn waiting(redis: &RedisServer) -> usize {
    db(redis, 2).llen("hotqueue:queue").unwrap()
}

#[tokio::test]
async fn same_key_and_job_are_answered_alike_to_the_byte_and_make_one_job() {
    let (app, redis) = running();
    let first = post_as(&app, b"\"a key\"", JOB).await;
    assert_eq!(first.status, StatusCode::OK);
    // Neither whitespace, nor the members' order, nor an ignored one makes it another job.
    let other_words = r#"{"x": [1], "end":"stop!","start":"g\u006f!"}"#;
    for body in [JOB, other_words] {
        let again = post_as(&app, b"\"a key\"", body).await;
        assert_eq!((again.status, again.text()), (first.status, first.text()));
        assert_eq!(again.headers, first.headers);
    }
    assert_eq!(waiting(&redis), 1);
    let metrics = get(&app, "/metrics").await;
    assert!(metrics.text().contains("workerpool_jobs_submitted_total 1\n"));
}

#[tokio::test]
async fn same_key_for_another_job_is_422_and_queues_nothing() {
    let (app, redis) = running();
    post_as(&app, b"key", r#"{"start": 1, "end": 2}"#).await;
    // Stored alike, but its answer would be another.
    for body in [r#"{"start": "1", "end": 2}"#, r#"{"start": 1, "end": 3}"#] {
        let refused = post_as(&app, b"key", body).await;
        assert_problem(
            &refused,
            StatusCode::UNPROCESSABLE_ENTITY,
            Some("Idempotency-Key"),
        );
    }
    post_as(&app, b"other", r#"{"start": 1, "end": 2, "payload": [3]}"#).await;
    for payload in ["[4]", "[3 ]", "null"] {
        let body = format!(r#"{{"start": 1, "end": 2, "payload": {payload}}}"#);
        let refused = post_as(&app, b"other", &body).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{payload}");
    }
    assert_eq!(waiting(&redis), 2);
    let metrics = get(&app, "/metrics").await;
    assert!(
        !metrics.text().contains("workerpool_api_redis_errors_total{"),
        "no trouble of Redis: {}",
        metrics.text()
    );
}

#[tokio::test]
async fn other_keys_and_none_make_other_jobs() {
    let (app, redis) = running();
    post_as(&app, b"one", JOB).await;
    post_as(&app, b"two", JOB).await;
    post(&app, JOB).await;
    post(&app, JOB).await;
    assert_eq!(waiting(&redis), 4);
}

#[tokio::test]
async fn key_is_kept_for_as_long_as_the_setting_says() {
    let (app, redis) = running();
    post_as(&app, b"key", JOB).await;
    let left: i64 = db(&redis, 2).pttl("workerpool:queue:idempotency:key").unwrap();
    assert!((1..=60_000).contains(&left), "{left} ms");
}

#[tokio::test]
async fn malformed_or_overlong_key_is_400_and_queues_nothing() {
    let (app, redis) = running();
    for key in [b"".as_slice(), b"\"", b"a b", b"a,b", b"\xff", &[b'x'; 256]] {
        let refused = post_as(&app, key, JOB).await;
        assert_problem(&refused, StatusCode::BAD_REQUEST, Some("Idempotency-Key"));
    }
    assert_eq!(post_as(&app, &[b'x'; 255], JOB).await.status, StatusCode::OK);
    assert_eq!(waiting(&redis), 1);
}

#[tokio::test]
async fn many_at_once_with_one_key_get_one_job() {
    let (app, redis) = running();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { post_as(&app, b"key", JOB).await.body })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    assert_eq!(waiting(&redis), 1);
}
