//! Jobs that programs which are not ours end with words of their own.

use std::time::Duration;

use queue::{Cancel, JobId, JobOptions, NewJob, Queue, ResultLook, Retention, Status, Sweep, Terms};

use crate::common::{Fixture, MAIN, eventually, ids};

const SIGHTINGS: &str = "workerpool:queue:sightings";

fn knowing(words: &[&str]) -> Fixture {
    let mut fixture = Fixture::new();
    fixture.queue.final_statuses = words.iter().map(|word| word.parse().unwrap()).collect();
    fixture
}

/// A job of ours that a foreign worker took, and ended with this word.
async fn ended_with(fixture: &mut Fixture, word: &str) -> JobId {
    let new = NewJob {
        options: JobOptions {
            watched: true,
            ..JobOptions::default()
        },
        ..NewJob::new("a", "b")
    };
    let id = fixture.producer().submit(new).await.unwrap().id;
    fixture.ask::<()>(&["LPOP", MAIN]);
    let raw = fixture.raw.on(3);
    raw.ask::<()>(&["HSET", &format!("job.{id}"), "status", word, "worker", "10.0.0.9"]);
    id
}

/// Sweeps as if the last sweep were long ago.
pub(crate) async fn sweep(fixture: &mut Fixture) -> Sweep {
    let again = "redis.call('HDEL', KEYS[1], 'swept')
        for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do redis.call('ZADD', KEYS[2], 0, id) end";
    let keys = ["workerpool:queue:ticks", "workerpool:queue:suspects"];
    fixture.ask::<()>(&[&["EVAL", again, "2"], &keys[..]].concat());
    let drainer = fixture.drainer();
    let sweep = drainer.sweep(&fixture.queue, &Terms::default(), false).await;
    sweep.unwrap()
}

/// As if what was seen of this job had been seen so long ago.
pub(crate) fn age(fixture: &mut Fixture, id: &JobId, field: &str, by: Duration) {
    let script = "local sighting = cmsgpack.unpack(redis.call('HGET', KEYS[1], ARGV[1]))
        sighting[ARGV[2]] = sighting[ARGV[2]] - ARGV[3]
        redis.call('HSET', KEYS[1], ARGV[1], cmsgpack.pack(sighting))";
    let by = by.as_millis().to_string();
    fixture.ask::<()>(&["EVAL", script, "1", SIGHTINGS, id.as_str(), field, &by]);
}

