//! `POST /jobs` beside the original program: the same requests to both, on one Redis, and the bytes compared.
//!
//! Masked is the id alone. Where the original answers with a stack trace, ours answers 400. Where ours refuses
//! what the original takes (docs/api.md, "Where it differs"), the tables here say so.

// A test may say what it expects; clippy takes only functions marked #[test] for one.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use api::{app::app, config::RequestSettings};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header::CONTENT_TYPE},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use queue::{
    Producer, Queue,
    test_server::{RedisServer, python},
};
use redis::Commands;
use telemetry::Shutdown;
use tower::ServiceExt;

const SETTINGS: RequestSettings = RequestSettings {
    body_bytes: 65_536,
    timeout: Duration::from_secs(10),
    idempotency: Duration::from_secs(60),
    allowed_origins: Vec::new(),
};

/// Both programs, and what both wrote to.
struct Pair {
    runtime: tokio::runtime::Runtime,
    ours: Router,
    original: Original,
    jobs: redis::Connection,
    _redis: RedisServer,
}

/// What a program answered and stored, its id masked.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    body: String,
    hash: BTreeMap<String, Vec<u8>>,
}

impl Pair {
    fn start() -> Self {
        let redis = RedisServer::start().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let ours = runtime.block_on(async {
            let producer = Producer::new(&redis.server(), Queue::new("queue".parse().unwrap())).unwrap();
            let registry = telemetry::registry("test", "0");
            app(producer, SETTINGS, &Shutdown::default(), registry).0
        });
        let address = redis.server().address;
        let original = Original::start(&address.to_string());
        let jobs = redis::Client::open(format!("redis://{address}/3"))
            .unwrap()
            .get_connection()
            .unwrap();
        Self {
            runtime,
            ours,
            original,
            jobs,
            _redis: redis,
        }
    }

    fn ours(&mut self, body: &[u8]) -> Option<Taken> {
        let request = Request::post("/jobs").body(Body::from(body.to_vec())).unwrap();
        let (head, body) = self.runtime.block_on(async {
            let (head, body) = self.ours.clone().oneshot(request).await.unwrap().into_parts();
            (head, to_bytes(body, usize::MAX).await.unwrap())
        });
        let content_type = head.headers.get(CONTENT_TYPE).unwrap();
        if head.status != StatusCode::OK {
            assert_eq!(head.status, StatusCode::BAD_REQUEST);
            assert_eq!(content_type, "application/problem+json");
            return None;
        }
        assert_eq!(content_type, "application/json");
        Some(self.taken(&body))
    }

    fn original(&mut self, body: &[u8]) -> Option<Taken> {
        let answer = self.original.post(body)?;
        Some(self.taken(&answer))
    }

    fn taken(&mut self, answer: &[u8]) -> Taken {
        const ID_AND_END: usize = 36 + "\"}\n".len();
        let body = String::from_utf8(answer.to_vec()).unwrap();
        let id = body[body.len() - ID_AND_END..][..36].to_owned();
        let mut hash: BTreeMap<String, Vec<u8>> = self.jobs.hgetall(format!("job.{id}")).unwrap();
        assert_eq!(
            hash.insert("id".to_owned(), b"<id>".to_vec()),
            Some(id.clone().into_bytes())
        );
        Taken {
            body: body.replace(&id, "<id>"),
            hash,
        }
    }

    /// What ours made of a body, and what it should have.
    fn ours_and_expected(&mut self, body: &str) -> (Option<Taken>, Option<Taken>) {
        let original = self.original(body.as_bytes());
        // A number beyond a double: the original prints `Infinity`, which is not JSON.
        let expected = original.filter(|taken| !prints_infinity(taken));
        (self.ours(body.as_bytes()), expected)
    }

    fn assert_same(&mut self, body: &str) {
        let (ours, expected) = self.ours_and_expected(body);
        assert_eq!(ours, expected, "{body}");
    }
}

fn prints_infinity(taken: &Taken) -> bool {
    ["start", "end"].iter().any(|field| {
        ["Infinity", "-Infinity"]
            .iter()
            .any(|word| taken.body.contains(&format!("\"{field}\": {word}")))
    })
}

/// The original program: Flask, HotQueue and redis-py. Ends with the value.
struct Original {
    process: Child,
    port: u16,
}

