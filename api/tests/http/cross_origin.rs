//! Which web pages may write: over a socket, for a browser's headers are what this is about.

use axum::{
    Router,
    http::{Method, Request, StatusCode},
};
use queue::test_server::RedisServer;
use redis::Commands;
use telemetry::{Limits, Shutdown};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::client::{DEADLINE, JOB, SETTINGS, app_with, ask, assert_problem, db, get, running};

const ALLOWED: &str = "https://ui.example";

/// What a request for a job looks like, and whether it is taken.
const CASES: [(&str, &str, bool); 34] = [
    ("program", "HTTP/1.1|host: api:5000", true),
    ("program of old", "HTTP/1.0|", true),
    ("program with two hosts", "HTTP/1.1|host: a|host: b", true),
    (
        "page of another site",
        "HTTP/1.1|host: localhost:5000|origin: https://evil.example|sec-fetch-site: cross-site",
        false,
    ),
    (
        "page of the same site",
        "HTTP/1.1|host: api.example|origin: https://www.example|sec-fetch-site: same-site",
        false,
    ),
    (
        "own page",
        "HTTP/1.1|host: api:5000|origin: http://api:5000|sec-fetch-site: same-origin",
        true,
    ),
    (
        "own page behind a proxy that renames",
        "HTTP/1.1|host: api:5000|origin: https://jobs.example|sec-fetch-site: same-origin",
        true,
    ),
    ("person", "HTTP/1.1|host: api:5000|sec-fetch-site: none", true),
    (
        "site that is not a word of the header",
        "HTTP/1.1|host: api:5000|origin: http://api:5000|sec-fetch-site: Same-Origin",
        false,
    ),
    (
        "empty site",
        "HTTP/1.1|host: api:5000|origin: http://api:5000|sec-fetch-site:",
        false,
    ),
    (
        "two sites",
        "HTTP/1.1|host: api:5000|sec-fetch-site: same-origin|sec-fetch-site: cross-site",
        false,
    ),
    (
        "site without origin",
        "HTTP/1.1|host: api:5000|sec-fetch-site: cross-site",
        false,
    ),
    (
        "allowed page",
        "HTTP/1.1|host: api:5000|origin: https://ui.example|sec-fetch-site: cross-site",
        true,
    ),
    (
        "allowed page, old browser",
        "HTTP/1.1|host: api:5000|origin: https://ui.example",
        true,
    ),
    (
        "allowed host by another scheme",
        "HTTP/1.1|host: api:5000|origin: http://ui.example",
        false,
    ),
    (
        "allowed host at another port",
        "HTTP/1.1|host: api:5000|origin: https://ui.example:8443",
        false,
    ),
    (
        "host under the allowed one",
        "HTTP/1.1|host: api:5000|origin: https://a.ui.example",
        false,
    ),
    (
        "other host, old browser",
        "HTTP/1.1|host: localhost:5000|origin: http://evil.example:5000",
        false,
    ),
    (
        "other port, old browser",
        "HTTP/1.1|host: localhost:5000|origin: http://localhost:3000",
        false,
    ),
    (
        "own page, old browser",
        "HTTP/1.1|host: api:5000|origin: http://api:5000",
        true,
    ),
    (
        "own page at the default port",
        "HTTP/1.1|host: api.example|origin: http://api.example:80",
        true,
    ),
    (
        "own page behind TLS",
        "HTTP/1.1|host: api.example|origin: https://api.example",
        true,
    ),
    (
        "own page behind TLS, port in host",
        "HTTP/1.1|host: api.example:443|origin: https://api.example",
        true,
    ),
    (
        "TLS page of a host without TLS",
        "HTTP/1.1|host: api.example:80|origin: https://api.example",
        false,
    ),
    (
        "own page, upper case",
        "HTTP/1.1|host: API.Example|origin: http://api.example",
        true,
    ),
    (
        "own page, dot at the end",
        "HTTP/1.1|host: api.example.|origin: http://api.example.",
        true,
    ),
    (
        "dot at the end of one alone",
        "HTTP/1.1|host: api.example|origin: http://api.example.",
        false,
    ),
    (
        "own page, IPv6",
        "HTTP/1.1|host: [::1]:5000|origin: http://[::1]:5000",
        true,
    ),
    (
        "other port, IPv6",
        "HTTP/1.1|host: [::1]:5000|origin: http://[::1]:3000",
        false,
    ),
    (
        "page without origin",
        "HTTP/1.1|host: api:5000|origin: null",
        false,
    ),
    (
        "origin that is none",
        "HTTP/1.1|host: api:5000|origin: api:5000",
        false,
    ),
    (
        "two origins",
        "HTTP/1.1|host: api:5000|origin: http://api:5000|origin: http://api:5000",
        false,
    ),
    (
        "two hosts",
        "HTTP/1.1|host: api:5000|host: api:5000|origin: http://api:5000",
        false,
    ),
    ("no host", "HTTP/1.0|origin: http://api:5000", false),
];

