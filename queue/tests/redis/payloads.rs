//! What is submitted with a job besides start and end.

use std::time::Duration;

use queue::{Claimed, Ending, Error, Finish, Idempotency, JobOptions, NewJob, Nonce, Payload, Retry, Terms};

use crate::common::{Fixture, Worker, failed, pair, submit_twins_and};

const JSON: &str = r#"{"width": 64,  "names": ["é"]}"#;

fn payload(json: &str) -> Option<Payload> {
    Some(Payload::new(json).unwrap())
}

fn laden() -> NewJob {
    NewJob {
        payload: payload(JSON),
        ..NewJob::new("a", "b")
    }
}

/// Of a queue in which a job has one attempt.
fn strict(fixture: &Fixture) -> Worker {
    fixture.worker_on(Terms {
        retry: Retry {
            max_attempts: 1,
            ..Retry::default()
        },
        ..Terms::default()
    })
}

/// Its payload is still handed out.
async fn claim_laden(worker: &Worker) -> Claimed {
    let claimed = worker.claim_one().await;
    assert_eq!(claimed.payload, payload(JSON));
    claimed
}

#[tokio::test]
async fn a_payload_is_handed_out_with_its_job_as_it_was_written_and_is_not_in_the_hash() {
    let mut fixture = Fixture::new();
    let id = fixture.producer().submit(laden()).await.unwrap().id;
    let fields: Vec<_> = fixture.hash(&id).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["end", "id", "start", "status"]);

    let claimed = fixture.worker().claim_one().await;
    assert_eq!((claimed.job.id, claimed.payload), (id, payload(JSON)));
}

#[tokio::test]
async fn of_one_claim_each_job_gets_its_own_payload() {
    let fixture = Fixture::new();
    let producer = fixture.producer();
    for i in 0..4 {
        let mut job = NewJob::new(i.to_string(), "");
        job.payload = (i % 2 == 1).then(|| Payload::new(i.to_string()).unwrap());
        producer.submit(job).await.unwrap();
    }
    let worker = fixture.worker();
    let nonce = Nonce::fresh();
    let claims = worker.consumer.claim(&nonce, 4).await.unwrap();
    let payloads: Vec<_> = claims
        .jobs
        .iter()
        .map(|claimed| claimed.payload.clone())
        .collect();
    assert_eq!(payloads, [None, payload("1"), None, payload("3")]);
    // An answer that was lost is answered again, payloads too.
    let again = worker.consumer.claim(&nonce, 4).await.unwrap();
    assert_eq!(again.jobs, claims.jobs);
}

#[tokio::test]
async fn a_payload_is_shown_with_its_job_and_a_job_without_one_shows_none() {
    let fixture = Fixture::new();
    let producer = fixture.producer();
    let with = producer.submit(laden()).await.unwrap().id;
    let without = producer.submit(NewJob::new("a", "b")).await.unwrap().id;
    assert_eq!(producer.get(&with).await.unwrap().unwrap().payload, payload(JSON));
    assert_eq!(producer.get(&without).await.unwrap().unwrap().payload, None);
}

#[tokio::test]
async fn another_payload_under_the_same_id_is_a_conflict() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    let new = laden();
    let first = producer.submit(new.clone()).await.unwrap();
    assert_eq!(producer.submit(new.clone()).await.unwrap(), first);
    let before = fixture.everything();
    let watched = JobOptions {
        watched: true,
        ..JobOptions::default()
    };
    let plain = JobOptions::default();
    for (other, options) in [(None, plain), (None, watched), (payload("1"), plain)] {
        let other = NewJob {
            payload: other,
            options,
            ..new.clone()
        };
        assert_eq!(
            producer.submit(other).await,
            Err(Error::Conflict(new.id.to_string()))
        );
    }
    fixture.assert_unchanged(&before, "both were refused");

    // Also within one batch.
    let new = laden();
    let other = NewJob {
        payload: payload("1"),
        ..new.clone()
    };
    submit_twins_and(&producer, &new, other).await;
    assert_eq!(
        producer.get(&new.id).await.unwrap().unwrap().payload,
        payload(JSON)
    );
}

#[tokio::test]
async fn what_an_idempotency_key_turns_away_leaves_no_payload() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    let keyed = || NewJob {
        idempotency: Some(Idempotency {
            key: "key".to_owned(),
            fingerprint: "same".to_owned(),
            keep: Duration::from_secs(60),
        }),
        ..laden()
    };
    let first = producer.submit(keyed()).await.unwrap().id;
    assert_eq!(producer.submit(keyed()).await.unwrap().id, first);
    assert_eq!(fixture.kept("payloads"), [first.to_string()]);
}

