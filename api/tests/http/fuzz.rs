//! Requests that nobody would write: no panic, no 5xx, and a refusal in words. Payloads of any kind, which come back
//! to the byte.
//!
//! A bounded number here; `PROPTEST_CASES` sets another.

mod requests;

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode, header::CONTENT_TYPE},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseResult, TestRunner},
};
use serde_json::value::RawValue;
use telemetry::Limits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use self::requests::{json, request, wire};
use crate::client::{DEADLINE, JOB, ask, get, post, running, submit};

fn run<T>(usual: u32, cases: impl Strategy<Value = T>, check: impl Fn(T) -> TestCaseResult)
where
    T: std::fmt::Debug,
{
    let cases_to_run = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok());
    let config = Config {
        cases: cases_to_run.unwrap_or(usual),
        // What is thrown away as no URI and no header grows with the cases.
        max_local_rejects: u32::MAX,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config).run(&cases, check).unwrap();
}

#[test]
fn any_request_is_answered_in_words_and_without_5xx() {
    let runtime = Runtime::new().unwrap();
    let (app, _redis) = runtime.block_on(async { running() });
    let help = runtime.block_on(get(&app, "/help"));
    let paths = help
        .text()
        .lines()
        .map(|line| line.split_whitespace().nth(1).unwrap().to_owned())
        // 503 is its word for a Redis that nobody has looked at.
        .filter(|path| path != "/readyz")
        .collect();
    run(200, request(paths), |(method, uri, headers, body)| {
        let mut request = Request::builder().method(method.clone()).uri(uri);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = runtime.block_on(ask(&app, request.body(Body::from(body)).unwrap()));
        prop_assert!(answer.status.as_u16() < 500, "{:?}", answer);
        let content_type = answer.headers.get(CONTENT_TYPE).cloned();
        if answer.status.is_client_error() {
            prop_assert_eq!(content_type.unwrap(), "application/problem+json");
        }
        if method != Method::HEAD && (answer.body.starts_with(b"{") || answer.status.is_client_error()) {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok());
        }
        Ok(())
    });
}

#[test]
fn any_payload_comes_back_as_it_was_sent_and_any_value_is_one() {
    #[derive(serde::Deserialize)]
    struct Shown<'a> {
        #[serde(borrow)]
        payload: Option<&'a RawValue>,
    }
    let runtime = Runtime::new().unwrap();
    let (app, _redis) = runtime.block_on(async { running() });
    run(100, json(), |payload| {
        let body = format!(r#"{{"start": 1, "end": 2, "payload": {payload}}}"#);
        let shown = runtime.block_on(async {
            let answer = post(&app, body).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            let id = answer.json()["id"].as_str().unwrap().to_owned();
            get(&app, &format!("/jobs/{id}")).await
        });
        let back: Shown<'_> = serde_json::from_slice(&shown.body).unwrap();
        let sent = (payload != "null").then_some(payload.as_str());
        prop_assert_eq!(back.payload.map(RawValue::get), sent);
        Ok(())
    });
}

#[test]
fn any_bytes_on_the_socket_leave_the_server_standing() {
    let runtime = Runtime::new().unwrap();
    let (app, _redis) = runtime.block_on(async { running() });
    let address = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, app.clone()));
        address
    });
    run(150, wire(), |bytes| {
        let answer = runtime.block_on(async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut answer = Vec::new();
            // A server that has read enough hangs up, and either call may be cut off by that.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            let read = timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
            assert!(read.is_ok(), "no end to the answer: {answer:?}");
            answer
        });
        if let Some(code) = answer.strip_prefix(b"HTTP/1.") {
            prop_assert!(code[2] < b'5', "{}", String::from_utf8_lossy(&answer));
        } else {
            prop_assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
        }
        Ok(())
    });
    runtime.block_on(submit(&app, JOB));
}

async fn serve(listener: TcpListener, app: Router) {
    telemetry::serve(listener, app, &Limits::default(), CancellationToken::new()).await;
}
