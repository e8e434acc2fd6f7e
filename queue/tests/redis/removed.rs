//! Jobs that wait nowhere any more, because a program emptied the list.

use std::time::Duration;

use queue::{Retention, Status, Terms};

use crate::{
    common::{Fixture, MAIN, ids},
    python::Foreign,
    words::{age, sweep},
};

const SIGHTINGS: &str = "workerpool:queue:sightings";
const GRACE: Duration = Duration::from_secs(600);

/// So many jobs, and no list; it was seen so for a while.
async fn emptied(fixture: &mut Fixture, jobs: usize) -> Vec<queue::JobId> {
    let ids = fixture.submit(jobs).await;
    fixture.ask::<()>(&["DEL", MAIN]);
    assert_eq!(sweep(fixture).await.removed, 0);
    for id in &ids {
        age(fixture, id, "missing", GRACE);
    }
    ids
}

#[tokio::test]
async fn jobs_of_emptied_list_are_dead_after_a_while_and_can_be_retried() {
    let mut fixture = Fixture::new();
    let submitted = emptied(&mut fixture, 3).await;
    assert_eq!(sweep(&mut fixture).await.removed, 3);
    let (producer, worker) = (fixture.producer(), fixture.worker());
    let dead = producer.dead(None, 10).await.unwrap().entries;
    assert_eq!(dead.len(), 3);
    for entry in &dead {
        assert_eq!(entry.reason, "removed from the queue");
        assert_eq!(entry.job.as_ref().unwrap().status, Status::Failed);
    }
    let reading = fixture.reading().await;
    assert_eq!(
        (reading.dead, reading.counts.removed, reading.counts.dead),
        (3, 3, 3)
    );
    assert_eq!(fixture.ask::<u64>(&["HLEN", SIGHTINGS]), 0);
    assert_eq!(sweep(&mut fixture).await.removed, 0);

    let members: Vec<_> = submitted.iter().map(ToString::to_string).collect();
    assert_eq!(producer.retry_dead(&members[..2]).await.unwrap(), 2);
    assert_eq!(ids(&worker.claim(5).await), submitted[..2]);
    // The third goes with its retention.
    assert_eq!(fixture.purge(&submitted[2], &worker).await, 1);
    assert_eq!(producer.get(&submitted[2]).await.unwrap(), None);
}

#[tokio::test]
async fn missing_job_is_left_alone_until_its_while_is_over() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    fixture.ask::<()>(&["DEL", MAIN]);
    sweep(&mut fixture).await;
    age(&mut fixture, &id, "missing", GRACE - Duration::from_secs(5));
    assert_eq!(sweep(&mut fixture).await.removed, 0);
    assert_eq!(fixture.status(&id).as_deref(), Some("submitted"));
}

#[tokio::test]
async fn job_that_was_taken_just_now_has_its_whole_while() {
    let mut fixture = Fixture::new();
    let submitted = emptied(&mut fixture, 2).await;
    // Somebody pushes one of them anew: it waits, whatever was seen before.
    fixture.submit(1).await;
    fixture.push(&queue::item::write(&submitted[0]));
    assert_eq!(sweep(&mut fixture).await.removed, 1);
    assert_eq!(fixture.status(&submitted[0]).as_deref(), Some("submitted"));
    // A foreign worker takes it, and has not said so yet.
    fixture.ask::<()>(&["DEL", MAIN]);
    assert_eq!(sweep(&mut fixture).await.removed, 0);
    assert_eq!(fixture.status(&submitted[0]).as_deref(), Some("submitted"));
    let seen: Option<Vec<u8>> = fixture.ask(&["HGET", SIGHTINGS, submitted[0].as_str()]);
    assert!(seen.is_some());
}

#[tokio::test]
async fn long_list_is_not_looked_through() {
    let mut fixture = Fixture::new();
    let submitted = emptied(&mut fixture, 1).await;
    for _ in 0..2 {
        fixture.submit(501).await;
    }
    assert_eq!(sweep(&mut fixture).await.removed, 0);
    assert_eq!(fixture.status(&submitted[0]).as_deref(), Some("submitted"));
    // The while begins when it can be known again.
    let first: Vec<u8> = fixture.ask(&["LINDEX", MAIN, "0"]);
    let newer = queue::item::read(&first).unwrap();
    fixture.ask::<()>(&["LTRIM", MAIN, "0", "9"]);
    assert_eq!(sweep(&mut fixture).await.removed, 0);
    age(&mut fixture, &submitted[0], "missing", GRACE);
    assert_eq!(sweep(&mut fixture).await.removed, 1);
    assert_eq!(fixture.status(&newer).as_deref(), Some("submitted"));
}

#[tokio::test]
async fn delayed_and_held_jobs_are_not_missing() {
    let mut fixture = Fixture::new();
    let submitted = fixture.submit(2).await;
    let worker = fixture.worker();
    let claims = worker.claim(2).await.jobs;
    let later = queue::Ending::Later {
        after: Duration::from_secs(3_600),
    };
    worker.end(&claims[0].job.id, &claims[0].token, later).await;
    let raw = fixture.raw.on(3);
    raw.ask::<()>(&["HSET", &format!("job.{}", submitted[1]), "status", "submitted"]);
    sweep(&mut fixture).await;
    assert_eq!(fixture.ask::<u64>(&["HLEN", SIGHTINGS]), 0);
}

#[tokio::test]
async fn worker_that_says_nothing_before_the_end_keeps_its_job_for_an_hour() {
    let mut fixture = Fixture::new();
    let mut worker = Foreign::taking(&fixture.redis);
    let id = fixture.submit(1).await.remove(0);
    worker.says_so();
    sweep(&mut fixture).await;
    age(&mut fixture, &id, "missing", GRACE);
    assert_eq!(sweep(&mut fixture).await.removed, 0, "it may be at work on it");
    age(&mut fixture, &id, "missing", Duration::from_secs(3_000));
    assert_eq!(sweep(&mut fixture).await.removed, 1);
    // It says so after all, and nothing runs twice.
    worker.go_on();
    worker.says_so();
    assert_eq!(fixture.status(&id).as_deref(), Some("complete"));
    assert_eq!(fixture.producer().retry_dead(&[id.to_string()]).await.unwrap(), 0);
}

#[tokio::test]
async fn removed_jobs_are_forgotten_with_the_dead() {
    let mut fixture = Fixture::new();
    emptied(&mut fixture, 2).await;
    sweep(&mut fixture).await;
    let terms = Terms {
        retention: Retention {
            dead: Some(Duration::from_millis(1)),
            ..Retention::default()
        },
        ..Terms::default()
    };
    let (drainer, queue) = (fixture.drainer(), fixture.queue.clone());
    crate::common::eventually("they are forgotten", || async {
        (drainer.tick(&queue, &terms).await.unwrap().purged == 2).then_some(())
    })
    .await;
}