#[tokio::test]
async fn page_of_another_origin_is_refused_and_writes_nothing() {
    let (app, redis) = allowing();
    let server = Server::start(app).await;
    for (name, request, is_taken) in CASES {
        let answer = server.post("/jobs", request).await;
        let expected = if is_taken { "200 OK" } else { "403 Forbidden" };
        assert!(answer[8..].trim_start().starts_with(expected), "{name}: {answer}");
        if !is_taken {
            assert!(answer.contains("application/problem+json"), "{name}: {answer}");
            assert!(answer.contains("WORKERPOOL_ALLOWED_ORIGINS"), "{name}: {answer}");
        }
    }
    let jobs = db(&redis, 3).keys::<_, Vec<String>>("job.*").unwrap().len();
    assert_eq!(jobs, CASES.iter().filter(|(.., is_taken)| *is_taken).count());
}

#[tokio::test]
async fn absolute_target_decides_and_forwarded_host_is_not_read() {
    let (app, _redis) = allowing();
    let server = Server::start(app).await;
    let own = "HTTP/1.1|host: evil.example|origin: http://api:5000";
    let other = "HTTP/1.1|host: evil.example|origin: http://evil.example";
    let forwarded = "HTTP/1.1|host: api:5000|x-forwarded-host: evil.example|forwarded: host=evil.example|origin: http://evil.example";
    for (target, request, expected) in [
        ("http://api:5000/jobs", own, "HTTP/1.1 200"),
        ("http://api:5000/jobs", other, "HTTP/1.1 403"),
        ("/jobs", forwarded, "HTTP/1.1 403"),
    ] {
        let answer = server.post(target, request).await;
        assert!(answer.starts_with(expected), "{target} {request}: {answer}");
    }
}

#[tokio::test]
async fn every_path_and_method_that_writes_refuses_other_origins() {
    let (app, _redis) = running();
    let help = get(&app, "/help").await;
    let routes: Vec<(Method, String)> = help
        .text()
        .lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            let method = words.next().unwrap().parse().unwrap();
            (method, words.next().unwrap().replace("{id}", "some-id"))
        })
        .collect();
    let reads = |method: &Method| *method == Method::GET;
    assert!(routes.iter().any(|(method, _)| reads(method)));
    assert!(routes.iter().filter(|(method, _)| !reads(method)).count() >= 5);
    for (method, path) in &routes {
        let answer = from_elsewhere(&app, method.clone(), path).await;
        if reads(method) {
            assert_ne!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        } else {
            assert_problem(&answer, StatusCode::FORBIDDEN, None);
            assert!(answer.text().contains("https://evil.example"), "{answer:?}");
        }
    }
    // What has no route, or not that one, is refused too.
    for method in [
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::TRACE,
    ] {
        for path in ["/nowhere", "/queue", "/healthz"] {
            let answer = from_elsewhere(&app, method.clone(), path).await;
            assert_problem(&answer, StatusCode::FORBIDDEN, None);
        }
    }
    for method in [Method::HEAD, Method::OPTIONS] {
        let answer = from_elsewhere(&app, method, "/jobs").await;
        assert_ne!(answer.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn refused_page_is_counted_under_its_route() {
    let (app, _redis) = running();
    from_elsewhere(&app, Method::DELETE, "/jobs/some-id").await;
    from_elsewhere(&app, Method::POST, "/nowhere").await;
    let metrics = get(&app, "/metrics").await;
    for labels in [
        r#"method="DELETE",route="/jobs/{id}",code="403""#,
        r#"method="POST",route="unmatched",code="403""#,
    ] {
        let line = format!("workerpool_http_request_duration_seconds_count{{{labels}}} 1");
        assert!(metrics.text().contains(&line), "{}", metrics.text());
    }
}

async fn from_elsewhere(app: &Router, method: Method, path: &str) -> crate::client::Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost:5000")
        .header("origin", "https://evil.example")
        .header("sec-fetch-site", "cross-site");
    ask(app, request.body(JOB.into()).unwrap()).await
}

fn allowing() -> (Router, RedisServer) {
    let redis = RedisServer::start().unwrap();
    let mut settings = SETTINGS;
    settings.allowed_origins = vec![ALLOWED.parse().unwrap()];
    let (app, _) = app_with(&redis.server(), settings, &Shutdown::default());
    (app, redis)
}

struct Server(std::net::SocketAddr);

impl Server {
    async fn start(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            telemetry::serve(listener, app, &Limits::default(), CancellationToken::new()).await;
        });
        Self(address)
    }

    /// The whole answer to a job, sent with this version and these headers, which `|` separates.
    async fn post(&self, target: &str, request: &str) -> String {
        let head = format!(
            "POST {target} {}",
            request.trim_end_matches('|').replace('|', "\r\n")
        );
        let length = JOB.len();
        let request = format!("{head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{JOB}");
        let mut stream = TcpStream::connect(self.0).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = timeout(DEADLINE, stream.read_to_string(&mut answer)).await;
        read.unwrap().unwrap();
        answer
    }
}
