//! What is given up is kept, shown, given another try or forgotten.

use std::time::Duration;

use queue::{Cursor, Dead, Ending, Error, Finish, Identity, JobId, Nonce, Retried, Retry, Status, Terms};

use crate::common::{Fixture, MAIN, Worker};

const DEAD: &str = "workerpool:queue:dead";

/// A worker for whom so many failures are enough.
pub(crate) fn worker_that_gives_up_after(failures: u32, fixture: &Fixture) -> Worker {
    let identity = Identity {
        nonce: Nonce::fresh(),
        pod_uid: None,
        pod_name: None,
        ip: "10.0.0.7".to_owned(),
        host: None,
    };
    let terms = Terms {
        retry: Retry {
            max_attempts: failures,
            ..Retry::default()
        },
        ..Terms::default()
    };
    let consumer = queue::Consumer::new(&fixture.server(), fixture.queue.clone(), identity.clone(), terms);
    Worker {
        consumer: consumer.unwrap(),
        identity,
    }
}

/// Submits jobs and lets each fail for the last time.
async fn let_die(n: usize, fixture: &Fixture) -> Vec<JobId> {
    let ids = fixture.submit(n).await;
    let worker = worker_that_gives_up_after(1, fixture);
    for _ in 0..n {
        let claimed = worker.claim_one().await;
        let error = format!("no luck with {}", claimed.job.start);
        let end = worker
            .end(&claimed.job.id, &claimed.token, Ending::Failed { error })
            .await;
        assert_eq!(end, Finish::Dead);
    }
    ids
}

fn members(entries: &[Dead]) -> Vec<String> {
    entries.iter().map(|dead| dead.member.clone()).collect()
}

#[tokio::test]
async fn the_dead_are_listed_with_reason_error_and_history() {
    let fixture = Fixture::new();
    let id = let_die(1, &fixture).await.remove(0);
    let page = fixture.producer().dead(None, 10).await.unwrap();

    assert_eq!(page.next, None);
    let dead = &page.entries[0];
    let job = dead.job.as_ref().unwrap();
    assert_eq!((&job.id, &job.status), (&id, &Status::Failed));
    assert_eq!(
        (dead.member.as_str(), dead.reason.as_str()),
        (id.as_str(), "failed")
    );
    assert_eq!(dead.error.as_deref(), Some("no luck with start 0"));
    assert_eq!((dead.attempts, dead.failures, dead.lost), (1, 1, 0));
    assert_eq!(dead.history.last().unwrap().error, dead.error);
    assert!(dead.since_ms >= job.submitted_ms.unwrap());
    let details = fixture.producer().details(&id).await.unwrap().unwrap();
    assert_eq!(details.error, dead.error);
    assert_eq!(details.reason.as_deref(), Some("failed"));
    assert_eq!(details.finished_ms, Some(dead.since_ms));
}

#[tokio::test]
async fn pages_of_the_dead_show_each_once_also_of_one_millisecond() {
    let mut fixture = Fixture::new();
    let mut expected: Vec<String> = (0..25).map(|i| format!("id-{i:02}")).collect();
    for (i, id) in expected.iter().enumerate() {
        // Seven of the first millisecond, then five, then one by one.
        let since = match i {
            0..7 => 1_764_000_000_000_u64,
            7..12 => 1_764_000_000_001,
            i => 1_764_000_000_000 + i as u64,
        };
        fixture.ask::<()>(&["ZADD", DEAD, &since.to_string(), id]);
    }
    expected.reverse();
    let producer = fixture.producer();
    for limit in [1, 2, 3, 7, 24, 25, 1_000] {
        let (mut listed, mut cursor) = (Vec::new(), None::<Cursor>);
        loop {
            let page = producer.dead(cursor.as_ref(), limit).await.unwrap();
            listed.extend(members(&page.entries));
            assert!(listed.len() <= expected.len(), "{limit} a page goes round");
            let Some(next) = page.next else { break };
            assert_eq!(page.entries.len(), limit);
            // As it comes back from a user.
            cursor = Some(next.to_string().parse().unwrap());
        }
        assert_eq!(listed, expected, "{limit} a page");
    }
    for limit in [0, 1_001] {
        assert!(matches!(producer.dead(None, limit).await, Err(Error::Config(_))));
    }
}