impl Original {
    fn start(redis: &str) -> Self {
        let python = python();
        assert!(
            python.exists(),
            "{} is missing: run dev/install",
            python.display()
        );
        // Free now, and most likely still so when Flask takes it; Flask cannot tell which it took.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let process = Command::new(python)
            .args([
                concat!(env!("CARGO_MANIFEST_DIR"), "/tests/original_api.py"),
                redis,
                &port.to_string(),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let original = Self { process, port };
        let deadline = Instant::now() + Duration::from_secs(30);
        while original.connect().is_none() {
            assert!(Instant::now() < deadline, "the original did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        original
    }

    fn connect(&self) -> Option<TcpStream> {
        TcpStream::connect(("127.0.0.1", self.port)).ok()
    }

    /// The answer's body if it was 200.
    fn post(&self, body: &[u8]) -> Option<Vec<u8>> {
        let mut stream = self.connect().expect("the original runs");
        let head = format!("POST /jobs HTTP/1.0\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let split = answer
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap();
        let status = &answer[b"HTTP/1.x ".len()..][..3];
        (status == b"200").then(|| answer[split + 4..].to_vec())
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn table_of_bodies_is_answered_and_stored_alike() {
    let mut pair = Pair::start();
    let long = "1234567890".repeat(400);
    let values = [
        r#""go!""#,
        r#""""#,
        r#""caf\u00e9 é \u20ac €""#,
        r#""😀 \ud83d\ude00 \uD83D\uDE00""#,
        "\"\\u007f \u{7f} \\u0000 \\b\\f\\n\\r\\t \\/ \\\\ \\\"\"",
        r#""\u2028\u2029\ufeff""#,
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\ud800x""#,
        "\"tab\there\"",
        "0",
        "-0",
        "-0.0",
        "1.10",
        "1e3",
        "1e16",
        "1E-5",
        "0.0001",
        "123456789012345680.0",
        "5e-324",
        "2.5e-324",
        "1e-400",
        "9007199254740993.0",
        "1e999",
        "-1e999",
        &long,
        "01",
        "1.",
        ".5",
        "+1",
        "0x10",
        "true",
        "false",
        "null",
        "[]",
        r#"["go!"]"#,
        "{}",
        "nonsense",
        "",
    ];
    for value in values {
        pair.assert_same(&format!(r#"{{"start": {value}, "end": "stop!"}}"#));
        pair.assert_same(&format!(r#"{{"start": "go!", "end": {value}}}"#));
    }
    for body in [
        "",
        " ",
        "null",
        "[]",
        "[1, 2]",
        "\"start\"",
        "42",
        "{}",
        r#"{"start": 1}"#,
        r#"{"end": 1}"#,
        r#"{"Start": 1, "end": 1}"#,
        r#"{"start": 1, "end": 2, }"#,
        r#"{"start": 1 "end": 2}"#,
        r#"{"start": 1, "end": 2}}"#,
        r#"{'start': 1, 'end': 2}"#,
        r#"{"start": 1, "start": 2, "end": 3, "end": 4}"#,
        r#"{"start": [], "start": 2, "end": 3}"#,
        r#"{"start": 2, "start": [], "end": 3}"#,
        r#"{"st\u0061rt": "escaped", "end": 3}"#,
        r#"{"id": "mine", "status": "complete", "worker": "me", "start": 1, "end": 2}"#,
        r#"{"x": {"start": 9, "y": [1, {"z": null}]}, "start": 1, "end": 2}"#,
        r#"{"\ud800": "\udfff", "start": 1, "end": 2}"#,
        "{\"a\tb\": 0, \"start\": 1, \"end\": 2}",
        r#"{"a\tb": 0, "start": 1, "end": 2}"#,
        " \t\r\n{ \"start\" :\n1\t,\r\"end\" : 2 } \n",
        "\u{a0}{\"start\": 1, \"end\": 2}",
        "\u{feff}{\"start\": 1, \"end\": 2}",
    ] {
        pair.assert_same(body);
    }
}

#[test]
fn what_ours_refuses_and_the_original_takes_is_what_the_docs_name() {
    let mut pair = Pair::start();
    let utf16: Vec<u8> = r#"{"start": 1, "end": 2}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for body in [
        br#"{"start": NaN, "end": 1}"#.as_slice(),
        br#"{"start": 1, "end": -Infinity}"#,
        br#"{"start": 1, "end": 2, "x": NaN}"#,
        br#"{"start": 1e999, "end": 1}"#,
        b"{\"start\": 1, \"end\": 2, \"x\": \"\xed\xa0\x80\"}",
        &utf16,
    ] {
        let shown = String::from_utf8_lossy(body);
        assert!(pair.original(body).is_some(), "the original takes {shown}");
        assert_eq!(pair.ours(body), None, "{shown}");
    }
}

#[test]
fn generated_bodies_are_answered_and_stored_alike() {
    let mut pair = Pair::start();
    // Each case is two requests, and Flask takes its time.
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(400);
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let pair = std::cell::RefCell::new(&mut pair);
    TestRunner::new(config)
        .run(&body(), |body| {
            let (ours, expected) = pair.borrow_mut().ours_and_expected(&body);
            prop_assert_eq!(ours, expected);
            Ok(())
        })
        .unwrap();
}

// === strategies: text that is JSON, or nearly ===

fn body() -> impl Strategy<Value = String> {
    let space = || proptest::sample::select(vec!["", "", "", " ", "\n", "\t \r"]);
    let key = prop_oneof![
        6 => Just(r#""start""#.to_owned()),
        6 => Just(r#""end""#.to_owned()),
        1 => Just(r#""\u0065nd""#.to_owned()),
        1 => string(),
    ];
    let member =
        (key, value(), space(), space()).prop_map(|(key, value, a, b)| format!("{a}{key}{b}:{a}{value}{b}"));
    (
        proptest::collection::vec(member, 0..5),
        space(),
        proptest::bool::weighted(0.97),
    )
        .prop_map(|(members, space, whole)| {
            let end = if whole { "}" } else { "" };
            format!("{space}{{{}{end}{space}", members.join(","))
        })
}

fn value() -> impl Strategy<Value = String> {
    let number = "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?";
    prop_oneof![
        8 => string(),
        4 => proptest::string::string_regex(number).unwrap(),
        4 => any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(|float| format!("{float:e}")),
        2 => any::<i64>().prop_map(|integer| integer.to_string()),
        1 => proptest::sample::select(vec!["true", "false", "null", "[]", "{}", "[1, \"a\"]"]).prop_map(str::to_owned),
    ]
}

fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        // Raw, whatever it is: quotes and control characters make the body bad JSON, for both.
        6 => proptest::string::string_regex("[^\"\\\\\\x00-\\x1f]{1,6}").unwrap(),
        1 => any::<char>().prop_map(String::from),
        2 => "[0-9a-fA-F]{4}".prop_map(|hex| format!("\\u{hex}")),
        1 => any::<char>().prop_map(|character| {
            character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04X}")).collect()
        }),
        1 => (0xd7f0_u16..=0xe010).prop_map(|unit| format!("\\u{unit:04x}")),
        2 => proptest::sample::select(vec!["\\\"", "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t"]).prop_map(str::to_owned),
    ];
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}
