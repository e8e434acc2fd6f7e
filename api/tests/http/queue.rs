//! `GET /queue`, and the same as metrics.

use axum::http::StatusCode;
use queue::test_server::RedisServer;
use serde_json::json;

use crate::{
    client::{Answer, JOB, app_on, get, get_until, running, submit},
    worker::{fail_all, postpone_one, take, worker},
};

#[tokio::test]
async fn queue_shows_what_waits_runs_is_delayed_and_dead_and_who_holds_what() {
    let (app, redis) = running();
    let empty = get(&app, "/queue").await;
    assert_eq!(empty.status, StatusCode::OK);
    assert!(
        empty.text().starts_with(
            "{\"waiting\": 0, \"running\": 0, \"delayed\": 0, \"dead\": 0, \"oldest_seconds\": null, \"next_due\": null, "
        ),
        "{}",
        empty.text()
    );

    let worker = worker(&redis);
    worker.beat().await.unwrap();
    submit(&app, JOB).await;
    fail_all(&worker).await;
    submit(&app, JOB).await;
    postpone_one(&worker).await;
    let held = submit(&app, JOB).await;
    assert_eq!(take(&worker, 1).await.len(), 1);
    submit(&app, JOB).await;
    submit(&app, JOB).await;

    let queue = get(&app, "/queue").await.json();
    let lengths = ["waiting", "running", "delayed", "dead"].map(|name| queue[name].as_u64().unwrap());
    assert_eq!(lengths, [2, 1, 1, 1], "{queue}");
    assert!(
        (0.0..60.0).contains(&queue["oldest_seconds"].as_f64().unwrap()),
        "{queue}"
    );
    assert!(queue["next_due"].as_str().unwrap().ends_with('Z'), "{queue}");
    assert_eq!(queue["counts"]["claimed"], 3);
    assert_eq!(queue["workers_alive"], 1);
    let shown = &queue["workers"][0];
    assert_eq!(
        (&shown["ip"], &shown["pod"]),
        (&json!("10.0.0.7"), &json!("hw7-5c9d"))
    );
    assert_eq!((&shown["held"], &shown["jobs"]), (&json!(1), &json!([held])));
}

#[tokio::test]
async fn metrics_show_the_queue_while_it_can_be_read_and_nothing_old_after_that() {
    let mut redis = RedisServer::start().unwrap();
    let (app, watch) = app_on(&redis.server());
    submit(&app, JOB).await;
    assert!(
        !get(&app, "/metrics")
            .await
            .text()
            .contains("workerpool_queue_jobs{")
    );
    let watch = tokio::spawn(watch.run());
    let shows = |metrics: &Answer| {
        metrics
            .text()
            .contains("workerpool_queue_jobs{state=\"waiting\"} 1\n")
    };
    let metrics = get_until(&app, "/metrics", shows).await;
    for line in [
        "workerpool_queue_jobs{state=\"dead\"} 0\n",
        "workerpool_queue_events_total{event=\"garbage\"} 0\n",
        "workerpool_queue_workers 0\n",
        "workerpool_queue_oldest_job_seconds ",
    ] {
        assert!(
            metrics.text().contains(line),
            "{line} is not in\n{}",
            metrics.text()
        );
    }
    redis.kill();
    let metrics = get_until(&app, "/metrics", |metrics| !shows(metrics)).await;
    assert!(
        !metrics.text().contains("workerpool_queue_"),
        "{}",
        metrics.text()
    );
    watch.abort();
}
