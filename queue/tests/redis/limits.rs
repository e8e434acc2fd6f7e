//! Answers that never end, and texts that are too long.

use std::net::Ipv4Addr;

use queue::{Address, AnswerLimit, Drainer, Error, JobId, Observer, Producer, Queue, Server};

use crate::{common::in_time, fake::server_that_answers};

const MIB: usize = 1024 * 1024;

fn queue() -> Queue {
    Queue::new("queue".parse().unwrap())
}

fn at(port: u16) -> Server {
    Server::new(Address {
        host: Ipv4Addr::LOCALHOST.to_string(),
        port,
    })
}

/// The beginning of a text of a gigabyte, and of a list as long.
fn endless(bytes: usize) -> [String; 2] {
    let text = format!("$1000000000\r\n{}", "x".repeat(bytes));
    let item = format!("${}\r\n{}\r\n", 1000, "x".repeat(1000));
    let list = format!("*1000000000\r\n{}", item.repeat(bytes / item.len()));
    [text, list]
}

fn assert_too_large<T: std::fmt::Debug>(answer: Result<T, Error>, port: u16, mebibytes: usize) {
    let err = answer.expect_err("an endless answer was read");
    let limit = mebibytes * MIB;
    assert!(
        matches!(err, Error::AnswerTooLarge { limit: l, .. } if l == limit),
        "{err:?}"
    );
    let text = err.to_string();
    assert!(
        text.contains(&format!("127.0.0.1:{port} sent more than {mebibytes} MiB")),
        "{text}"
    );
}

#[tokio::test]
async fn endless_answer_breaks_connection_of_observer_and_coordinator_at_8_mib() {
    for answer in endless(9 * MIB) {
        let port = server_that_answers(answer);
        let drainer = Drainer::new(&at(port)).unwrap();
        assert_too_large(in_time(async || drainer.workers(&queue()).await).await, port, 8);
        let (observer, _changes) = Observer::new(&at(port)).unwrap();
        let read = in_time(async || observer.read(&[queue()]).await.remove(0)).await;
        assert_too_large(read, port, 8);
    }
}

#[tokio::test]
async fn endless_answer_breaks_connection_of_producer_at_limit_of_its_program() {
    for (limit, mebibytes) in [(AnswerLimit::SUBMIT, 32), (AnswerLimit::WORK, 96)] {
        let [text, _] = endless((mebibytes + 1) * MIB);
        let port = server_that_answers(text);
        let producer = Producer::with_limit(&at(port), queue(), limit).unwrap();
        let answer = in_time(async || producer.get(&JobId::fresh()).await).await;
        assert_too_large(answer, port, mebibytes);
    }
}

#[tokio::test]
async fn error_of_a_megabyte_is_cut() {
    let port = server_that_answers(format!("-ERR {}\r\n", "x".repeat(MIB)));
    let drainer = Drainer::new(&at(port)).unwrap();
    let answer = in_time(async || drainer.workers(&queue()).await).await;
    let text = answer.unwrap_err().to_string();
    assert!(text.chars().count() < 600, "{}", text.len());
}
