//! `POST /jobs`.

use axum::http::{Request, StatusCode};
use redis::Commands;

use crate::client::{JOB, ask, assert_problem, db, post, running};

#[tokio::test]
async fn job_is_answered_as_the_original_did() {
    let (app, _redis) = running();
    let answer = post(&app, JOB).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        answer.text(),
        format!("{{\"status\": \"submitted\", \"start\": \"go!\", \"end\": \"stop!\", \"id\": \"{id}\"}}\n")
    );
}

#[tokio::test]
async fn any_content_type_will_do() {
    let (app, _redis) = running();
    for content_type in [
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "nonsense",
    ] {
        let request = Request::post("/jobs")
            .header("content-type", content_type)
            .body(JOB.into())
            .unwrap();
        assert_eq!(ask(&app, request).await.status, StatusCode::OK, "{content_type}");
    }
}

#[tokio::test]
async fn body_at_fault_is_400_and_names_the_field() {
    let (app, redis) = running();
    for (body, field) in [
        ("", None),
        ("{", None),
        ("[]", None),
        (r#"{"end": "stop!"}"#, Some("start")),
        (r#"{"start": "go!"}"#, Some("end")),
        (r#"{"start": ["go!"], "end": 1}"#, Some("start")),
        (r#"{"start": 1, "end": null}"#, Some("end")),
        (r#"{"start": "\ud800", "end": 1}"#, Some("start")),
        (r#"{"start": 1, "end": 1e999}"#, Some("end")),
    ] {
        assert_problem(&post(&app, body).await, StatusCode::BAD_REQUEST, field);
    }
    assert_problem(
        &post(&app, b"\xff".as_slice()).await,
        StatusCode::BAD_REQUEST,
        None,
    );
    let mut db = db(&redis, 3);
    assert_eq!(db.keys::<_, Vec<String>>("*").unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn body_beyond_the_limit_is_413_and_one_at_it_is_taken() {
    let (app, _redis) = running();
    let frame = r#"{"start": "", "end": 1}"#.len();
    let body = |length: usize| format!(r#"{{"start": "{}", "end": 1}}"#, "x".repeat(length - frame));
    assert_eq!(post(&app, body(131_072)).await.status, StatusCode::OK);
    assert_problem(
        &post(&app, body(131_073)).await,
        StatusCode::PAYLOAD_TOO_LARGE,
        None,
    );
}
