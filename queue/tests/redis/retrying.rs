//! What becomes of a job whose run failed, ran out of time, was put off or was to be cancelled.

use std::time::Duration;

use queue::{Claimed, Ended, Ending, Finish, JobId, Retry, Terms, item};

use crate::common::{Fixture, MAIN, Worker, pair};

const DELAYED: &str = "workerpool:queue:delayed";

fn failed(error: &str) -> Ending {
    Ending::Failed {
        error: error.to_owned(),
    }
}

fn allowing(max_attempts: u32) -> Terms {
    Terms {
        retry: Retry {
            max_attempts,
            ..Retry::default()
        },
        ..Terms::default()
    }
}

fn timed_out() -> Ending {
    Ending::TimedOut {
        error: "longer than 5 s".to_owned(),
    }
}

async fn end(worker: &Worker, claimed: &Claimed, how: Ending) -> Finish {
    worker.end(&claimed.job.id, &claimed.token, how).await
}

/// A job whose run has ended in this way.
async fn ended(fixture: &Fixture, worker: &Worker, how: Ending) -> (JobId, Finish) {
    let id = fixture.submit(1).await.remove(0);
    let claimed = worker.claim_one().await;
    (id, end(worker, &claimed, how).await)
}

/// Runs a delayed job again: its time comes, it is promoted and claimed.
async fn again(fixture: &mut Fixture, worker: &Worker, id: &JobId) -> Claimed {
    fixture.make_due(std::slice::from_ref(id));
    worker.consumer.tick().await.unwrap();
    worker.claim_one().await
}

fn is_retried(finish: Finish) -> bool {
    matches!(finish, Finish::Retried { .. })
}

#[tokio::test]
async fn a_failed_job_waits_as_if_nobody_had_taken_it_and_runs_again() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker();
    let (id, finish) = ended(&fixture, &worker, failed("no disk")).await;
    assert!(is_retried(finish), "{finish:?}");

    let fields: Vec<_> = fixture.hash(&id).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["end", "id", "start", "status"]);
    assert_eq!(fixture.status(&id).as_deref(), Some("submitted"));
    let reading = fixture.reading().await;
    assert_eq!((reading.delayed, reading.running, reading.waiting), (1, 0, 0));
    assert_eq!((reading.counts.failed, reading.counts.dead), (1, 0));
    assert_eq!(fixture.record::<String>(id.as_str(), "error"), "no disk");
    assert_eq!(again(&mut fixture, &worker, &id).await.attempt, 2);
}

#[tokio::test]
async fn the_wait_is_random_and_its_bound_doubles_up_to_the_cap() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker_on(allowing(100));
    let id = fixture.submit(1).await.remove(0);
    let mut claimed = worker.claim_one().await;
    let mut waits = Vec::new();
    for n in 0..20 {
        let now = fixture.reading().await.server_time_ms;
        let Finish::Retried { after } = end(&worker, &claimed, failed("again")).await else {
            panic!("it was to be retried");
        };
        let bound = Duration::from_secs(300).min(Duration::from_secs(1 << n));
        assert!(after < bound, "{after:?} after failure {n}");
        let due: u64 = fixture.ask(&["ZSCORE", DELAYED, id.as_str()]);
        let planned = now + u64::try_from(after.as_millis()).unwrap();
        assert!((planned..planned + 2_000).contains(&due), "{due} for {planned}");
        waits.push(after);
        claimed = again(&mut fixture, &worker, &id).await;
    }
    // From the tenth on the bound is the cap: the chance that all lie in the same tenth is nil.
    let late = &waits[10..];
    let (least, most) = (late.iter().min().unwrap(), late.iter().max().unwrap());
    assert!(*most > *least + Duration::from_secs(30), "{late:?}");
}

#[tokio::test]
async fn a_job_that_has_spent_its_attempts_is_dead_with_its_last_error_and_its_history() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker();
    let id = fixture.submit(1).await.remove(0);
    let first = worker.claim_one().await;
    assert!(is_retried(end(&worker, &first, failed("one")).await));
    let second = again(&mut fixture, &worker, &id).await;
    assert!(is_retried(end(&worker, &second, failed("two")).await));
    let third = again(&mut fixture, &worker, &id).await;
    assert_eq!(end(&worker, &third, failed("three")).await, Finish::Dead);

    assert_eq!(fixture.status(&id).as_deref(), Some("failed"));
    let reading = fixture.reading().await;
    assert_eq!((reading.dead, reading.delayed, reading.running), (1, 0, 0));
    assert_eq!((reading.counts.failed, reading.counts.dead), (3, 1));
    let record = id.as_str();
    assert_eq!(fixture.record::<String>(record, "reason"), "failed");
    assert_eq!(fixture.record::<String>(record, "error"), "three");
    assert_eq!(fixture.record::<u64>(record, "failures"), 3);
    let history: Vec<(u64, String, String)> = fixture.record(record, "history");
    let errors: Vec<_> = history.iter().map(|(_, _, error)| error.as_str()).collect();
    assert_eq!(errors, ["one", "two", "three"]);
}

