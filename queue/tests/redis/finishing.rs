use std::time::Duration;

use queue::{Finish, JobId, Token};

use crate::common::{Fixture, Worker, ids, pair};

fn somebody_elses_token(worker: &Worker) -> Token {
    serde_like(&format!("{}.another", worker.identity.nonce))
}

/// Tokens are made by claims only; a test reads one as a store would.
fn serde_like(text: &str) -> Token {
    use serde::{Deserialize, de::value::StrDeserializer};
    Token::deserialize(StrDeserializer::<serde::de::value::Error>::new(text)).unwrap()
}

#[tokio::test]
async fn a_finished_job_is_complete_and_no_longer_held() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    let worker = fixture.worker();
    let claimed = worker.claim_one().await;
    assert_eq!(worker.complete(&id, &claimed.token).await, Finish::Finished);

    let fields = fixture.hash(&id);
    assert_eq!(fields[3], ("status".to_owned(), "complete".to_owned()));
    assert_eq!(fields[4], ("worker".to_owned(), "10.0.0.7".to_owned()));
    let reading = fixture.reading().await;
    assert_eq!((reading.running, reading.completed), (0, 1));
}

#[tokio::test]
async fn the_same_finish_again_changes_nothing_and_is_fine() {
    let mut fixture = Fixture::new();
    fixture.submit(2).await;
    let worker = fixture.worker();
    let claimed = worker.claim(2).await.jobs.remove(0);
    worker.complete(&claimed.job.id, &claimed.token).await;
    let before = fixture.everything();

    let again = worker.complete(&claimed.job.id, &claimed.token).await;
    assert_eq!(again, Finish::Finished);
    fixture.assert_unchanged(&before, "it was refused");
    assert_eq!(fixture.reading().await.running, 1);
}

#[tokio::test]
async fn another_token_changes_nothing() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    let worker = fixture.worker();
    worker.claim_one().await;
    let before = fixture.everything();
    let stale = somebody_elses_token(&worker);

    assert_eq!(worker.complete(&id, &stale).await, Finish::Stale);
    assert_eq!(
        worker
            .consumer
            .give_back(&[(id.clone(), stale.clone())])
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        worker.consumer.renew(&[(id.clone(), stale)]).await.unwrap().lost,
        [id]
    );
    fixture.assert_unchanged(&before, "it was refused");
}

#[tokio::test]
async fn a_zombie_cannot_touch_a_job_that_was_reaped_and_taken_by_another() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    let zombie = fixture.worker();
    let old = zombie.claim_one().await;
    zombie.consumer.give_back(&[pair(&old)]).await.unwrap();
    let worker = fixture.worker();
    let new = worker.claim_one().await;

    assert_eq!(
        zombie
            .consumer
            .renew(&[pair(&old)])
            .await
            .unwrap()
            .lost
            .as_slice(),
        std::slice::from_ref(&id)
    );
    assert_eq!(zombie.complete(&id, &old.token).await, Finish::Stale);
    assert_eq!(fixture.status(&id).as_deref(), Some("in progress"));
    assert_eq!(worker.complete(&id, &new.token).await, Finish::Finished);
    // And not afterwards either.
    assert_eq!(zombie.complete(&id, &old.token).await, Finish::Stale);
    assert_eq!(fixture.reading().await.completed, 1);
}

#[tokio::test]
async fn a_hash_that_was_deleted_meanwhile_is_not_made_anew() {
    let mut fixture = Fixture::new();
    let submitted = fixture.submit(2).await;
    let worker = fixture.worker();
    let claims = worker.claim(2).await;
    for id in &submitted {
        fixture.raw.on(3).ask::<()>(&["DEL", &format!("job.{id}")]);
    }

    let renewal = worker.consumer.renew(&[pair(&claims.jobs[0])]).await.unwrap();
    assert_eq!(renewal.lost, submitted[..1]);
    let finish = worker.complete(&submitted[0], &claims.jobs[0].token).await;
    assert_eq!(finish, Finish::Gone);
    assert_eq!(
        worker.consumer.give_back(&[pair(&claims.jobs[1])]).await.unwrap(),
        0
    );
    assert_eq!(
        fixture.raw.on(3).ask::<Vec<String>>(&["KEYS", "*"]),
        Vec::<String>::new()
    );
    let reading = fixture.reading().await;
    assert_eq!((reading.running, reading.waiting), (0, 0));
}

#[tokio::test]
async fn a_cancelled_job_is_named_at_renewal_and_stays_cancelled() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    let worker = fixture.worker();
    let claimed = worker.claim_one().await;
    fixture
        .raw
        .on(3)
        .ask::<()>(&["HSET", &format!("job.{id}"), "status", "cancelled"]);

    let renewal = worker.consumer.renew(&[pair(&claimed)]).await.unwrap();
    assert_eq!(
        (renewal.lost.len(), renewal.cancelled.as_slice()),
        (0, std::slice::from_ref(&id))
    );
    assert_eq!(worker.complete(&id, &claimed.token).await, Finish::Stale);
    assert_eq!(fixture.status(&id).as_deref(), Some("cancelled"));
    assert_eq!(fixture.reading().await.running, 0);
}

