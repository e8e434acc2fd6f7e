//! The end of runs and the next claim in one call: as the two, one after the other.

use std::time::Duration;

use queue::{Claimed, Ended, Ending, Finish, JobResult, NewJob, Nonce, item};

use crate::common::{Fixture, MAIN, Worker, failed, ids, pair};

fn complete(claimed: &Claimed) -> Ended {
    ended(claimed, Ending::Complete { result: None })
}

fn ended(claimed: &Claimed, how: Ending) -> Ended {
    let (id, token) = pair(claimed);
    Ended { id, token, how }
}

/// Whoever repeats a turn of `worker` by its parts is answered as before.
async fn assert_parts_answer(worker: &Worker, ended: &[Ended], nonce: &Nonce, jobs: &[Claimed]) {
    let finish = worker.consumer.finish(ended).await.unwrap();
    assert_eq!(finish, vec![Finish::Finished; ended.len()]);
    assert_eq!(worker.consumer.claim(nonce, 9).await.unwrap().jobs, jobs);
}

#[tokio::test]
async fn a_turn_completes_what_ended_and_takes_what_waits() {
    let mut fixture = Fixture::new();
    let submitted = fixture.submit(5).await;
    let worker = fixture.worker_in_pod("pod-1");
    let held = worker.claim(2).await.jobs;
    let ended: Vec<_> = held.iter().map(complete).collect();

    let (finish, claims) = worker.consumer.turn(&ended, &Nonce::fresh(), 2).await.unwrap();
    assert_eq!(finish, [Finish::Finished, Finish::Finished]);
    assert_eq!(ids(&claims), submitted[2..4]);
    assert_eq!(claims.remaining, 1);
    for (id, status) in
        submitted
            .iter()
            .zip(["complete", "complete", "in progress", "in progress", "submitted"])
    {
        assert_eq!(fixture.status(id).as_deref(), Some(status));
    }
    let reading = fixture.reading().await;
    assert_eq!((reading.waiting, reading.running), (1, 2));
    assert_eq!(
        fixture.ask::<i64>(&["HGET", "workerpool:queue:holds", "pod-1"]),
        2
    );
    assert_eq!(
        worker.complete(&submitted[2], &claims.jobs[0].token).await,
        Finish::Finished
    );
}

#[tokio::test]
async fn a_turn_that_takes_less_or_more_than_it_ends_is_counted_right() {
    let mut fixture = Fixture::new();
    fixture.submit(4).await;
    let worker = fixture.worker_in_pod("pod-1");
    let mut holds = async |ended: &[Ended], slots| {
        let (_, claims) = worker.consumer.turn(ended, &Nonce::fresh(), slots).await.unwrap();
        let held: Option<i64> = fixture.ask(&["HGET", "workerpool:queue:holds", "pod-1"]);
        assert_eq!(fixture.reading().await.running, held.unwrap_or(0) as u64);
        (claims.jobs, held)
    };
    let (first, held) = holds(&[], 1).await;
    assert_eq!(held, Some(1));
    let (more, held) = holds(&[complete(&first[0])], 3).await;
    assert_eq!((more.len(), held), (3, Some(3)));
    let all: Vec<_> = more.iter().map(complete).collect();
    let (none, held) = holds(&all, 1).await;
    assert_eq!((none.len(), held), (0, None));
}

#[tokio::test]
async fn the_same_turn_again_answers_the_same_and_changes_nothing() {
    let mut fixture = Fixture::new();
    fixture.submit(4).await;
    let worker = fixture.worker();
    let held = worker.claim(3).await.jobs;
    let later = Ending::Later {
        after: Duration::from_secs(60),
    };
    let ended = [
        complete(&held[0]),
        ended(&held[1], failed()),
        ended(&held[2], later),
    ];
    let nonce = Nonce::fresh();
    let first = worker.consumer.turn(&ended, &nonce, 2).await.unwrap();
    assert_eq!(first.1.jobs.len(), 1);
    let before = fixture.everything();

    // Whoever lost the answer may have room for more by now.
    let again = worker.consumer.turn(&ended, &nonce, 3).await.unwrap();
    assert_eq!((&again.0, &again.1.jobs), (&first.0, &first.1.jobs));
    fixture.assert_unchanged(&before, "the same turn");
}