async fn purged_soon(fixture: &Fixture, queue: &Queue) {
    let terms = Terms {
        retention: Retention {
            finished: Some(Duration::from_millis(1)),
            ..Retention::default()
        },
        ..Terms::default()
    };
    let drainer = fixture.drainer();
    let drainer = &drainer;
    eventually("it is forgotten", || async {
        (drainer.tick(queue, &terms).await.unwrap().purged == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn job_with_final_word_of_settings_has_ended_and_is_purged() {
    let mut fixture = knowing(&["done", "finished"]);
    let id = ended_with(&mut fixture, "finished").await;
    let producer = fixture.producer();
    let finished = Status::Other("finished".to_owned());
    // Before any sweep.
    assert_eq!(
        producer.result(&id).await.unwrap(),
        ResultLook::EndedElsewhere(finished)
    );
    let before = fixture.hash(&id);
    assert_eq!(sweep(&mut fixture).await.suspects, 0);
    assert_eq!(fixture.hash(&id), before, "its words are its program's");
    assert_eq!(fixture.ask::<u64>(&["ZCARD", "workerpool:queue:suspects"]), 0);
    let details = producer.details(&id).await.unwrap().unwrap();
    assert!(details.finished_ms.is_some());
    assert_eq!(details.history[0].what, "ended by another program");
    assert_eq!(fixture.reading().await.counts.foreign_ended, 1);
    let state = producer
        .states(std::slice::from_ref(&id))
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    assert_eq!(state.finished_ms, details.finished_ms);
    let told: Vec<_> = producer.take_changed(10).await.unwrap();
    assert_eq!(told[0].0, id, "whoever mirrors it is told");

    let queue = fixture.queue.clone();
    purged_soon(&fixture, &queue).await;
    assert_eq!(producer.get(&id).await.unwrap(), None);
    assert_eq!(fixture.hash(&id), []);
}

#[tokio::test]
async fn unknown_word_ends_job_when_it_has_stood_for_a_while() {
    let mut fixture = Fixture::new();
    let id = ended_with(&mut fixture, "finished").await;
    let producer = fixture.producer();
    let finished = Status::Other("finished".to_owned());
    for _ in 0..2 {
        sweep(&mut fixture).await;
        let look = producer.result(&id).await.unwrap();
        assert_eq!(look, ResultLook::NotFinished(finished.clone()));
    }
    age(&mut fixture, &id, "since", Duration::from_secs(599));
    sweep(&mut fixture).await;
    assert_eq!(producer.details(&id).await.unwrap().unwrap().finished_ms, None);

    age(&mut fixture, &id, "since", Duration::from_secs(1));
    let before = fixture.hash(&id);
    sweep(&mut fixture).await;
    assert_eq!(fixture.hash(&id), before);
    let look = producer.result(&id).await.unwrap();
    assert_eq!(look, ResultLook::EndedElsewhere(finished));
    assert_eq!(fixture.ask::<u64>(&["HLEN", SIGHTINGS]), 0);
    let queue = fixture.queue.clone();
    purged_soon(&fixture, &queue).await;
    assert_eq!(fixture.hash(&id), []);
}

#[tokio::test]
async fn word_that_changes_begins_a_new_while() {
    let mut fixture = Fixture::new();
    let id = ended_with(&mut fixture, "working").await;
    sweep(&mut fixture).await;
    age(&mut fixture, &id, "since", Duration::from_secs(3_600));
    let raw = fixture.raw.on(3);
    raw.ask::<()>(&["HSET", &format!("job.{id}"), "status", "finished"]);
    sweep(&mut fixture).await;
    let details = fixture.producer().details(&id).await.unwrap().unwrap();
    assert_eq!(details.finished_ms, None);
}

#[tokio::test]
async fn job_that_ours_holds_is_not_ended_by_a_word() {
    let mut fixture = knowing(&["finished"]);
    fixture.submit(1).await;
    let worker = fixture.worker();
    let claimed = worker.claim_one().await;
    let id = claimed.job.id;
    let raw = fixture.raw.on(3);
    raw.ask::<()>(&["HSET", &format!("job.{id}"), "status", "working"]);
    sweep(&mut fixture).await;
    assert_eq!(fixture.ask::<u64>(&["HLEN", SIGHTINGS]), 0);
    // A final one is another matter: what has ended stays as it is.
    let raw = fixture.raw.on(3);
    raw.ask::<()>(&["HSET", &format!("job.{id}"), "status", "finished"]);
    let finish = worker.complete(&id, &claimed.token).await;
    assert_eq!(finish, queue::Finish::Stale);
    assert_eq!(fixture.status(&id).as_deref(), Some("finished"));
}

#[tokio::test]
async fn second_item_of_job_with_final_word_is_dropped() {
    let mut fixture = knowing(&["finished"]);
    let id = ended_with(&mut fixture, "finished").await;
    fixture.push(&queue::item::write(&id));
    let good = fixture.submit(1).await;
    assert_eq!(ids(&fixture.worker().claim(5).await), good);
    assert_eq!(fixture.reading().await.counts.dropped_terminal, 1);
}

#[tokio::test]
async fn cancel_never_overwrites_a_word_that_is_not_ours() {
    let mut fixture = Fixture::new();
    let id = ended_with(&mut fixture, "finished").await;
    let producer = fixture.producer();
    assert_eq!(producer.cancel(&id).await.unwrap(), Cancel::Foreign);
    sweep(&mut fixture).await;
    age(&mut fixture, &id, "since", Duration::from_secs(600));
    sweep(&mut fixture).await;
    let ended = Cancel::Ended(Status::Other("finished".to_owned()));
    assert_eq!(producer.cancel(&id).await.unwrap(), ended);
    assert_eq!(fixture.status(&id).as_deref(), Some("finished"));
}
