//! `GET /dead`, `POST /dead/retry`, `DELETE /dead`.

use axum::{
    Router,
    http::{Method, StatusCode},
};
use redis::Commands;
use serde_json::{Value, json};

use crate::{
    client::{Answer, JOB, assert_problem, db, get, running, send, submit},
    worker::{fail_all, take, worker},
};

async fn retry(app: &Router, query: &str, body: &str) -> Answer {
    send(app, Method::POST, &format!("/dead/retry{query}"), body.to_owned()).await
}

async fn delete(app: &Router, query: &str, body: &str) -> Answer {
    send(app, Method::DELETE, &format!("/dead{query}"), body.to_owned()).await
}

async fn listed(app: &Router) -> Vec<Value> {
    let page = get(app, "/dead").await.json();
    page["dead"].as_array().unwrap().clone()
}

#[tokio::test]
async fn dead_are_listed_newest_first_with_reason_error_and_history_page_by_page() {
    let (app, redis) = running();
    assert_eq!(
        get(&app, "/dead").await.text(),
        "{\"dead\": [], \"next\": null}\n"
    );
    let worker = worker(&redis);
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(submit(&app, JOB).await);
        fail_all(&worker).await;
    }
    let first = &listed(&app).await[0];
    assert!(first["since"].as_str().unwrap().ends_with('Z'), "{first}");
    assert_eq!(first["reason"], "failed");
    assert_eq!(first["error"], "no route to moon");
    assert_eq!(first["history"][0]["what"], "failed");
    assert_eq!(
        (&first["attempts"], &first["failures"], &first["lost"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(first["job"]["status"], "failed");
    assert_eq!(first["job"]["id"], first["id"]);

    let mut seen = Vec::new();
    let mut path = "/dead?limit=2".to_owned();
    loop {
        let page = get(&app, &path).await.json();
        let entries = page["dead"].as_array().unwrap();
        assert!(entries.len() <= 2);
        seen.extend(
            entries
                .iter()
                .map(|entry| entry["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/dead?limit=2&cursor={next}");
    }
    // Those of one millisecond stand in any order.
    seen.sort();
    ids.sort();
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn named_ones_are_retried_or_deleted_and_unknown_ones_passed_over() {
    let (app, redis) = running();
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(submit(&app, JOB).await);
    }
    let worker = worker(&redis);
    fail_all(&worker).await;
    let answer = retry(&app, "", &json!({"ids": [ids[0], "no-such-id"]}).to_string()).await;
    assert_eq!(answer.text(), "{\"retried\": 1, \"more\": false}\n");
    let answer = delete(&app, "", &json!({"ids": [ids[1], ids[0], ids[1]]}).to_string()).await;
    assert_eq!(answer.text(), "{\"deleted\": 1, \"more\": false}\n");
    assert_eq!(delete(&app, "", r#"{"ids": []}"#).await.json()["deleted"], 0);

    let left = listed(&app).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["id"], ids[2].as_str());
    assert_eq!(
        get(&app, &format!("/jobs/{}", ids[1])).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(take(&worker, 10).await[0].job.id.as_str(), ids[0]);
}

#[tokio::test]
async fn all_are_retried_or_deleted_whether_jobs_or_garbage() {
    let (app, redis) = running();
    let () = db(&redis, 2).rpush("hotqueue:queue", "(lp0\nI1\na.").unwrap();
    let worker = worker(&redis);
    for _ in 0..1_100 {
        submit(&app, JOB).await;
    }
    fail_all(&worker).await;
    let answer = retry(&app, "?all=true", "").await;
    assert_eq!(answer.json(), json!({"retried": 1_101, "more": false}));
    assert!(listed(&app).await.is_empty());

    fail_all(&worker).await;
    let answer = delete(&app, "?all=true", "{}").await;
    assert_eq!(answer.json(), json!({"deleted": 1_101, "more": false}));
    assert!(listed(&app).await.is_empty());
    assert_eq!(
        db(&redis, 3).keys::<_, Vec<String>>("*").unwrap(),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn nothing_is_done_by_accident() {
    let (app, redis) = running();
    submit(&app, JOB).await;
    fail_all(&worker(&redis)).await;
    for (query, body, field) in [
        ("", "", Some("ids")),
        ("", "{}", Some("ids")),
        ("", r#"{"id": "a"}"#, Some("ids")),
        ("", r#"{"ids": null}"#, Some("ids")),
        ("?all=false", "", Some("all")),
        ("?all=1", "", Some("all")),
        ("?all=", "", Some("all")),
        ("?all=true", r#"{"ids": []}"#, Some("all")),
        ("", "nonsense", None),
        ("", r#"{"ids": "a"}"#, None),
        ("", r#"{"ids": [1]}"#, None),
        ("", r#"["a"]"#, None),
        ("?all=true&all=true", "", None),
    ] {
        for answer in [retry(&app, query, body).await, delete(&app, query, body).await] {
            assert_problem(&answer, StatusCode::BAD_REQUEST, field);
        }
    }
    let many = json!({"ids": vec!["a"; 10_001]}).to_string();
    assert_problem(
        &delete(&app, "", &many).await,
        StatusCode::BAD_REQUEST,
        Some("ids"),
    );
    assert_eq!(listed(&app).await.len(), 1);
}

/// So many jobs that died in one millisecond; each third was completed by a program that is not ours since.
fn died_at_once(redis: &queue::test_server::RedisServer, jobs: usize) {
    let script = "for i = 1, ARGV[1] do
            local id = string.format('job-%05d', i)
            redis.call('SELECT', 3)
            redis.call('HSET', 'job.' .. id, 'id', id, 'status', i % 3 == 0 and 'complete' or 'failed')
            redis.call('SELECT', 2)
            redis.call('ZADD', KEYS[1], 1764000000001, id)
        end";
    let mut db = db(redis, 2);
    let () = redis::cmd("EVAL")
        .arg(script)
        .arg(1)
        .arg("workerpool:queue:dead")
        .arg(jobs)
        .query(&mut db)
        .unwrap();
}

#[tokio::test]
async fn all_of_one_millisecond_are_retried_though_some_stay() {
    let (app, redis) = running();
    died_at_once(&redis, 3_000);
    let answer = retry(&app, "?all=true", "").await;
    assert_eq!(answer.json(), json!({"retried": 2_000, "more": false}));
    let waiting: u64 = db(&redis, 2).llen("hotqueue:queue").unwrap();
    assert_eq!(waiting, 2_000);
    let left: u64 = db(&redis, 2).zcard("workerpool:queue:dead").unwrap();
    assert_eq!(left, 1_000);
}

#[tokio::test]
async fn more_than_one_request_does_are_left_to_the_next() {
    let (app, redis) = running();
    died_at_once(&redis, 18_000);
    let answer = retry(&app, "?all=true", "").await.json();
    assert_eq!(answer["more"], true, "{answer}");
    let first = answer["retried"].as_u64().unwrap();
    assert!((10_000..12_000).contains(&first), "{first}");
    let answer = retry(&app, "?all=true", "").await.json();
    assert_eq!(answer, json!({"retried": 12_000 - first, "more": false}));
}

#[tokio::test]
async fn cursor_of_an_earlier_version_is_refused_in_words() {
    let (app, _redis) = running();
    for path in ["/dead?cursor=17640000000010003", "/jobs?cursor=1764000000000001"] {
        let answer = get(&app, path).await;
        assert_problem(&answer, StatusCode::BAD_REQUEST, Some("cursor"));
        assert!(
            answer.text().contains("begin with the first page"),
            "{}",
            answer.text()
        );
    }
}
