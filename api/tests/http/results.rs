//! `GET /jobs/{id}/result`, its other names, and `GET /download/{id}`.

use std::time::Duration;

use axum::{
    Router,
    http::{Method, Request, StatusCode},
};
use queue::{Ending, Finish, JobResult, NewJob, Producer, test_server::RedisServer};
use redis::Commands;
use serde_json::json;
use telemetry::Shutdown;

use crate::{
    client::{Answer, JOB, SETTINGS, ask, assert_problem, db, get, queue, running, send, submit},
    worker::{end, fail_all, take, worker},
};

/// One black pixel.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3a\x7e\x9b\x55\
    \0\0\0\x0aIDATx\x9c\x63\x60\0\0\0\x02\0\x01\x48\xaf\xa4\x71\0\0\0\0IEND\xaeB`\x82";

/// The id of a job that gave this.
async fn completed(app: &Router, redis: &RedisServer, result: Option<JobResult>) -> String {
    let id = submit(app, JOB).await;
    let worker = worker(redis);
    let job = take(&worker, 1).await.remove(0);
    assert_eq!(
        end(&worker, &job, Ending::Complete { result }).await,
        Finish::Finished
    );
    id
}

async fn given(app: &Router, redis: &RedisServer, content_type: &str, body: &[u8]) -> Answer {
    let result = JobResult::new(content_type, body).unwrap();
    let id = completed(app, redis, Some(result)).await;
    get(app, &format!("/jobs/{id}/result")).await
}

#[tokio::test]
async fn png_stays_a_png_by_every_name_of_the_route() {
    let (app, redis) = running();
    let id = completed(&app, &redis, Some(JobResult::new("image/png", PNG).unwrap())).await;
    for (path, how) in [
        (format!("/jobs/{id}/result"), "inline"),
        (format!("/jobs/{id}/results"), "inline"),
        (format!("/results/{id}"), "inline"),
        (format!("/download/{id}"), "attachment"),
    ] {
        let answer = get(&app, &path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.body, PNG, "{path}");
        let file = format!("{how}; filename=\"{id}.png\"");
        for (name, value) in [
            ("content-type", "image/png"),
            ("content-length", &PNG.len().to_string()),
            ("content-disposition", &file),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        let head = send(&app, Method::HEAD, &path, "").await;
        assert!(head.body.is_empty());
        assert_eq!(head.headers, answer.headers, "{path}");
    }
}

#[tokio::test]
async fn every_byte_and_every_length_comes_back_as_it_was_given() {
    let (app, redis) = running();
    let all: Vec<u8> = (0..=u8::MAX).cycle().take(JobResult::MAX_BODY).collect();
    for length in [0, 1, 256, JobResult::MAX_BODY] {
        let answer = given(&app, &redis, "application/octet-stream", &all[..length]).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.body == all[..length], "of {length}");
        assert_eq!(answer.header("content-length"), Some(length.to_string().as_str()));
    }
}

#[tokio::test]
async fn what_could_run_in_a_browser_is_saved_and_not_shown() {
    let (app, redis) = running();
    for (content_type, how) in [
        ("text/html", "attachment"),
        ("TEXT/HTML; charset=utf-8", "attachment"),
        ("image/svg+xml", "attachment"),
        ("application/xhtml+xml", "attachment"),
        ("text/javascript", "attachment"),
        ("application/pdf", "attachment"),
        ("nonsense", "attachment"),
        ("text/plain; charset=utf-8", "inline"),
        ("application/json", "inline"),
    ] {
        let answer = given(&app, &redis, content_type, b"<script>alert(1)</script>").await;
        assert_eq!(answer.header("content-type"), Some(content_type));
        let disposition = answer.header("content-disposition").unwrap();
        assert!(disposition.starts_with(how), "{content_type}: {disposition}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("sandbox"),
            "{policy}"
        );
    }
}

#[tokio::test]
async fn result_that_the_client_has_already_is_not_sent_again() {
    let (app, redis) = running();
    let id = completed(&app, &redis, Some(JobResult::new("image/png", PNG).unwrap())).await;
    let path = format!("/results/{id}");
    let tag = get(&app, &path).await.header("etag").unwrap().to_owned();
    let known = |tag: &str| {
        Request::get(&path)
            .header("if-none-match", tag)
            .body("".into())
            .unwrap()
    };
    let answer = ask(&app, known(&tag)).await;
    assert_eq!(answer.status, StatusCode::NOT_MODIFIED);
    assert_eq!(answer.header("etag"), Some(tag.as_str()));
    assert!(answer.body.is_empty());
    assert_eq!(ask(&app, known("\"other\"")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn complete_without_a_result_is_204_and_no_job_404() {
    let (app, redis) = running();
    let id = completed(&app, &redis, None).await;
    for (id, status) in [
        (id.as_str(), StatusCode::NO_CONTENT),
        ("no-such-id", StatusCode::NOT_FOUND),
        ("%00", StatusCode::NOT_FOUND),
    ] {
        for path in [format!("/jobs/{id}/result"), format!("/download/{id}")] {
            let answer = get(&app, &path).await;
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(answer.body.is_empty(), status == StatusCode::NO_CONTENT);
        }
    }
}

#[tokio::test]
async fn job_that_another_program_ended_in_its_own_words_has_no_result() {
    let redis = RedisServer::start().unwrap();
    let mut knowing = queue();
    knowing.final_statuses = vec!["finished".parse().unwrap()];
    let producer = Producer::new(&redis.server(), knowing).unwrap();
    let registry = telemetry::registry("test", "0");
    let (app, _watch) = api::app::app(producer, SETTINGS, &Shutdown::default(), registry);
    let id = submit(&app, JOB).await;
    for (word, retry_after) in [("finished", None), ("working", Some("1"))] {
        let hash = format!("job.{id}");
        let () = db(&redis, 3).hset(hash, "status", word).unwrap();
        for path in [format!("/jobs/{id}/result"), format!("/results/{id}")] {
            let answer = get(&app, &path).await;
            assert_problem(&answer, StatusCode::CONFLICT, None);
            assert_eq!(answer.json()["job_status"], word);
            assert_eq!(answer.header("retry-after"), retry_after, "{word}");
        }
    }
    // Once the sweep has found that it stays.
    let () = db(&redis, 2)
        .zadd("workerpool:queue:finished", &id, 1_764_000_000_001_u64)
        .unwrap();
    let answer = get(&app, &format!("/results/{id}")).await;
    assert_problem(&answer, StatusCode::CONFLICT, None);
    assert_eq!(answer.header("retry-after"), None);
    assert!(
        answer
            .text()
            .contains("a program that is not workerpool ended it"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn not_finished_yet_is_told_apart_from_never() {
    let (app, redis) = running();
    let worker = worker(&redis);
    let expect = async |id: &str, job_status: &str, retry_after: Option<&str>| {
        let answer = get(&app, &format!("/jobs/{id}/result")).await;
        assert_problem(&answer, StatusCode::CONFLICT, None);
        assert_eq!(answer.json()["job_status"], job_status);
        assert_eq!(answer.header("retry-after"), retry_after, "{job_status}");
    };
    let id = submit(&app, JOB).await;
    expect(&id, "submitted", Some("1")).await;
    take(&worker, 1).await;
    expect(&id, "in progress", Some("1")).await;
    let id = submit(&app, JOB).await;
    send(&app, Method::DELETE, &format!("/jobs/{id}"), "").await;
    expect(&id, "cancelled", None).await;
    let id = submit(&app, JOB).await;
    fail_all(&worker).await;
    expect(&id, "failed", None).await;
}

#[tokio::test]
async fn details_tell_the_terms_that_a_job_came_with() {
    let (app, redis) = running();
    let mut job = NewJob::new("a", "b");
    job.options.max_attempts = Some(7);
    job.options.timeout = Some(Duration::from_millis(1_500));
    let producer = Producer::new(&redis.server(), queue()).unwrap();
    let id = producer.submit(job).await.unwrap().id;
    let details = get(&app, &format!("/jobs/{id}/details")).await.json();
    assert_eq!(details["max_attempts"], 7);
    assert_eq!(details["timeout_seconds"], 1.5);
}

#[tokio::test]
async fn details_tell_of_a_result_without_sending_it() {
    let (app, redis) = running();
    let id = completed(&app, &redis, Some(JobResult::new("image/png", PNG).unwrap())).await;
    let details = get(&app, &format!("/jobs/{id}/details")).await.json();
    assert_eq!(
        details["result"],
        json!({"content_type": "image/png", "size": PNG.len()})
    );
}
