//! What one job has otherwise than the other jobs of its queue.

use std::time::Duration;

use queue::{Ending, Finish, JobOptions, NewJob, Retry, Terms};

use crate::common::{Fixture, Worker, failed};

fn with(options: JobOptions) -> NewJob {
    NewJob {
        options,
        ..NewJob::new("a", "b")
    }
}

fn attempts(max_attempts: u32) -> NewJob {
    with(JobOptions {
        max_attempts: Some(max_attempts),
        ..JobOptions::default()
    })
}

/// How many runs it takes until the job is dead.
async fn runs_until_dead(fixture: &mut Fixture, worker: &Worker, how: &Ending) -> u32 {
    for run in 1..20 {
        let claimed = worker.claim_one().await;
        let id = &claimed.job.id;
        if worker.end(id, &claimed.token, how.clone()).await == Finish::Dead {
            return run;
        }
        fixture.make_due(std::slice::from_ref(id));
        worker.consumer.tick().await.unwrap();
    }
    panic!("it is tried for ever");
}

#[tokio::test]
async fn a_job_has_as_many_attempts_as_it_says_itself() {
    let mut fixture = Fixture::new();
    let (producer, worker) = (fixture.producer(), fixture.worker());
    let timed_out = Ending::TimedOut {
        error: "it took too long".to_owned(),
    };
    for how in [failed(), timed_out] {
        for (job, runs) in [
            (NewJob::new("a", "b"), 3),
            (attempts(1), 1),
            (attempts(5), 5),
            (attempts(0), 1),
        ] {
            producer.submit(job).await.unwrap();
            assert_eq!(runs_until_dead(&mut fixture, &worker, &how).await, runs);
        }
    }
}

#[tokio::test]
async fn the_attempts_of_a_job_that_says_how_many_are_spent_by_lost_workers_too() {
    let mut fixture = Fixture::new();
    let (producer, worker) = (fixture.producer(), fixture.worker());
    worker.consumer.tick().await.unwrap();
    let once = producer.submit(attempts(1)).await.unwrap().id;
    worker.claim_one().await;
    fixture.reap(&once, &worker).await;
    assert_eq!(fixture.status(&once).as_deref(), Some("failed"));
    assert_eq!(fixture.record::<String>(once.as_str(), "reason"), "worker lost");

    // One lost and one failed make two.
    let twice = producer.submit(attempts(2)).await.unwrap().id;
    worker.claim_one().await;
    fixture.reap(&twice, &worker).await;
    fixture.make_due(std::slice::from_ref(&twice));
    worker.consumer.tick().await.unwrap();
    assert_eq!(runs_until_dead(&mut fixture, &worker, &failed()).await, 1);
}

#[tokio::test]
async fn a_retried_job_has_all_of_its_attempts_again() {
    let mut fixture = Fixture::new();
    let (producer, worker) = (fixture.producer(), fixture.worker());
    let id = producer.submit(attempts(2)).await.unwrap().id;
    for _ in 0..2 {
        assert_eq!(runs_until_dead(&mut fixture, &worker, &failed()).await, 2);
        producer.retry(&id).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_job_says_of_itself_is_told_to_who_claims_it_in_each_run() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker_on(Terms {
        retry: Retry {
            max_attempts: 1,
            ..Retry::default()
        },
        ..Terms::default()
    });
    let options = JobOptions {
        max_attempts: Some(7),
        timeout: Some(Duration::from_millis(1_500)),
        watched: false,
    };
    let producer = fixture.producer();
    let id = producer.submit(with(options)).await.unwrap().id;
    for attempt in [1, 2] {
        let claimed = worker.claim_one().await;
        assert_eq!(claimed.attempt, attempt);
        assert_eq!(
            (claimed.timeout, claimed.max_attempts),
            (options.timeout, Some(7))
        );
        worker.end(&id, &claimed.token, failed()).await;
        fixture.make_due(std::slice::from_ref(&id));
        worker.consumer.tick().await.unwrap();
    }
    producer.cancel(&id).await.unwrap();
    fixture.reset(&id);
    let claimed = worker.claim_one().await;
    assert_eq!((claimed.attempt, claimed.timeout), (1, options.timeout));

    producer.submit(NewJob::new("a", "b")).await.unwrap();
    let plain = worker.claim_one().await;
    assert_eq!(
        (plain.timeout, plain.max_attempts, plain.payload),
        (None, None, None)
    );
}

#[tokio::test]
async fn the_options_of_the_first_submission_hold() {
    let fixture = Fixture::new();
    let producer = fixture.producer();
    let first = attempts(7);
    let again = NewJob {
        options: JobOptions::default(),
        ..first.clone()
    };
    producer.submit(first.clone()).await.unwrap();
    producer.submit(again).await.unwrap();
    producer
        .submit(NewJob {
            id: first.id,
            ..attempts(9)
        })
        .await
        .unwrap();
    assert_eq!(fixture.worker().claim_one().await.max_attempts, Some(7));
}

#[tokio::test]
async fn a_job_that_brings_nothing_along_has_no_record_until_it_is_claimed() {
    let mut fixture = Fixture::new();
    fixture.submit(3).await;
    assert!(fixture.kept("records").is_empty());
    let keys: Vec<String> = fixture.ask(&["KEYS", "*"]);
    assert_eq!(keys.len(), 2, "{keys:?}");
}

#[tokio::test]
async fn options_are_told_of_a_job_before_and_after_its_first_run() {
    let fixture = Fixture::new();
    let producer = fixture.producer();
    let options = JobOptions {
        max_attempts: Some(7),
        timeout: Some(Duration::from_millis(1_500)),
        watched: true,
    };
    let id = producer.submit(with(options)).await.unwrap().id;
    let told = async || producer.details(&id).await.unwrap().unwrap().options;
    assert_eq!(told().await, options);
    fixture.worker().claim_one().await;
    assert_eq!(told().await, options);
    let plain = producer.submit(NewJob::new("a", "b")).await.unwrap().id;
    let details = producer.details(&plain).await.unwrap().unwrap();
    assert_eq!(details.options, JobOptions::default());
}
