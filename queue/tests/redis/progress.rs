//! How far runs are, as their handlers say.

use queue::{Claimed, JobId, Progress, Token};

use crate::common::{Fixture, failed, pair};

fn at(percent: impl Into<Option<u8>>, message: &str) -> Progress {
    Progress {
        percent: percent.into(),
        message: message.to_owned(),
    }
}

fn said(claimed: &Claimed, progress: Progress) -> (JobId, Token, Progress) {
    let (id, token) = pair(claimed);
    (id, token, progress)
}

#[tokio::test]
async fn what_a_run_said_last_is_shown_with_its_job_also_when_it_is_over() {
    let fixture = Fixture::new();
    let (producer, worker) = (fixture.producer(), fixture.worker());
    let id = fixture.submit(1).await.remove(0);
    let shown = async || producer.get(&id).await.unwrap().unwrap().progress;
    assert_eq!(shown().await, None);
    let claimed = worker.claim_one().await;
    assert_eq!(shown().await, None);
    for progress in [at(42, "resizing"), at(None, ""), at(0, "é")] {
        let report = [said(&claimed, progress.clone())];
        worker.consumer.report(&report).await.unwrap();
        assert_eq!(shown().await, Some(progress));
    }
    worker.complete(&id, &claimed.token).await;
    assert_eq!(shown().await, Some(at(0, "é")));
}

#[tokio::test]
async fn what_the_last_run_said_is_shown_until_the_next_one_begins() {
    let mut fixture = Fixture::new();
    let (producer, worker) = (fixture.producer(), fixture.worker());
    let id = fixture.submit(1).await.remove(0);
    let shown = async || producer.get(&id).await.unwrap().unwrap().progress;
    let claimed = worker.claim_one().await;
    let report = [said(&claimed, at(42, "resizing"))];
    worker.consumer.report(&report).await.unwrap();
    worker.end(&id, &claimed.token, failed()).await;
    assert_eq!(shown().await, Some(at(42, "resizing")));
    fixture.make_due(std::slice::from_ref(&id));
    worker.consumer.tick().await.unwrap();
    worker.claim_one().await;
    assert_eq!(shown().await, None);
}

#[tokio::test]
async fn one_call_tells_of_many_runs_and_of_each_the_last_thing_it_said() {
    let fixture = Fixture::new();
    let worker = fixture.worker();
    let ids = fixture.submit(3).await;
    let claims = worker.claim(3).await.jobs;
    let reports = [
        said(&claims[0], at(1, "")),
        said(&claims[2], at(3, "")),
        said(&claims[0], at(2, "")),
    ];
    worker.consumer.report(&reports).await.unwrap();
    let mut shown = Vec::new();
    for id in &ids {
        shown.push(fixture.producer().get(id).await.unwrap().unwrap().progress);
    }
    assert_eq!(shown, [Some(at(2, "")), None, Some(at(3, ""))]);
}

#[tokio::test]
async fn only_who_holds_a_job_says_how_far_it_is() {
    let mut fixture = Fixture::new();
    let (lost, other) = (fixture.worker(), fixture.worker());
    let id = fixture.submit(1).await.remove(0);
    let before = lost.claim_one().await;
    fixture.reap(&id, &other).await;
    let report = [said(&before, at(99, "late"))];
    let untouched = fixture.everything();
    lost.consumer.report(&report).await.unwrap();
    fixture.assert_unchanged(&untouched, "it was reaped");

    fixture.make_due(std::slice::from_ref(&id));
    other.consumer.tick().await.unwrap();
    let claimed = other.claim_one().await;
    lost.consumer.report(&report).await.unwrap();
    assert_eq!(fixture.producer().get(&id).await.unwrap().unwrap().progress, None);
    other.complete(&id, &claimed.token).await;
    let done = fixture.everything();
    other
        .consumer
        .report(&[said(&claimed, at(1, "over"))])
        .await
        .unwrap();
    fixture.assert_unchanged(&done, "its run is over");
}

#[tokio::test]
async fn more_than_all_is_all_and_a_long_message_is_cut_between_two_characters() {
    let fixture = Fixture::new();
    let worker = fixture.worker();
    let id = fixture.submit(1).await.remove(0);
    let claimed = worker.claim_one().await;
    let long = format!("x{}", "é".repeat(1_000));
    let report = [said(&claimed, at(255, &long))];
    worker.consumer.report(&report).await.unwrap();
    let progress = fixture.producer().get(&id).await.unwrap().unwrap().progress;
    assert_eq!(progress, Some(at(100, &long[..1_023])));
}