#[tokio::test]
async fn a_job_out_of_time_has_failed_for_another_reason() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker();
    let id = fixture.submit(1).await.remove(0);
    let mut claimed = worker.claim_one().await;
    for _ in 0..2 {
        assert!(is_retried(end(&worker, &claimed, timed_out()).await));
        claimed = again(&mut fixture, &worker, &id).await;
    }
    assert_eq!(end(&worker, &claimed, timed_out()).await, Finish::Dead);
    assert_eq!(fixture.record::<String>(id.as_str(), "reason"), "timed out");
    assert_eq!(fixture.reading().await.counts.timed_out, 3);
}

#[tokio::test]
async fn a_job_put_off_waits_as_long_as_was_said_and_spends_nothing() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker();
    let later = Ending::Later {
        after: Duration::from_secs(60),
    };
    let (id, finish) = ended(&fixture, &worker, later).await;
    assert_eq!(finish, Finish::Postponed);
    let reading = fixture.reading().await;
    let wait = reading.next_due_ms.unwrap() - reading.server_time_ms;
    assert!((50_000..=60_000).contains(&wait), "{wait} ms");
    assert_eq!(again(&mut fixture, &worker, &id).await.attempt, 1);
    assert_eq!(fixture.record::<Option<u64>>(id.as_str(), "failures"), None);
}

#[tokio::test]
async fn a_batch_ends_runs_in_every_way_and_answers_each() {
    let mut fixture = Fixture::new();
    let submitted = fixture.submit(6).await;
    let worker = fixture.worker();
    let claims = worker.claim(6).await;
    fixture
        .raw
        .on(3)
        .ask::<()>(&["DEL", &format!("job.{}", submitted[5])]);
    let later = Ending::Later {
        after: Duration::from_secs(1),
    };
    let hows = [
        Ending::Complete { result: None },
        failed("it failed"),
        timed_out(),
        Ending::Cancelled,
        later,
        Ending::Complete { result: None },
    ];
    let mut all: Vec<_> = claims
        .jobs
        .iter()
        .zip(hows)
        .map(|(claimed, how)| Ended {
            id: claimed.job.id.clone(),
            token: claimed.token.clone(),
            how,
        })
        .collect();
    // The first once more, and one that nobody holds.
    all.push(all[0].clone());
    all.push(Ended {
        id: JobId::new("nobody's").unwrap(),
        ..all[0].clone()
    });

    let answers = worker.consumer.finish(&all).await.unwrap();
    assert_eq!(answers[0], Finish::Finished);
    assert!(is_retried(answers[1]) && is_retried(answers[2]), "{answers:?}");
    assert_eq!(
        answers[3..],
        [
            Finish::Cancelled,
            Finish::Postponed,
            Finish::Gone,
            Finish::Finished,
            Finish::Stale
        ]
    );
    let statuses: Vec<_> = submitted.iter().map(|id| fixture.status(id)).collect();
    let statuses: Vec<_> = statuses.iter().map(Option::as_deref).collect();
    let waits = Some("submitted");
    assert_eq!(
        statuses,
        [Some("complete"), waits, waits, Some("cancelled"), waits, None]
    );
    let reading = fixture.reading().await;
    assert_eq!((reading.running, reading.delayed, reading.completed), (0, 3, 1));
}

#[tokio::test]
async fn an_ending_whose_answer_was_lost_is_answered_the_same_again_and_changes_nothing() {
    let later = Ending::Later {
        after: Duration::from_secs(9),
    };
    for how in [
        Ending::Complete { result: None },
        failed("it"),
        timed_out(),
        Ending::Cancelled,
        later,
    ] {
        let mut fixture = Fixture::new();
        let worker = fixture.worker();
        fixture.submit(1).await;
        let claimed = worker.claim_one().await;
        let first = end(&worker, &claimed, how.clone()).await;
        let before = fixture.everything();
        assert_eq!(end(&worker, &claimed, how.clone()).await, first);
        // Not even when it says something else now.
        assert_eq!(end(&worker, &claimed, failed("other")).await, first);
        fixture.assert_unchanged(&before, &format!("{how:?} said again"));
    }
}

#[tokio::test]
async fn the_first_kibibyte_of_an_error_is_kept() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker();
    let long = "ä".repeat(100_000);
    let (id, _) = ended(&fixture, &worker, failed(&long)).await;
    assert_eq!(fixture.record::<String>(id.as_str(), "error"), "ä".repeat(512));
}

