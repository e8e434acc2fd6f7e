//! docs/api.md is run: each `$ curl` is asked, and the answer must be the one that is printed there, but for times
//! and what is made at random.

use axum::http::{Method, Request};
use queue::{
    Consumer, Ending, Identity, JobId, JobResult, NewJob, Nonce, Payload, Producer, Progress,
    test_server::RedisServer,
};

use crate::{
    client::{Answer, app_on, ask, db, queue},
    worker::{end, only_attempt, take},
};

const DOCS: &str = include_str!("../../../docs/api.md");

// The jobs of the examples.
const COMPLETE: &str = "5d0c4f1a-3a52-4a0e-9a37-5a2e3b0e9d11";
const DEAD: &str = "c1f7a9f2-52c4-4d13-9d0b-3c0f6f7e8a22";
const RUNNING: &str = "2e4a1d5b-8c9f-4b7e-a6d3-1f0e9c8b7a33";
const WAITING: &str = "9b6f4822-95b9-440c-99ba-e2c5b87b42d4";

/// A command of the docs and what it is said to answer.
struct Example {
    command: Vec<String>,
    answer: String,
}

#[tokio::test]
async fn every_example_answers_what_the_docs_print() {
    let examples = examples();
    assert!(examples.len() >= 10, "only {} found", examples.len());
    let redis = RedisServer::start().unwrap();
    let (app, _) = app_on(&redis.server());
    for example in examples {
        set_the_scene(&redis).await;
        let answer = ask(&app, request(&example.command)).await;
        let (answer, documented) = (
            masked(&printed(&example.command, &answer)),
            masked(&example.answer),
        );
        assert!(
            is_like(&answer, &documented),
            "{:?}\n is answered {answer}\nand not {documented}",
            example.command
        );
    }
}

/// One job of each kind.
async fn set_the_scene(redis: &RedisServer) {
    let () = redis::cmd("FLUSHALL").query(&mut db(redis, 0)).unwrap();
    let identity = Identity {
        nonce: Nonce::fresh(),
        pod_uid: None,
        pod_name: Some("hw7-5c9d".to_owned()),
        ip: "10.244.15.176".to_owned(),
        host: None,
    };
    let worker = Consumer::new(&redis.server(), queue(), identity, only_attempt()).unwrap();
    worker.beat().await.unwrap();
    let producer = Producer::new(&redis.server(), queue()).unwrap();
    for id in [COMPLETE, DEAD, RUNNING, WAITING] {
        let mut job = match id {
            RUNNING => NewJob::new("in.png", "out.png"),
            _ => NewJob::new("go!", "stop!"),
        };
        job.id = JobId::new(id).unwrap();
        job.payload = (id == RUNNING).then(|| Payload::new(r#"{"size": [64, 64]}"#).unwrap());
        producer.submit(job).await.unwrap();
        if id != WAITING {
            run(&worker, id).await;
        }
    }
}

/// Takes the job, and does to it what makes it one of its kind.
async fn run(worker: &Consumer, id: &str) {
    let job = take(worker, 1).await.remove(0);
    match id {
        COMPLETE => {
            let result = JobResult::new("application/json", r#"{"width": 64, "height": 64}"#).unwrap();
            let result = Some(result);
            end(worker, &job, Ending::Complete { result }).await;
        }
        DEAD => {
            let error = "no route to moon".to_owned();
            end(worker, &job, Ending::Failed { error }).await;
        }
        _ => {
            let progress = Progress {
                percent: Some(42),
                message: "resizing".to_owned(),
            };
            worker.report(&[(job.job.id, job.token, progress)]).await.unwrap();
        }
    }
}

fn examples() -> Vec<Example> {
    let mut examples = Vec::new();
    let mut lines = DOCS.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix("    $ curl ") else {
            continue;
        };
        let mut answer = Vec::new();
        // A long answer goes on in the next line.
        while let Some(line) = lines.next_if(|line| line.starts_with("    ") && !line.starts_with("    $")) {
            answer.push(line.trim());
        }
        examples.push(Example {
            command: words(command),
            answer: answer.join(" "),
        });
    }
    examples
}

/// As a shell splits them, as far as the docs go.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for character in command.chars() {
        match (quote, character) {
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            (None, ' ') => words.push(String::new()),
            _ => words.last_mut().unwrap().push(character),
        }
    }
    words
}

fn request(command: &[String]) -> Request<axum::body::Body> {
    let mut request = Request::builder().method(Method::GET);
    let mut body = String::new();
    let mut words = command.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap();
        request = match word.as_str() {
            "-X" => request.method(value().as_str()),
            "-OJ" => request,
            "-H" => {
                let (name, content) = value().split_once(": ").unwrap();
                request.header(name, content)
            }
            "-d" => {
                body.clone_from(value());
                request
            }
            address => request.uri(address.strip_prefix("localhost:5000").unwrap()),
        };
    }
    request.body(body.into()).unwrap()
}

/// What curl prints: the answer, unless it puts it into a file.
fn printed(command: &[String], answer: &Answer) -> String {
    if command.iter().any(|word| word == "-OJ") {
        let disposition = answer.header("content-disposition").unwrap();
        let file = format!("attachment; filename=\"{COMPLETE}.json\"");
        assert_eq!(disposition, file);
        return String::new();
    }
    answer.text().trim_end().to_owned()
}

/// Whether `answer` is what `documented` says, in which `…` stands for anything.
fn is_like(answer: &str, documented: &str) -> bool {
    let mut pieces = documented.split('…');
    let begin = pieces.next().unwrap_or_default();
    let Some(mut rest) = answer.strip_prefix(begin) else {
        return false;
    };
    for piece in pieces {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.is_empty()
}

/// Without what differs from run to run.
fn masked(answer: &str) -> String {
    let known = [COMPLETE, DEAD, RUNNING, WAITING];
    // Every second piece stands between quotes.
    let pieces = answer.split('"').enumerate().map(|(at, piece)| {
        let is_time = piece.len() == 24 && piece.ends_with('Z');
        let is_random =
            [32, 36].contains(&piece.len()) && piece.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        let is_cursor = piece.split_once('.').is_some_and(|(at, member)| {
            at.len() >= 13
                && at.bytes().all(|byte| byte.is_ascii_digit())
                && member.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        let is_duration = at > 0 && piece.contains('.') && piece.starts_with(": ");
        if known.contains(&piece) {
            piece
        } else if is_time || is_random || is_cursor || is_duration {
            "…"
        } else {
            piece
        }
    });
    pieces.collect::<Vec<_>>().join("\"")
}
