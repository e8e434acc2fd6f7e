//! Jobs that ended long ago are forgotten: hash, record and place in the listing together.

use std::time::Duration;

use queue::{Ending, JobId, Retention, Retry, Terms, item};

use crate::common::{Fixture, MAIN, Worker};

const FINISHED: &str = "workerpool:queue:finished";
const DEAD: &str = "workerpool:queue:dead";

fn terms(retention: Retention) -> Terms {
    Terms {
        retention,
        retry: Retry {
            max_attempts: 1,
            ..Retry::default()
        },
        ..Terms::default()
    }
}

/// A job that has ended in this way.
async fn ended(fixture: &Fixture, worker: &Worker, how: Ending) -> JobId {
    let id = fixture.submit(1).await.remove(0);
    let claimed = worker.claim_one().await;
    worker.end(&id, &claimed.token, how).await;
    id
}

fn failed() -> Ending {
    Ending::Failed {
        error: "it".to_owned(),
    }
}

/// As if it had ended so long ago.
async fn age(fixture: &mut Fixture, key: &str, member: &str, by: Duration) {
    let now = fixture.reading().await.server_time_ms;
    let then = now - u64::try_from(by.as_millis()).unwrap();
    fixture.ask::<()>(&["ZADD", key, "XX", &then.to_string(), member]);
}

async fn purge(fixture: &mut Fixture, worker: &Worker) -> u64 {
    fixture.let_a_tick_come();
    worker.consumer.tick().await.unwrap().purged
}

/// Whether its hash, its record and its place in the index are there.
fn traces(fixture: &mut Fixture, id: &JobId) -> [bool; 3] {
    let indexed: Option<f64> = fixture.ask(&["ZSCORE", "workerpool:queue:index", id.as_str()]);
    let recorded = fixture.ask(&["HEXISTS", "workerpool:queue:records", id.as_str()]);
    [!fixture.hash(id).is_empty(), recorded, indexed.is_some()]
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn jobs_that_ended_longer_ago_than_they_are_kept_leave_no_trace() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker_on(terms(Retention::default()));
    let complete = ended(&fixture, &worker, Ending::Complete { result: None }).await;
    let cancelled = ended(&fixture, &worker, Ending::Cancelled).await;
    let dead = ended(&fixture, &worker, failed()).await;
    let recent = ended(&fixture, &worker, Ending::Complete { result: None }).await;
    let recently_dead = ended(&fixture, &worker, failed()).await;
    age(&mut fixture, FINISHED, complete.as_str(), 8 * DAY).await;
    age(&mut fixture, FINISHED, cancelled.as_str(), 8 * DAY).await;
    age(&mut fixture, FINISHED, recent.as_str(), 6 * DAY).await;
    age(&mut fixture, DEAD, dead.as_str(), 91 * DAY).await;
    age(&mut fixture, DEAD, recently_dead.as_str(), 89 * DAY).await;

    assert_eq!(purge(&mut fixture, &worker).await, 3);
    for id in [&complete, &cancelled, &dead] {
        assert_eq!(traces(&mut fixture, id), [false; 3]);
    }
    for id in [&recent, &recently_dead] {
        assert_eq!(traces(&mut fixture, id), [true; 3]);
    }
    let reading = fixture.reading().await;
    assert_eq!((reading.dead, reading.counts.purged), (1, 3));
    assert_eq!(purge(&mut fixture, &worker).await, 0);
}

#[tokio::test]
async fn who_wants_to_keeps_everything_for_ever() {
    let mut fixture = Fixture::new();
    let for_ever = Retention {
        finished: None,
        dead: None,
    };
    let worker = fixture.worker_on(terms(for_ever));
    let complete = ended(&fixture, &worker, Ending::Complete { result: None }).await;
    let dead = ended(&fixture, &worker, failed()).await;
    age(&mut fixture, FINISHED, complete.as_str(), 9_000 * DAY).await;
    age(&mut fixture, DEAD, dead.as_str(), 9_000 * DAY).await;
    assert_eq!(purge(&mut fixture, &worker).await, 0);
    assert_eq!(traces(&mut fixture, &complete), [true; 3]);
}

#[tokio::test]
async fn a_parked_item_is_forgotten_as_a_dead_job_is() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker_on(terms(Retention::default()));
    fixture.push(b"\x80\x04K\x01.");
    assert_eq!(worker.claim(5).await.jobs, []);
    let parked: Vec<String> = fixture.ask(&["ZRANGE", DEAD, "0", "-1"]);
    age(&mut fixture, DEAD, &parked[0], 91 * DAY).await;
    assert_eq!(purge(&mut fixture, &worker).await, 1);
    assert_eq!(fixture.ask::<u64>(&["HLEN", "workerpool:queue:records"]), 0);
}

#[tokio::test]
async fn what_somebody_reset_is_not_forgotten() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker_on(terms(Retention::default()));
    let waits = ended(&fixture, &worker, Ending::Complete { result: None }).await;
    let dead = ended(&fixture, &worker, failed()).await;
    fixture.reset(&waits);
    fixture.reset(&dead);
    age(&mut fixture, FINISHED, waits.as_str(), 8 * DAY).await;
    age(&mut fixture, DEAD, dead.as_str(), 91 * DAY).await;
    assert_eq!(purge(&mut fixture, &worker).await, 0);
    for id in [&waits, &dead] {
        assert_eq!(traces(&mut fixture, id), [true, false, true]);
    }
    let claims = worker.claim(5).await;
    assert_eq!(claims.jobs.len(), 2);
    assert!(claims.jobs.iter().all(|claimed| claimed.attempt == 1));
}

#[tokio::test]
async fn one_tick_forgets_thousands() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker_on(terms(Retention::default()));
    let fill = "for i = 1, 2500 do
        redis.call('ZADD', KEYS[1], i, 'old-' .. i)
        redis.call('ZADD', KEYS[2], i, 'old-' .. i)
        redis.call('HSET', KEYS[3], 'old-' .. i, '')
    end";
    fixture.ask::<()>(&[
        "EVAL",
        fill,
        "3",
        FINISHED,
        "workerpool:queue:index",
        "workerpool:queue:records",
    ]);
    assert_eq!(purge(&mut fixture, &worker).await, 2_500);
    for key in [FINISHED, "workerpool:queue:index", "workerpool:queue:records"] {
        assert_eq!(fixture.ask::<u64>(&["EXISTS", key]), 0, "{key}");
    }
}

#[tokio::test]
async fn a_cancelled_job_that_is_forgotten_before_its_turn_is_still_dropped() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker_on(terms(Retention::default()));
    let id = fixture.submit(1).await.remove(0);
    fixture.mark_cancelled(&id);
    fixture.ask::<()>(&["ZADD", FINISHED, "1", id.as_str()]);
    assert_eq!(purge(&mut fixture, &worker).await, 1);
    assert_eq!(fixture.ask::<u64>(&["LLEN", MAIN]), 1);
    assert_eq!(worker.claim(5).await.jobs, []);
    let reading = fixture.reading().await;
    assert_eq!(
        (reading.delayed, reading.dead, reading.counts.dropped_cancelled),
        (0, 0, 1)
    );
    // And nothing of it hinders a job of the same id.
    fixture.reset(&id);
    assert_eq!(worker.claim_one().await.job.id, id);
    assert_eq!(item::read(&item::write(&id)), Some(id));
}