#[tokio::test]
async fn nothing_of_ours_gives_a_hash_a_time_to_live() {
    let mut fixture = Fixture::new();
    let submitted = fixture.submit(2).await;
    let worker = fixture.worker();
    let claims = worker.claim(2).await;
    worker.complete(&submitted[0], &claims.jobs[0].token).await;
    worker.consumer.give_back(&[pair(&claims.jobs[1])]).await.unwrap();
    for id in &submitted {
        assert_eq!(fixture.raw.on(3).ask::<i64>(&["TTL", &format!("job.{id}")]), -1);
    }
}

#[tokio::test]
async fn jobs_given_back_stand_at_the_head_in_their_order_and_spend_no_attempt() {
    let mut fixture = Fixture::new();
    let submitted = fixture.submit(5).await;
    let worker = fixture.worker();
    let claims = worker.claim(3).await;
    let pairs: Vec<_> = claims.jobs.iter().map(pair).collect();
    assert_eq!(worker.consumer.give_back(&pairs).await.unwrap(), 3);

    assert_eq!(fixture.waiting(), submitted);
    let fields: Vec<_> = fixture
        .hash(&submitted[0])
        .into_iter()
        .map(|(field, _)| field)
        .collect();
    assert_eq!(fields, ["end", "id", "start", "status"]);
    assert_eq!(fixture.status(&submitted[0]).as_deref(), Some("submitted"));
    assert_eq!(fixture.reading().await.running, 0);
    // Said twice, it is done once.
    assert_eq!(worker.consumer.give_back(&pairs).await.unwrap(), 0);
    assert_eq!(fixture.waiting(), submitted);
    let again = fixture.worker().claim(3).await;
    assert_eq!(ids(&again), submitted[..3]);
    assert!(again.jobs.iter().all(|claimed| claimed.attempt == 1));
}

#[tokio::test]
async fn a_job_goes_back_as_the_item_that_it_came_as() {
    let mut fixture = Fixture::new();
    let item: &[u8] = b"S'old'\np0\n.";
    fixture
        .raw
        .on(3)
        .ask::<()>(&["HSET", "job.old", "id", "old", "status", "submitted"]);
    fixture
        .raw
        .on(2)
        .command::<()>(redis::cmd("RPUSH").arg("hotqueue:queue").arg(item))
        .unwrap();
    let worker = fixture.worker();
    let claimed = worker.claim_one().await;
    assert_eq!(claimed.job.id, JobId::new("old").unwrap());
    worker.consumer.give_back(&[pair(&claimed)]).await.unwrap();
    assert_eq!(
        fixture.ask::<Vec<Vec<u8>>>(&["LRANGE", "hotqueue:queue", "0", "-1"]),
        [item]
    );
}

#[tokio::test]
async fn a_renewed_lease_lasts_its_whole_time_again() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    let worker = fixture.worker_with(Duration::from_secs(60));
    let claimed = worker.claim_one().await;
    // As if it had ended already, and nobody had come to reap it.
    fixture.ask::<()>(&["ZADD", "workerpool:queue:leases", "1", id.as_str()]);
    let renewal = worker.consumer.renew(&[pair(&claimed)]).await.unwrap();

    assert_eq!(renewal.lost, []);
    let end: u64 = fixture.ask(&["ZSCORE", "workerpool:queue:leases", id.as_str()]);
    assert!(end > fixture.reading().await.server_time_ms + 50_000);
}

#[tokio::test]
async fn a_lease_that_ended_but_was_not_reaped_can_still_be_finished() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    let worker = fixture.worker();
    let claimed = worker.claim_one().await;
    fixture.ask::<()>(&["ZADD", "workerpool:queue:leases", "1", id.as_str()]);
    assert_eq!(worker.complete(&id, &claimed.token).await, Finish::Finished);
}

#[tokio::test]
async fn a_thousand_jobs_are_held_renewed_and_given_back_by_one_worker() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    let all: Vec<_> = (0..2_500)
        .map(|i| {
            let producer = producer.clone();
            tokio::spawn(async move {
                producer
                    .submit(queue::NewJob::new(i.to_string(), ""))
                    .await
                    .unwrap()
            })
        })
        .collect();
    for one in all {
        one.await.unwrap();
    }
    let before = fixture.waiting();
    let worker = fixture.worker();
    let mut held = Vec::new();
    while held.len() < 2_500 {
        held.extend(worker.claim(5_000).await.jobs.iter().map(pair));
    }
    assert_eq!(
        worker.consumer.renew(&held).await.unwrap(),
        queue::Renewal::default()
    );
    assert_eq!(worker.consumer.give_back(&held).await.unwrap(), 2_500);
    assert_eq!(fixture.waiting(), before);
}

#[tokio::test]
async fn an_id_on_two_queues_of_one_jobs_database_completes_once() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    let mut other = queue::Queue::new("other".parse().unwrap());
    other.jobs_db = fixture.queue.jobs_db;
    fixture
        .raw
        .on(2)
        .command::<()>(
            redis::cmd("RPUSH")
                .arg("hotqueue:other")
                .arg(queue::item::write(&id)),
        )
        .unwrap();
    // Each queue knows its own leases only, so both run it.
    let here = fixture.worker();
    let there = Worker::new(&fixture.server(), &other, None, Duration::from_secs(30));
    let (mine, theirs) = (here.claim_one().await, there.claim_one().await);
    assert_eq!(there.complete(&id, &theirs.token).await, Finish::Finished);
    assert_eq!(here.complete(&id, &mine.token).await, Finish::Stale);
    assert_eq!(fixture.reading().await.running, 0);
}
