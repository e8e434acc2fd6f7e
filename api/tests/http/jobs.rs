//! `GET /jobs` and `GET /jobs/{id}`.

use axum::http::StatusCode;
use redis::Commands;
use serde_json::json;

use crate::client::{JOB, assert_problem, db, get, running, submit};

#[tokio::test]
async fn job_can_be_looked_up_and_shows_its_worker_once_it_has_one() {
    let (app, redis) = running();
    let id = submit(&app, r#"{"start": "é\n", "end": 1.10}"#).await;
    let path = format!("/jobs/{id}");
    let shown = |status: &str, rest: &str| {
        format!(
            "{{\"status\": \"{status}\", \"start\": \"\\u00e9\\n\", \"end\": \"1.1\", \"id\": \"{id}\"{rest}}}\n"
        )
    };
    let answer = get(&app, &path).await;
    assert_eq!(
        (answer.status, answer.text()),
        (StatusCode::OK, shown("submitted", "").as_str())
    );

    let mut db = db(&redis, 3);
    let taken = [("status", "in progress"), ("worker", "10.0.0.7")];
    let () = db.hset_multiple(format!("job.{id}"), &taken).unwrap();
    let answer = get(&app, &path).await;
    assert_eq!(answer.text(), shown("in progress", ", \"worker\": \"10.0.0.7\""));
}

#[tokio::test]
async fn job_of_a_foreign_producer_can_be_looked_up_too() {
    let (app, redis) = running();
    let mut db = db(&redis, 3);
    let fields = [
        ("id", "foreign"),
        ("status", "submitted"),
        ("start", "a"),
        ("end", "b"),
    ];
    let () = db.hset_multiple("job.foreign", &fields).unwrap();
    let answer = get(&app, "/jobs/foreign").await;
    assert_eq!(
        answer.json(),
        json!({"status": "submitted", "start": "a", "end": "b", "id": "foreign"})
    );
}

#[tokio::test]
async fn listing_is_newest_first_and_paged_without_gap_or_repeat() {
    let (app, _redis) = running();
    let answer = get(&app, "/jobs").await;
    assert_eq!(answer.text(), "{\"jobs\": [], \"next\": null}\n");

    let mut submitted = Vec::new();
    for _ in 0..7 {
        submitted.push(submit(&app, JOB).await);
    }
    submitted.reverse();

    let mut listed = Vec::new();
    let mut path = "/jobs?limit=3".to_owned();
    loop {
        let page = get(&app, &path).await.json();
        let jobs = page["jobs"].as_array().unwrap();
        assert!(jobs.len() <= 3);
        listed.extend(jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()));
        // Comes while somebody pages through the list, and belongs to none of the later pages.
        submit(&app, JOB).await;
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/jobs?limit=3&cursor={next}");
    }
    assert_eq!(listed, submitted);
}

#[tokio::test]
async fn parameter_of_the_listing_at_fault_is_400_and_named() {
    let (app, _redis) = running();
    for limit in ["0", "1001", "-1", "many", ""] {
        let answer = get(&app, &format!("/jobs?limit={limit}")).await;
        assert_problem(&answer, StatusCode::BAD_REQUEST, Some("limit"));
    }
    assert_problem(
        &get(&app, "/jobs?cursor=nonsense").await,
        StatusCode::BAD_REQUEST,
        Some("cursor"),
    );
    assert_problem(
        &get(&app, "/jobs?limit=1&limit=2").await,
        StatusCode::BAD_REQUEST,
        None,
    );
    assert_eq!(
        get(&app, "/jobs?limit=1000&unknown=1").await.status,
        StatusCode::OK
    );
}