#[tokio::test]
async fn a_retried_job_waits_at_the_tail_once_and_has_all_its_attempts_again() {
    let mut fixture = Fixture::new();
    let id = let_die(1, &fixture).await.remove(0);
    let other = fixture.submit(1).await.remove(0);
    let producer = fixture.producer();

    let (one, two) = tokio::join!(producer.retry(&id), producer.retry(&id));
    let answers = [one.unwrap(), two.unwrap()];
    assert!(answers.contains(&Retried::Yes), "{answers:?}");
    assert!(
        answers.contains(&Retried::NotDead(Status::Submitted)),
        "{answers:?}"
    );
    assert_eq!(fixture.waiting(), [other, id.clone()]);
    let job = producer.get(&id).await.unwrap().unwrap();
    assert_eq!((job.status, job.worker), (Status::Submitted, None));
    let details = producer.details(&id).await.unwrap().unwrap();
    assert_eq!((details.failures, details.lost, details.reason), (0, 0, None));
    let past: Vec<_> = details.history.iter().map(|past| past.what.as_str()).collect();
    assert_eq!(past, ["failed", "retried"]);

    // With a bound of two, the first failure after the retry is not the last.
    let worker = worker_that_gives_up_after(2, &fixture);
    worker.claim_one().await;
    let claimed = worker.claim_one().await;
    assert_eq!(claimed.job.id, id);
    let error = "again".to_owned();
    let end = worker.end(&id, &claimed.token, Ending::Failed { error }).await;
    assert!(matches!(end, Finish::Retried { .. }), "{end:?}");
}

#[tokio::test]
async fn only_the_dead_are_retried() {
    let mut fixture = Fixture::new();
    let ids = fixture.submit(2).await;
    let (producer, worker) = (fixture.producer(), fixture.worker());
    let claimed = worker.claim_one().await;
    worker.complete(&ids[0], &claimed.token).await;
    let before = fixture.everything();

    assert_eq!(
        producer.retry(&ids[0]).await,
        Ok(Retried::NotDead(Status::Complete))
    );
    assert_eq!(
        producer.retry(&ids[1]).await,
        Ok(Retried::NotDead(Status::Submitted))
    );
    assert_eq!(producer.retry(&JobId::fresh()).await, Ok(Retried::NotFound));
    fixture.assert_unchanged(&before, "none was dead");
}

#[tokio::test]
async fn a_dead_job_that_a_foreign_program_completed_is_not_done_again() {
    let mut fixture = Fixture::new();
    let id = let_die(1, &fixture).await.remove(0);
    let raw = fixture.raw.on(3);
    raw.ask::<()>(&["HSET", &format!("job.{id}"), "status", "complete"]);

    let answer = fixture.producer().retry(&id).await;
    assert_eq!(answer, Ok(Retried::NotDead(Status::Complete)));
    assert_eq!(fixture.waiting(), []);
}