#[tokio::test]
async fn a_history_keeps_the_last_ten() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker_on(allowing(100));
    let id = fixture.submit(1).await.remove(0);
    let mut claimed = worker.claim_one().await;
    for n in 0..12 {
        end(&worker, &claimed, failed(&n.to_string())).await;
        claimed = again(&mut fixture, &worker, &id).await;
    }
    let history: Vec<(u64, String, String)> = fixture.record(id.as_str(), "history");
    let errors: Vec<_> = history.into_iter().map(|(_, _, error)| error).collect();
    assert_eq!(errors, (2..12).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_second_item_of_a_delayed_job_does_not_shorten_its_wait() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker();
    let (id, _) = ended(&fixture, &worker, failed("it")).await;
    fixture.push(&item::write(&id));
    assert_eq!(worker.claim(5).await.jobs, []);
    let reading = fixture.reading().await;
    assert_eq!((reading.waiting, reading.delayed), (0, 1));
    assert_eq!(reading.counts.duplicates, 1);
    assert_eq!(again(&mut fixture, &worker, &id).await.attempt, 2);
}

#[tokio::test]
async fn a_dead_job_that_somebody_resets_begins_anew() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker_on(allowing(1));
    let (id, finish) = ended(&fixture, &worker, failed("it")).await;
    assert_eq!(finish, Finish::Dead);
    // An item alone is not enough: it has ended.
    fixture.push(&item::write(&id));
    assert_eq!(worker.claim(5).await.jobs, []);

    fixture.reset(&id);
    let claimed = worker.claim_one().await;
    assert_eq!((&claimed.job.id, claimed.attempt), (&id, 1));
    assert_eq!(fixture.reading().await.dead, 0);
    assert_eq!(fixture.record::<Option<u64>>(id.as_str(), "failures"), None);
}

#[tokio::test]
async fn a_finished_job_that_somebody_resets_is_no_longer_among_the_finished() {
    for how in [Ending::Complete { result: None }, Ending::Cancelled] {
        let mut fixture = Fixture::new();
        let worker = fixture.worker();
        let (id, _) = ended(&fixture, &worker, how).await;
        let finished = ["ZCARD", "workerpool:queue:finished"];
        assert_eq!(fixture.ask::<u64>(&finished), 1);
        fixture.reset(&id);
        let claimed = worker.claim_one().await;
        assert_eq!(fixture.ask::<u64>(&finished), 0);
        assert_eq!(
            end(&worker, &claimed, Ending::Complete { result: None }).await,
            Finish::Finished
        );
        assert_eq!(fixture.ask::<u64>(&finished), 1);
    }
}

#[tokio::test]
async fn a_job_to_be_cancelled_is_cancelled_however_its_run_ends_unless_it_is_complete() {
    let later = Ending::Later {
        after: Duration::from_secs(9),
    };
    for (how, finish, status) in [
        (Ending::Cancelled, Finish::Cancelled, "cancelled"),
        (failed("it"), Finish::Cancelled, "cancelled"),
        (timed_out(), Finish::Cancelled, "cancelled"),
        (later, Finish::Cancelled, "cancelled"),
        (Ending::Complete { result: None }, Finish::Finished, "complete"),
    ] {
        let mut fixture = Fixture::new();
        let worker = fixture.worker();
        let id = fixture.submit(1).await.remove(0);
        let claimed = worker.claim_one().await;
        fixture.ask_to_cancel(&id);
        let renewal = worker.consumer.renew(&[pair(&claimed)]).await.unwrap();
        assert_eq!(renewal.cancelled, std::slice::from_ref(&id));
        assert_eq!(end(&worker, &claimed, how).await, finish);
        assert_eq!(fixture.status(&id).as_deref(), Some(status));
        let reading = fixture.reading().await;
        assert_eq!((reading.running, reading.delayed, reading.waiting), (0, 0, 0));
        assert_eq!(fixture.ask::<u64>(&["ZCARD", "workerpool:queue:finished"]), 1);
    }
}

#[tokio::test]
async fn a_job_to_be_cancelled_is_not_given_back() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker();
    let id = fixture.submit(1).await.remove(0);
    let claimed = worker.claim_one().await;
    fixture.ask_to_cancel(&id);
    assert_eq!(worker.consumer.give_back(&[pair(&claimed)]).await.unwrap(), 0);
    assert_eq!(fixture.status(&id).as_deref(), Some("cancelled"));
    assert_eq!(fixture.ask::<u64>(&["LLEN", MAIN]), 0);
}

#[tokio::test]
async fn an_interruption_is_counted_and_spends_nothing() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker();
    let id = fixture.submit(1).await.remove(0);
    for n in 1..=3_u64 {
        let claimed = worker.claim_one().await;
        assert_eq!(claimed.attempt, 1);
        worker.consumer.give_back(&[pair(&claimed)]).await.unwrap();
        assert_eq!(fixture.record::<u64>(id.as_str(), "interruptions"), n);
    }
    assert_eq!(fixture.record::<Option<u64>>(id.as_str(), "lost"), None);
}