#[tokio::test]
async fn a_turn_whose_answer_was_lost_can_be_said_again_in_parts() {
    let mut fixture = Fixture::new();
    fixture.submit(4).await;
    let worker = fixture.worker();
    let held = worker.claim(2).await.jobs;
    let (ended, nonce): (Vec<_>, _) = (held.iter().map(complete).collect(), Nonce::fresh());
    let (_, claims) = worker.consumer.turn(&ended, &nonce, 2).await.unwrap();
    let before = fixture.everything();
    assert_parts_answer(&worker, &ended, &nonce, &claims.jobs).await;
    fixture.assert_unchanged(&before, "its parts");
}

#[tokio::test]
async fn who_has_lost_its_job_ends_nothing_and_takes_others_all_the_same() {
    let mut fixture = Fixture::new();
    let submitted = fixture.submit(1).await;
    let (zombie, other) = (fixture.worker(), fixture.worker());
    let lost = zombie.claim_one().await;
    fixture.reap(&submitted[0], &other).await;
    fixture.make_due(&submitted);
    other.consumer.tick().await.unwrap();
    let held = other.claim_one().await;
    let next = fixture.submit(1).await;

    let (finish, claims) = zombie
        .consumer
        .turn(&[complete(&lost)], &Nonce::fresh(), 1)
        .await
        .unwrap();
    assert_eq!(finish, [Finish::Stale]);
    assert_eq!(ids(&claims), next);
    assert_eq!(fixture.status(&submitted[0]).as_deref(), Some("in progress"));
    assert_eq!(other.complete(&held.job.id, &held.token).await, Finish::Finished);
}

#[tokio::test]
async fn a_job_that_ends_in_a_turn_is_not_taken_in_it() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker();
    for how in [Ending::Complete { result: None }, failed(), Ending::Cancelled] {
        let submitted = fixture.submit(2).await;
        let held = worker.claim_one().await;
        // A second item of it lies before the next job's.
        let item = item::write(&submitted[0]);
        let mut push = redis::cmd("LPUSH");
        push.arg(MAIN).arg(item);
        fixture.raw.on(2).command::<()>(&push).unwrap();

        let (_, claims) = worker
            .consumer
            .turn(&[ended(&held, how.clone())], &Nonce::fresh(), 2)
            .await
            .unwrap();
        assert_eq!(ids(&claims), submitted[1..], "{how:?}");
        assert_eq!(fixture.waiting(), [], "{how:?}");
        worker
            .complete(&claims.jobs[0].job.id, &claims.jobs[0].token)
            .await;
    }
}

#[tokio::test]
async fn a_pod_that_is_to_go_ends_its_jobs_and_takes_none() {
    let fixture = Fixture::new();
    let submitted = fixture.submit(2).await;
    let worker = fixture.worker_in_pod("pod-1");
    let held = worker.claim_one().await;
    let pods = ["pod-1".to_owned()];
    fixture
        .drainer()
        .drain(&fixture.queue, &pods, 1, Duration::from_secs(30))
        .await
        .unwrap();

    let (finish, claims) = worker
        .consumer
        .turn(&[complete(&held)], &Nonce::fresh(), 1)
        .await
        .unwrap();
    assert_eq!(finish, [Finish::Finished]);
    assert_eq!(claims.jobs, []);
    assert!(claims.quiet_for.is_some());
    let reading = fixture.reading().await;
    assert_eq!(
        (reading.waiting, reading.running),
        (submitted.len() as u64 - 1, 0)
    );
}

#[tokio::test]
async fn what_does_not_fit_into_one_call_is_told_all_the_same() {
    let fixture = Fixture::new();
    let (producer, worker) = (fixture.producer(), fixture.worker());
    for _ in 0..11 {
        producer.submit(NewJob::new("a", "b")).await.unwrap();
    }
    let held = worker.claim(10).await.jobs;
    let much = || Ending::Complete {
        result: Some(JobResult::new("image/png", vec![0; JobResult::MAX_BODY]).unwrap()),
    };
    let ended: Vec<_> = held.iter().map(|claimed| ended(claimed, much())).collect();
    let nonce = Nonce::fresh();
    let (finish, claims) = loop {
        // Megabytes take their time on a busy machine.
        match worker.consumer.turn(&ended, &nonce, 1).await {
            Err(error) if error.is_ambiguous() => {}
            answer => break answer.unwrap(),
        }
    };
    assert_eq!(finish, vec![Finish::Finished; 10]);
    assert_eq!(claims.jobs.len(), 1);
    // Nothing ended, or no slot is free: one of the two alone.
    let one = complete(&claims.jobs[0]);
    let (finish, none) = worker.consumer.turn(&[one], &Nonce::fresh(), 0).await.unwrap();
    assert_eq!((finish, none.jobs), (vec![Finish::Finished], vec![]));
}