#[tokio::test]
async fn many_are_retried_and_deleted_in_parts() {
    let mut fixture = Fixture::new();
    let all: Vec<String> = (0..1_200).map(|i| format!("id-{i}")).collect();
    let mut jobs = redis::pipe();
    for id in &all {
        jobs.cmd("SELECT").arg(3).ignore();
        let fields = [("id", id.as_str()), ("status", "failed"), ("worker", "10.0.0.7")];
        jobs.hset_multiple(format!("job.{id}"), &fields).ignore();
        jobs.cmd("SELECT").arg(2).ignore();
        jobs.zadd(DEAD, id, 1).ignore();
        jobs.zadd("workerpool:queue:index", id, 1).ignore();
    }
    fixture.raw.pipeline(&jobs);
    let producer = fixture.producer();

    let unknown = ["unknown".to_owned(), all[0].clone()];
    assert_eq!(
        producer.retry_dead(&[&all[..600], &unknown].concat()).await,
        Ok(600)
    );
    assert_eq!(fixture.waiting().len(), 600);
    assert_eq!(
        producer.delete_dead(&[&all[..], &unknown].concat()).await,
        Ok(600)
    );
    assert_eq!(fixture.ask::<u64>(&["ZCARD", DEAD]), 0);
    assert_eq!(fixture.ask::<u64>(&["ZCARD", "workerpool:queue:index"]), 600);
    assert_eq!(fixture.raw.on(3).ask::<u64>(&["DBSIZE"]), 600);
    let counts = fixture.reading().await.counts;
    assert_eq!((counts.retried, counts.deleted), (600, 600));
}

#[tokio::test]
async fn garbage_comes_back_as_it_was_and_is_forgotten_when_it_is_deleted() {
    let mut fixture = Fixture::new();
    fixture.ask::<()>(&["RPUSH", MAIN, "no\njob"]);
    let (producer, worker) = (fixture.producer(), fixture.worker());
    worker.claim(1).await;
    let page = producer.dead(None, 10).await.unwrap();
    let garbage = &page.entries[0];
    assert!(garbage.member.starts_with("item:"), "{garbage:?}");
    assert_eq!((garbage.reason.as_str(), &garbage.job), ("not a job id", &None));

    let members = members(&page.entries);
    assert_eq!(producer.retry_dead(&members).await, Ok(1));
    let items: Vec<String> = fixture.ask(&["LRANGE", MAIN, "0", "-1"]);
    assert_eq!(items, ["no\njob"]);
    worker.claim(1).await;
    assert_eq!(producer.delete_dead(&members).await, Ok(1));
    assert_eq!(fixture.reading().await.dead, 0);
    assert_eq!(fixture.ask::<u64>(&["HLEN", "workerpool:queue:records"]), 0);
}

#[tokio::test]
async fn a_deleted_job_leaves_nothing_but_one_that_began_anew_keeps_its_place() {
    let mut fixture = Fixture::new();
    let ids = let_die(2, &fixture).await;
    let raw = fixture.raw.on(3);
    raw.ask::<()>(&["HSET", &format!("job.{}", ids[1]), "status", "submitted"]);
    let producer = fixture.producer();

    let members = [ids[0].to_string(), ids[1].to_string()];
    assert_eq!(producer.delete_dead(&members).await, Ok(2));
    assert_eq!(producer.get(&ids[0]).await.unwrap(), None);
    assert_eq!(producer.details(&ids[0]).await.unwrap(), None);
    assert_eq!(fixture.status(&ids[1]).as_deref(), Some("submitted"));
    assert_eq!(fixture.ask::<u64>(&["HLEN", "workerpool:queue:records"]), 0);
    let listed = producer.list(None, 10).await.unwrap().jobs;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, ids[1]);
}

#[tokio::test]
async fn details_tell_when_a_delayed_job_is_due() {
    let fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    let (producer, worker) = (fixture.producer(), fixture.worker());
    let details = producer.details(&id).await.unwrap().unwrap();
    assert_eq!(details, queue::Details::default());
    let claimed = worker.claim_one().await;
    let after = Duration::from_secs(60);
    worker.end(&id, &claimed.token, Ending::Later { after }).await;

    let details = producer.details(&id).await.unwrap().unwrap();
    let now = fixture.reading().await.server_time_ms;
    let due = details.due_ms.unwrap();
    assert!(due > now + 50_000 && due <= now + 60_000, "{due} {now}");
    assert_eq!((details.attempts, details.finished_ms), (0, None));
    assert_eq!(producer.details(&JobId::fresh()).await.unwrap(), None);
}
