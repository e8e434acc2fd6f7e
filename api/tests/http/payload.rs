//! `payload` in `POST /jobs` and `GET /jobs/{id}`, and the progress that stands beside it.

use axum::http::StatusCode;
use queue::{Payload, Progress};
use redis::Commands;

use crate::{
    client::{JOB, assert_problem, db, get, post, running, submit},
    worker::{take, worker},
};

fn with_payload(payload: &str) -> String {
    format!(r#"{{"start": "go!", "payload": {payload}, "end": "stop!"}}"#)
}

/// JSON of this length.
fn long(bytes: usize) -> String {
    format!("[\"{}\"]", "x".repeat(bytes - 4))
}

#[tokio::test]
async fn payload_is_shown_as_it_was_sent_after_the_originals_members_and_the_answer_is_the_originals() {
    let (app, redis) = running();
    let payload = r#"{"b" : [1.10, 1e400, "é\u00e9"],  "a": null}"#;
    let answer = post(&app, with_payload(payload)).await;
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let original =
        format!("{{\"status\": \"submitted\", \"start\": \"go!\", \"end\": \"stop!\", \"id\": \"{id}\"");
    assert_eq!(answer.text(), format!("{original}}}\n"));
    assert_eq!(
        get(&app, &format!("/jobs/{id}")).await.text(),
        format!("{original}, \"payload\": {payload}}}\n")
    );
    let job = take(&worker(&redis), 1).await.remove(0);
    assert_eq!(job.payload.as_ref().map(Payload::as_str), Some(payload));
    let mut fields: Vec<String> = db(&redis, 3).hkeys(format!("job.{id}")).unwrap();
    fields.sort();
    assert_eq!(fields, ["end", "id", "start", "status", "worker"]);
}

#[tokio::test]
async fn without_a_payload_or_with_null_a_job_is_shown_as_the_original_had_it() {
    let (app, _redis) = running();
    for body in [JOB, &with_payload("null")] {
        let answer = post(&app, body.to_owned()).await;
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(get(&app, &format!("/jobs/{id}")).await.body, answer.body);
    }
}

#[tokio::test]
async fn payload_of_64_kib_is_taken_and_one_beyond_is_413_that_names_field_and_bound() {
    let (app, redis) = running();
    let whole = long(Payload::MAX_BYTES);
    let id = submit(&app, &with_payload(&whole)).await;
    assert!(get(&app, &format!("/jobs/{id}")).await.text().contains(&whole));
    take(&worker(&redis), 1).await;

    let refused = post(&app, with_payload(&long(Payload::MAX_BYTES + 1))).await;
    assert_problem(&refused, StatusCode::PAYLOAD_TOO_LARGE, Some("payload"));
    assert!(refused.text().contains("65537") && refused.text().contains("65536"));
    assert!(take(&worker(&redis), 1).await.is_empty());
}

#[tokio::test]
async fn running_job_shows_how_far_it_is() {
    let (app, redis) = running();
    let id = submit(&app, &with_payload("7")).await;
    let worker = worker(&redis);
    let job = take(&worker, 1).await.remove(0);
    for (percent, message, shown) in [
        (Some(42), "resizing", r#"{"percent": 42, "message": "resizing"}"#),
        (None, "é\n", r#"{"percent": null, "message": "\u00e9\n"}"#),
    ] {
        let progress = Progress {
            percent,
            message: message.to_owned(),
        };
        let report = (job.job.id.clone(), job.token.clone(), progress);
        worker.report(&[report]).await.unwrap();
        let expected = format!(
            "{{\"status\": \"in progress\", \"start\": \"go!\", \"end\": \"stop!\", \"id\": \"{id}\", \
             \"worker\": \"10.0.0.7\", \"progress\": {shown}, \"payload\": 7}}\n"
        );
        assert_eq!(get(&app, &format!("/jobs/{id}")).await.text(), expected);
    }
}
