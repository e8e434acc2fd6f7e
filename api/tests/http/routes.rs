//! Which paths and methods there are, and how requests are counted.

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};

use crate::client::{JOB, assert_problem, get, post, running, send, submit};

#[tokio::test]
async fn method_that_is_not_for_a_path_is_405_with_allow() {
    let (app, _redis) = running();
    for (method, path, allow) in [
        (Method::PUT, "/jobs", "POST,GET,HEAD"),
        (Method::DELETE, "/jobs", "POST,GET,HEAD"),
        (Method::POST, "/jobs/some-id", "GET,HEAD,DELETE"),
        (Method::POST, "/jobs/some-id/details", "GET,HEAD"),
        (Method::GET, "/jobs/some-id/retry", "POST"),
        (Method::POST, "/dead", "GET,HEAD,DELETE"),
        (Method::GET, "/dead/retry", "POST"),
        (Method::DELETE, "/queue", "GET,HEAD"),
        (Method::POST, "/healthz", "GET,HEAD"),
    ] {
        let answer = send(&app, method.clone(), path, "").await;
        assert_problem(&answer, StatusCode::METHOD_NOT_ALLOWED, None);
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
}

#[tokio::test]
async fn help_lists_every_route_that_is_answered_and_the_docs_name_the_same() {
    let (app, _redis) = running();
    let help = get(&app, "/help").await;
    assert_eq!(help.status, StatusCode::OK);
    assert_eq!(help.header("content-type"), Some("text/plain; charset=utf-8"));
    let listed = routes(help.text());
    for (method, path) in &listed {
        // A method that a path has not is 405, and a path that is not there 404 without a word of jobs.
        let answer = send(&app, method.parse().unwrap(), &path.replace("{id}", "none"), "").await;
        assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        assert!(!answer.text().contains("nothing here"), "{method} {path}");
    }
    let documented: BTreeSet<_> = include_str!("../../../docs/api.md")
        .lines()
        .skip_while(|line| !line.starts_with("| request"))
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|requests| requests.split('`').skip(1).step_by(2))
        .filter_map(|request| request.split('?').next()?.split_once(' '))
        .collect();
    assert_eq!(listed, documented);
}

/// Method and path of each line of `GET /help`.
fn routes(help: &str) -> BTreeSet<(&str, &str)> {
    help.lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            (words.next().unwrap(), words.next().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn head_is_answered_as_get_is_without_a_body() {
    let (app, _redis) = running();
    let id = submit(&app, JOB).await;
    let job = format!("/jobs/{id}");
    let details = format!("{job}/details");
    for path in ["/jobs", &job, &details, "/dead", "/healthz", "/jobs/no-such-id"] {
        let (whole, head) = (get(&app, path).await, send(&app, Method::HEAD, path, "").await);
        assert_eq!(head.status, whole.status, "{path}");
        assert_eq!(
            head.header("content-type"),
            whole.header("content-type"),
            "{path}"
        );
        assert!(head.body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn path_that_leads_nowhere_is_404() {
    let (app, _redis) = running();
    for path in [
        "/",
        "/job",
        "/jobs/",
        "/jobs/a/b",
        "/jobs/no-such-id",
        "/jobs/%ff",
        "/jobs/%00",
    ] {
        assert_problem(&get(&app, path).await, StatusCode::NOT_FOUND, None);
    }
}

#[tokio::test]
async fn every_route_is_counted_under_its_own_name() {
    let (app, _redis) = running();
    let help = get(&app, "/help").await;
    // What a probe or a scraper asks is not counted.
    let of_jobs = |(_, path): &(&str, &str)| !["/healthz", "/readyz", "/metrics"].contains(path);
    let routes: Vec<_> = routes(help.text()).into_iter().filter(of_jobs).collect();
    for (method, path) in &routes {
        send(&app, method.parse().unwrap(), &path.replace("{id}", "none"), "").await;
    }
    let metrics = get(&app, "/metrics").await;
    for (method, path) in routes {
        let counted = format!("_count{{method=\"{method}\",route=\"{path}\",");
        assert!(metrics.text().contains(&counted), "{counted}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_route_and_code_and_jobs_when_acknowledged() {
    let (app, _redis) = running();
    submit(&app, JOB).await;
    post(&app, "{}").await;
    get(&app, "/jobs/some-id").await;
    get(&app, "/nowhere").await;
    let metrics = get(&app, "/metrics").await;
    for line in [
        r#"workerpool_http_request_duration_seconds_count{method="POST",route="/jobs",code="200"} 1"#,
        r#"workerpool_http_request_duration_seconds_count{method="POST",route="/jobs",code="400"} 1"#,
        r#"workerpool_http_request_duration_seconds_count{method="GET",route="/jobs/{id}",code="404"} 1"#,
        r#"workerpool_http_request_duration_seconds_count{method="GET",route="unmatched",code="404"} 1"#,
        "workerpool_jobs_submitted_total 1",
    ] {
        assert!(
            metrics.text().contains(line),
            "{line} is not in\n{}",
            metrics.text()
        );
    }
}
