//! What jobs give.

use queue::{Claimed, Ended, Ending, Finish, JobId, JobResult, NewJob, Progress, ResultLook, Status};

use crate::common::{Fixture, Worker, pair};

fn gave(content_type: &str, body: impl Into<Vec<u8>>) -> Ending {
    Ending::Complete {
        result: Some(JobResult::new(content_type, body).unwrap()),
    }
}

async fn end(worker: &Worker, claimed: &Claimed, how: Ending) -> Finish {
    worker.end(&claimed.job.id, &claimed.token, how).await
}

#[tokio::test]
async fn a_result_is_what_was_given_to_the_byte() {
    let fixture = Fixture::new();
    let (producer, worker) = (fixture.producer(), fixture.worker());
    for size in [0, 1, 4_096, 4_097, JobResult::MAX_BODY] {
        let id = fixture.submit(1).await.remove(0);
        let body: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let claimed = worker.claim_one().await;
        let finish = end(&worker, &claimed, gave("image/png", body.clone())).await;
        assert_eq!(finish, Finish::Finished);
        let expected = JobResult::new("image/png", body).unwrap();
        assert_eq!(
            producer.result(&id).await.unwrap(),
            ResultLook::Found(expected),
            "{size}"
        );
    }
}

#[tokio::test]
async fn not_finished_and_no_such_job_and_no_result_are_told_apart() {
    let fixture = Fixture::new();
    let (producer, worker) = (fixture.producer(), fixture.worker());
    let id = producer.submit(NewJob::new("a", "b")).await.unwrap().id;
    let look = async || producer.result(&id).await.unwrap();
    assert_eq!(look().await, ResultLook::NotFinished(Status::Submitted));
    let claimed = worker.claim_one().await;
    assert_eq!(look().await, ResultLook::NotFinished(Status::InProgress));
    worker.complete(&claimed.job.id, &claimed.token).await;
    assert_eq!(look().await, ResultLook::Empty);
    let nobodys = JobId::new("nobody's").unwrap();
    assert_eq!(producer.result(&nobodys).await.unwrap(), ResultLook::NotFound);
}

fn found(content_type: &str, body: impl Into<Vec<u8>>) -> ResultLook {
    ResultLook::Found(JobResult::new(content_type, body).unwrap())
}

#[tokio::test]
async fn more_results_than_fit_into_one_call_are_all_kept() {
    let fixture = Fixture::new();
    let (producer, worker) = (fixture.producer(), fixture.worker());
    let ids = fixture.submit(20).await;
    let ended: Vec<_> = worker
        .claim(20)
        .await
        .jobs
        .iter()
        .enumerate()
        .map(|(i, claimed)| Ended {
            id: claimed.job.id.clone(),
            token: claimed.token.clone(),
            how: gave("text/plain", vec![i as u8; JobResult::MAX_BODY]),
        })
        .collect();
    assert_eq!(worker.finish(&ended).await, [Finish::Finished; 20]);
    for (i, id) in ids.iter().enumerate() {
        let expected = found("text/plain", vec![i as u8; JobResult::MAX_BODY]);
        assert_eq!(producer.result(id).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn who_no_longer_holds_a_job_gives_no_result() {
    let mut fixture = Fixture::new();
    let (producer, lost, other) = (fixture.producer(), fixture.worker(), fixture.worker());
    let id = fixture.submit(1).await.remove(0);
    let before = lost.claim_one().await;
    fixture.reap(&id, &other).await;
    assert_eq!(end(&lost, &before, gave("a/a", "late")).await, Finish::Stale);
    assert!(fixture.kept("results").is_empty());

    fixture.make_due(std::slice::from_ref(&id));
    other.consumer.tick().await.unwrap();
    let claimed = other.claim_one().await;
    assert_eq!(end(&lost, &before, gave("a/a", "late")).await, Finish::Stale);
    end(&other, &claimed, gave("b/b", "in time")).await;
    assert_eq!(end(&lost, &before, gave("a/a", "late")).await, Finish::Stale);
    assert_eq!(producer.result(&id).await.unwrap(), found("b/b", "in time"));
}

#[tokio::test]
async fn a_result_said_again_is_answered_the_same_and_changes_nothing() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker();
    fixture.submit(1).await;
    let claimed = worker.claim_one().await;
    assert_eq!(
        end(&worker, &claimed, gave("a/a", "first")).await,
        Finish::Finished
    );
    let before = fixture.everything();
    assert_eq!(
        end(&worker, &claimed, gave("a/a", "second")).await,
        Finish::Finished
    );
    fixture.assert_unchanged(&before, "it was said again");
}

#[tokio::test]
async fn what_a_foreign_program_ended_or_deleted_gets_no_result() {
    let mut fixture = Fixture::new();
    let (producer, worker) = (fixture.producer(), fixture.worker());
    for command in [&["HSET", "status", "complete"][..], &["DEL"]] {
        let id = fixture.submit(1).await.remove(0);
        let claimed = worker.claim_one().await;
        let key = format!("job.{id}");
        let command = [&command[..1], &[key.as_str()], &command[1..]].concat();
        fixture.raw.on(3).ask::<()>(&command);
        let finish = end(&worker, &claimed, gave("a/a", "in vain")).await;
        assert!(matches!(finish, Finish::Stale | Finish::Gone), "{finish:?}");
        assert!(fixture.kept("results").is_empty());
        let look = producer.result(&id).await.unwrap();
        assert!(
            matches!(look, ResultLook::Empty | ResultLook::NotFound),
            "{look:?}"
        );
    }
}

#[tokio::test]
async fn a_job_that_is_done_before_it_hears_of_its_cancellation_gives_its_result() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker();
    let id = fixture.submit(1).await.remove(0);
    let claimed = worker.claim_one().await;
    fixture.ask_to_cancel(&id);
    assert_eq!(
        end(&worker, &claimed, gave("a/a", "done")).await,
        Finish::Finished
    );
    let look = fixture.producer().result(&id).await.unwrap();
    assert_eq!(look, found("a/a", "done"));
}

#[tokio::test]
async fn a_new_run_clears_the_result_and_the_progress_of_the_last() {
    let mut fixture = Fixture::new();
    let (producer, worker) = (fixture.producer(), fixture.worker());
    let id = fixture.submit(1).await.remove(0);
    let claimed = worker.claim_one().await;
    let (held, token) = pair(&claimed);
    let report = [(held, token, Progress::default())];
    worker.consumer.report(&report).await.unwrap();
    end(&worker, &claimed, gave("a/a", vec![0; 5_000])).await;
    assert!(producer.get(&id).await.unwrap().unwrap().progress.is_some());

    fixture.reset(&id);
    let look = producer.result(&id).await.unwrap();
    assert_eq!(look, ResultLook::NotFinished(Status::Submitted));
    let claimed = worker.claim_one().await;
    assert!(fixture.kept("results").is_empty());
    assert_eq!(producer.get(&id).await.unwrap().unwrap().progress, None);
    worker.complete(&id, &claimed.token).await;
    assert_eq!(producer.result(&id).await.unwrap(), ResultLook::Empty);
}

#[tokio::test]
async fn a_result_is_forgotten_with_its_job() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker();
    worker.consumer.tick().await.unwrap();
    for reset in [false, true] {
        let id = fixture.submit(1).await.remove(0);
        let claimed = worker.claim_one().await;
        end(&worker, &claimed, gave("a/a", vec![0; 5_000])).await;
        assert_eq!(fixture.kept("results").len(), 2);
        if reset {
            fixture.reset(&id);
        }
        fixture.purge(&id, &worker).await;
        assert!(fixture.kept("results").is_empty());
    }
}
