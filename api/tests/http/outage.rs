//! Redis away, silent, full or restarted: what requests and `/readyz` say.

use std::time::{Duration, Instant};

use axum::{
    Router,
    http::{Method, StatusCode},
};
use queue::test_server::RedisServer;
use redis::Commands;
use telemetry::Shutdown;

use crate::client::{
    Answer, JOB, SETTINGS, app_on, app_with, assert_problem, db, get, get_until, post, send, submit,
    without_redis,
};

/// Every route that asks Redis.
const ROUTES: [(Method, &str, &str); 15] = [
    (Method::POST, "/jobs", JOB),
    (Method::GET, "/jobs", ""),
    (Method::GET, "/jobs/some-id", ""),
    (Method::DELETE, "/jobs/some-id", ""),
    (Method::GET, "/jobs/some-id/details", ""),
    (Method::GET, "/jobs/some-id/result", ""),
    (Method::GET, "/jobs/some-id/results", ""),
    (Method::GET, "/results/some-id", ""),
    (Method::GET, "/download/some-id", ""),
    (Method::POST, "/jobs/some-id/retry", ""),
    (Method::GET, "/dead", ""),
    (Method::DELETE, "/dead?all=true", ""),
    (Method::DELETE, "/dead", r#"{"ids": ["some-id"]}"#),
    (Method::POST, "/dead/retry?all=true", ""),
    (Method::GET, "/queue", ""),
];

/// `/readyz` as soon as it answers `status`.
async fn readiness(app: &Router, status: StatusCode) -> Answer {
    get_until(app, "/readyz", |answer| answer.status == status).await
}

async fn assert_all_unavailable_at_once(app: &Router) {
    for (method, path, body) in ROUTES {
        let begun = Instant::now();
        let answer = send(app, method, path, body).await;
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "{path} took {:?}",
            begun.elapsed()
        );
        assert_problem(&answer, StatusCode::SERVICE_UNAVAILABLE, None);
        assert_eq!(answer.header("retry-after"), Some("1"));
        let text = answer.text();
        assert!(!text.contains("127.0.0.1"), "tells an address: {text}");
    }
}

#[tokio::test]
async fn without_redis_it_answers_503_with_retry_after_at_once() {
    assert_all_unavailable_at_once(&without_redis().0).await;
}

#[tokio::test]
async fn silent_redis_costs_a_request_no_wait_once_it_is_known_and_nothing_comes_of_it_later() {
    let redis = RedisServer::start().unwrap();
    let (app, watch) = app_on(&redis.server());
    let watch = tokio::spawn(watch.run());
    readiness(&app, StatusCode::OK).await;
    redis.freeze().unwrap();
    let answer = readiness(&app, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(
        answer.text().contains("did not answer within"),
        "{}",
        answer.text()
    );
    assert_all_unavailable_at_once(&app).await;

    redis.thaw().unwrap();
    readiness(&app, StatusCode::OK).await;
    assert_eq!(
        db(&redis, 3).keys::<_, Vec<String>>("*").unwrap(),
        Vec::<String>::new()
    );
    submit(&app, JOB).await;
    watch.abort();
}

#[tokio::test]
async fn trouble_with_redis_is_counted_by_its_kind() {
    let (app, _) = without_redis();
    post(&app, JOB).await;
    let metrics = get(&app, "/metrics").await;
    let line = r#"workerpool_api_redis_errors_total{kind="unreachable"} 1"#;
    assert!(metrics.text().contains(line), "{}", metrics.text());
}

#[tokio::test]
async fn full_redis_is_503_and_holds_nothing_of_the_job() {
    let redis = RedisServer::start_with(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]).unwrap();
    let (app, _) = app_on(&redis.server());
    let answer = post(&app, JOB).await;
    assert_problem(&answer, StatusCode::SERVICE_UNAVAILABLE, None);
    assert!(
        answer.text().contains("(out_of_memory); the job was not queued"),
        "{}",
        answer.text()
    );
    for number in [2, 3] {
        assert_eq!(
            db(&redis, number).keys::<_, Vec<String>>("*").unwrap(),
            Vec::<String>::new()
        );
    }
}

#[tokio::test]
async fn readiness_follows_redis_and_liveness_does_not() {
    let mut redis = RedisServer::start().unwrap();
    let (app, watch) = app_on(&redis.server());
    let answer = get(&app, "/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        answer
            .text()
            .contains("[-]redis failed: waiting for its first answer"),
        "{}",
        answer.text()
    );
    let watch = tokio::spawn(watch.run());
    readiness(&app, StatusCode::OK).await;

    redis.kill();
    let answer = readiness(&app, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(answer.text().contains("[-]redis failed: "), "{}", answer.text());
    assert!(
        answer.text().contains("127.0.0.1"),
        "says where: {}",
        answer.text()
    );
    assert_eq!(get(&app, "/healthz").await.status, StatusCode::OK);

    redis.restart().unwrap();
    readiness(&app, StatusCode::OK).await;
    watch.abort();
}

#[tokio::test]
async fn readiness_ends_when_shutdown_is_asked_for_and_requests_are_served_on() {
    let redis = RedisServer::start().unwrap();
    let shutdown = Shutdown::default();
    let (app, watch) = app_with(&redis.server(), SETTINGS, &shutdown);
    let watch = tokio::spawn(watch.run());
    readiness(&app, StatusCode::OK).await;
    shutdown.signal("a test");
    let answer = readiness(&app, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(
        answer.text().contains("[-]shutdown failed: asked to stop"),
        "{}",
        answer.text()
    );
    submit(&app, JOB).await;
    watch.abort();
}

#[tokio::test]
async fn settings_that_endanger_jobs_are_shown_and_counted_and_fail_nothing() {
    let redis =
        RedisServer::start_with(&["--maxmemory-policy", "allkeys-lru", "--appendonly", "yes"]).unwrap();
    let (app, watch) = app_on(&redis.server());
    let watch = tokio::spawn(watch.run());
    let warns = |answer: &Answer| answer.text().contains("[!]redis: ");
    let answer = get_until(&app, "/readyz", warns).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.text().contains("allkeys-lru"), "{}", answer.text());
    let line = "workerpool_redis_risk{risk=\"evicts\"} 1\n";
    let metrics = get(&app, "/metrics").await;
    assert!(metrics.text().contains(line), "{}", metrics.text());

    // They are looked at again after an outage.
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory-policy", "noeviction"])
        .query(&mut db(&redis, 0))
        .unwrap();
    redis.freeze().unwrap();
    readiness(&app, StatusCode::SERVICE_UNAVAILABLE).await;
    redis.thaw().unwrap();
    get_until(&app, "/readyz", |answer| {
        answer.status == StatusCode::OK && !warns(answer)
    })
    .await;
    assert!(
        !get(&app, "/metrics")
            .await
            .text()
            .contains("workerpool_redis_risk{")
    );
    watch.abort();
}

#[tokio::test]
async fn redis_restarted_between_two_requests_costs_neither_of_them() {
    let mut redis = RedisServer::start().unwrap();
    let (app, _) = app_on(&redis.server());
    submit(&app, JOB).await;
    redis.restart().unwrap();
    submit(&app, JOB).await;
}