#[tokio::test]
async fn a_payload_stays_with_its_job_through_all_of_its_runs() {
    let mut fixture = Fixture::new();
    let (producer, worker) = (fixture.producer(), strict(&fixture));
    let id = producer.submit(laden()).await.unwrap().id;
    let claimed = claim_laden(&worker).await;
    worker.consumer.give_back(&[pair(&claimed)]).await.unwrap();
    let claimed = claim_laden(&worker).await;
    let later = Ending::Later {
        after: Duration::from_secs(60),
    };
    worker.end(&id, &claimed.token, later).await;
    fixture.make_due(std::slice::from_ref(&id));
    worker.consumer.tick().await.unwrap();
    let claimed = claim_laden(&worker).await;
    assert_eq!(worker.end(&id, &claimed.token, failed()).await, Finish::Dead);
    producer.retry(&id).await.unwrap();
    let claimed = claim_laden(&worker).await;
    worker.complete(&id, &claimed.token).await;
    fixture.reset(&id);
    assert_eq!(claim_laden(&worker).await.attempt, 1);
}

#[tokio::test]
async fn a_job_that_lost_its_worker_keeps_its_payload() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker();
    let id = fixture.producer().submit(laden()).await.unwrap().id;
    claim_laden(&worker).await;
    fixture.reap(&id, &worker).await;
    fixture.make_due(std::slice::from_ref(&id));
    worker.consumer.tick().await.unwrap();
    claim_laden(&worker).await;
}

#[tokio::test]
async fn what_somebody_set_back_keeps_its_payload_when_its_time_to_be_forgotten_comes() {
    let mut fixture = Fixture::new();
    let (producer, worker) = (fixture.producer(), strict(&fixture));
    worker.consumer.tick().await.unwrap();
    for how in [Ending::Complete { result: None }, failed()] {
        let id = producer.submit(laden()).await.unwrap().id;
        let claimed = claim_laden(&worker).await;
        worker.end(&id, &claimed.token, how).await;
        fixture.reset(&id);
        assert_eq!(fixture.purge(&id, &worker).await, 0);
        let claimed = claim_laden(&worker).await;
        assert_eq!(worker.end(&id, &claimed.token, failed()).await, Finish::Dead);
        // Also when it is deleted from the dead.
        fixture.reset(&id);
        assert_eq!(producer.delete_dead(&[id.to_string()]).await, Ok(1));
        claim_laden(&worker).await;
    }
}

#[tokio::test]
async fn a_payload_goes_with_its_job() {
    let mut fixture = Fixture::new();
    let (producer, worker) = (fixture.producer(), strict(&fixture));
    worker.consumer.tick().await.unwrap();
    for how in [Ending::Complete { result: None }, Ending::Cancelled, failed()] {
        let id = producer.submit(laden()).await.unwrap().id;
        let claimed = claim_laden(&worker).await;
        worker.end(&id, &claimed.token, how).await;
        assert_eq!(fixture.kept("payloads"), [id.to_string()]);
        assert_eq!(fixture.purge(&id, &worker).await, 1);
        assert!(fixture.kept("payloads").is_empty());
    }

    let deleted = producer.submit(laden()).await.unwrap().id;
    let claimed = claim_laden(&worker).await;
    worker.end(&deleted, &claimed.token, failed()).await;
    producer.delete_dead(&[deleted.to_string()]).await.unwrap();
    assert!(fixture.kept("payloads").is_empty());

    let gone = producer.submit(laden()).await.unwrap().id;
    let claimed = claim_laden(&worker).await;
    fixture.raw.on(3).ask::<()>(&["DEL", &format!("job.{gone}")]);
    let finish = worker.complete(&claimed.job.id, &claimed.token).await;
    assert_eq!(finish, Finish::Gone);
    assert!(fixture.kept("payloads").is_empty());
    assert!(fixture.kept("records").is_empty());
}

#[tokio::test]
async fn who_submits_a_deleted_job_again_gives_it_its_payload_anew() {
    let mut fixture = Fixture::new();
    let (producer, worker) = (fixture.producer(), fixture.worker());
    let new = laden();
    let id = producer.submit(new.clone()).await.unwrap().id;
    let first = claim_laden(&worker).await;
    fixture.raw.on(3).ask::<()>(&["DEL", &format!("job.{id}")]);
    let other = NewJob {
        payload: payload("1"),
        ..new
    };
    producer.submit(other).await.unwrap();
    // Who still runs the deleted one keeps its lease, and the count of what it holds stays right.
    worker.consumer.give_back(&[pair(&first)]).await.unwrap();
    assert_eq!(fixture.reading().await.running, 0);
    assert_eq!(worker.claim_one().await.payload, payload("1"));
}
