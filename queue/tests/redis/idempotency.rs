//! The same request twice is one job.

use std::time::Duration;

use queue::{Error, Idempotency, NewJob, Status};

use crate::common::{Fixture, eventually};

const KEY: &str = "workerpool:queue:idempotency:key";

fn keyed(start: &str, key: &str, fingerprint: &str) -> NewJob {
    NewJob {
        idempotency: Some(Idempotency {
            key: key.to_owned(),
            fingerprint: fingerprint.to_owned(),
            keep: Duration::from_secs(60),
        }),
        ..NewJob::new(start, "end")
    }
}

#[tokio::test]
async fn the_same_key_again_answers_the_first_job_and_adds_none() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    let first = producer.submit(keyed("a", "key", "print")).await.unwrap();
    let before = fixture.everything();
    let again = producer.submit(keyed("a", "key", "print")).await.unwrap();

    assert_eq!(first, again);
    fixture.assert_unchanged(&before, "it was repeated");
    let other = producer.submit(keyed("a", "other", "print")).await.unwrap();
    assert_eq!(fixture.waiting(), [first.id, other.id]);
}

#[tokio::test]
async fn the_same_key_with_another_request_is_refused_and_changes_nothing() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    producer.submit(keyed("a", "key", "print")).await.unwrap();
    let before = fixture.everything();

    let refused = producer.submit(keyed("b", "key", "other print")).await;
    assert_eq!(refused, Err(Error::KeyReused("key".to_owned())));
    fixture.assert_unchanged(&before, "it was refused");
}

#[tokio::test]
async fn within_one_batch_a_key_stands_for_its_first_job() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    // One thread: all are in line before the first is sent.
    let (first, twin, other, plain) = tokio::join!(
        producer.submit(keyed("a", "key", "print")),
        producer.submit(keyed("a", "key", "print")),
        producer.submit(keyed("b", "key", "other print")),
        producer.submit(NewJob::new("c", "d")),
    );

    let (first, plain) = (first.unwrap(), plain.unwrap());
    assert_eq!(first, twin.unwrap());
    assert_eq!(other, Err(Error::KeyReused("key".to_owned())));
    assert_eq!(fixture.waiting(), [first.id, plain.id]);
}

#[tokio::test]
async fn a_key_whose_job_was_refused_is_free() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    let taken = producer.submit(NewJob::new("other", "job")).await.unwrap();
    let conflicting = NewJob {
        id: taken.id.clone(),
        ..keyed("a", "key", "print")
    };
    let (refused, second) = tokio::join!(
        producer.submit(conflicting),
        producer.submit(keyed("a", "key", "print")),
    );

    assert_eq!(refused, Err(Error::Conflict(taken.id.to_string())));
    assert_eq!(fixture.waiting(), [taken.id, second.unwrap().id]);
}

#[tokio::test]
async fn the_same_job_under_its_key_again_adds_nothing() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    let job = keyed("a", "key", "print");
    let first = producer.submit(job.clone()).await.unwrap();
    assert_eq!(producer.submit(job.clone()).await.unwrap(), first);
    // As if it had been submitted without a key, and its answer lost: from now on the key stands for it.
    fixture.ask::<()>(&["DEL", KEY]);
    assert_eq!(producer.submit(job).await.unwrap(), first);
    assert_eq!(producer.submit(keyed("a", "key", "print")).await.unwrap(), first);
    assert_eq!(fixture.waiting(), [first.id]);
}

#[tokio::test]
async fn a_key_is_kept_for_its_time_from_the_first_request() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    let brief = || NewJob {
        idempotency: Some(Idempotency {
            key: "key".to_owned(),
            fingerprint: "print".to_owned(),
            keep: Duration::from_millis(300),
        }),
        ..NewJob::new("a", "b")
    };
    let first = producer.submit(brief()).await.unwrap();
    let left: i64 = fixture.ask(&["PTTL", KEY]);
    assert!((1..=300).contains(&left), "{left}");
    let second = eventually("the key is free again", || async {
        let answer = producer.submit(brief()).await.unwrap();
        (answer.id != first.id).then_some(answer)
    })
    .await;
    assert_eq!(fixture.waiting(), [first.id, second.id]);
}

#[tokio::test]
async fn a_job_that_is_done_or_gone_is_not_done_again_under_its_key() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    let first = producer.submit(keyed("a", "key", "print")).await.unwrap();
    fixture
        .raw
        .on(3)
        .ask::<()>(&["DEL", &format!("job.{}", first.id)]);
    fixture.ask::<()>(&["DEL", crate::common::MAIN, "workerpool:queue:index"]);

    let again = producer.submit(keyed("a", "key", "print")).await.unwrap();
    assert_eq!((again.id, again.status), (first.id, Status::Submitted));
    assert_eq!(again.submitted_ms, None);
    assert_eq!(fixture.waiting(), []);
}

#[tokio::test]
async fn a_refused_submission_leaves_its_key_free() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    producer.submit(NewJob::new("a", "b")).await.unwrap();
    fixture.raw.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let before = fixture.everything();
    let refused = producer.submit(keyed("a", "key", "print")).await;
    assert!(matches!(refused, Err(Error::OutOfMemory(_))), "{refused:?}");
    fixture.assert_unchanged(&before, "it was refused");

    fixture.raw.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    fixture.ask::<()>(&["DEL", "workerpool:queue:index"]);
    fixture.ask::<()>(&["SET", "workerpool:queue:index", "a text"]);
    let before = fixture.everything();
    let refused = producer.submit(keyed("a", "key", "print")).await;
    assert!(matches!(refused, Err(Error::WrongType(_))), "{refused:?}");
    fixture.assert_unchanged(&before, "the index is of another type");
}
