//! `DELETE /jobs/{id}`, `POST /jobs/{id}/retry`, `GET /jobs/{id}/details`.

use axum::http::{Method, StatusCode};
use queue::{Ending, Finish};
use redis::Commands;
use serde_json::json;

use crate::{
    client::{JOB, assert_problem, db, get, running, send, submit},
    worker::{end, fail_all, postpone_one, take, worker},
};

#[tokio::test]
async fn waiting_job_is_cancelled_at_once_and_again_without_harm() {
    let (app, redis) = running();
    let id = submit(&app, JOB).await;
    for _ in 0..2 {
        let answer = send(&app, Method::DELETE, &format!("/jobs/{id}"), "").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(
            answer.text(),
            format!("{{\"status\": \"cancelled\", \"id\": \"{id}\"}}\n")
        );
    }
    let answer = get(&app, &format!("/jobs/{id}")).await;
    assert_eq!(
        answer.text(),
        format!("{{\"status\": \"cancelled\", \"start\": \"go!\", \"end\": \"stop!\", \"id\": \"{id}\"}}\n")
    );
    assert!(take(&worker(&redis), 1).await.is_empty());
}

#[tokio::test]
async fn running_job_is_asked_of_its_worker() {
    let (app, redis) = running();
    let id = submit(&app, JOB).await;
    let worker = worker(&redis);
    let job = take(&worker, 1).await.remove(0);
    let answer = send(&app, Method::DELETE, &format!("/jobs/{id}"), "").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.json(), json!({"status": "in progress", "id": id}));
    let details = get(&app, &format!("/jobs/{id}/details")).await.json();
    assert_eq!(details["cancel_requested"], true);

    let renewal = worker
        .renew(&[(job.job.id.clone(), job.token.clone())])
        .await
        .unwrap();
    assert_eq!(renewal.cancelled, std::slice::from_ref(&job.job.id));
    assert_eq!(end(&worker, &job, Ending::Cancelled).await, Finish::Cancelled);
    let answer = get(&app, &format!("/jobs/{id}")).await;
    assert_eq!(answer.json()["status"], "cancelled");
}

#[tokio::test]
async fn job_that_has_ended_or_is_not_ours_to_stop_is_409_and_no_job_404() {
    let (app, redis) = running();
    let id = submit(&app, JOB).await;
    let worker = worker(&redis);
    let job = take(&worker, 1).await.remove(0);
    assert_eq!(
        end(&worker, &job, Ending::Complete { result: None }).await,
        Finish::Finished
    );
    let fields = [
        ("id", "foreign"),
        ("status", "in progress"),
        ("start", "a"),
        ("end", "b"),
    ];
    let () = db(&redis, 3).hset_multiple("job.foreign", &fields).unwrap();
    for id in [id.as_str(), "foreign"] {
        let answer = send(&app, Method::DELETE, &format!("/jobs/{id}"), "").await;
        assert_problem(&answer, StatusCode::CONFLICT, None);
        let answer = send(&app, Method::POST, &format!("/jobs/{id}/retry"), "").await;
        assert_problem(&answer, StatusCode::CONFLICT, None);
    }
    for id in ["no-such-id", "%00", "%ff"] {
        for (method, path) in [
            (Method::DELETE, format!("/jobs/{id}")),
            (Method::POST, format!("/jobs/{id}/retry")),
            (Method::GET, format!("/jobs/{id}/details")),
        ] {
            assert_problem(&send(&app, method, &path, "").await, StatusCode::NOT_FOUND, None);
        }
    }
}

#[tokio::test]
async fn dead_job_is_retried_once_however_often_that_is_asked() {
    let (app, redis) = running();
    let id = submit(&app, JOB).await;
    let worker = worker(&redis);
    fail_all(&worker).await;
    let path = format!("/jobs/{id}/retry");
    let answer = send(&app, Method::POST, &path, "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.text(),
        format!("{{\"status\": \"submitted\", \"id\": \"{id}\"}}\n")
    );
    assert_problem(
        &send(&app, Method::POST, &path, "").await,
        StatusCode::CONFLICT,
        None,
    );
    assert_eq!(take(&worker, 10).await.len(), 1);
}

#[tokio::test]
async fn details_tell_what_happened_to_a_job() {
    let (app, redis) = running();
    let id = submit(&app, JOB).await;
    let path = format!("/jobs/{id}/details");
    let untouched = get(&app, &path).await;
    assert_eq!(
        untouched.text(),
        format!(
            "{{\"status\": \"submitted\", \"start\": \"go!\", \"end\": \"stop!\", \"id\": \"{id}\", \"attempts\": 0, \
             \"failures\": 0, \"lost\": 0, \"interruptions\": 0, \"due\": null, \"finished\": null, \
             \"reason\": null, \"error\": null, \"cancel_requested\": false, \"max_attempts\": null, \
             \"timeout_seconds\": null, \"result\": null, \"history\": []}}\n"
        )
    );

    let worker = worker(&redis);
    fail_all(&worker).await;
    let dead = get(&app, &path).await.json();
    assert_eq!(dead["status"], "failed");
    assert_eq!((&dead["attempts"], &dead["failures"]), (&json!(1), &json!(1)));
    assert_eq!(dead["error"], "no route to moon");
    assert!(dead["finished"].as_str().unwrap().ends_with('Z'), "{dead}");
    assert_eq!(dead["history"][0]["error"], "no route to moon");

    let later = submit(&app, JOB).await;
    postpone_one(&worker).await;
    let later = get(&app, &format!("/jobs/{later}/details")).await.json();
    assert!(later["due"].as_str().unwrap().ends_with('Z'), "{later}");
}
