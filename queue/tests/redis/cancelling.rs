//! A user takes a job back.

use std::time::Duration;

use queue::{Cancel, Ending, Finish, JobId, NewJob, Status, item};

use crate::{
    common::{Fixture, MAIN, pair},
    dying::worker_that_gives_up_after,
    python,
};

#[tokio::test]
async fn a_waiting_job_leaves_the_list_and_is_cancelled_for_good() {
    for mut fixture in [Fixture::new(), Fixture::new().on_one_database()] {
        let ids = fixture.submit(3).await;
        let producer = fixture.producer();

        assert_eq!(producer.cancel(&ids[1]).await, Ok(Cancel::Cancelled));
        assert_eq!(fixture.waiting(), [ids[0].clone(), ids[2].clone()]);
        assert_eq!(producer.cancel(&ids[1]).await, Ok(Cancel::AlreadyCancelled));
        let job = producer.get(&ids[1]).await.unwrap().unwrap();
        assert_eq!((job.status, job.worker), (Status::Cancelled, None));
        let details = producer.details(&ids[1]).await.unwrap().unwrap();
        assert!(details.finished_ms.is_some() && !details.cancel_requested);
        assert_eq!(details.history[0].what, "cancelled");
        let kept: Option<f64> = fixture.ask(&["ZSCORE", "workerpool:queue:finished", ids[1].as_str()]);
        assert!(kept.is_some(), "it would be kept for ever");
        assert_eq!(fixture.reading().await.waiting, 2);
    }
}

#[tokio::test]
async fn a_job_in_arrivals_is_cancelled_like_one_on_the_list() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    let worker = fixture.worker();
    worker.consumer.wake(Duration::from_secs(1)).await.unwrap();
    assert_eq!(fixture.reading().await.arrivals, 1);

    assert_eq!(fixture.producer().cancel(&id).await, Ok(Cancel::Cancelled));
    let reading = fixture.reading().await;
    assert_eq!((reading.waiting, reading.arrivals), (0, 0));
    assert_eq!(worker.claim(1).await.jobs, []);
    assert_eq!(fixture.status(&id).as_deref(), Some("cancelled"));
}

#[tokio::test]
async fn an_item_is_found_in_every_shape_in_which_a_python_writes_it() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    for length in [36, 300] {
        let id = JobId::new("x".repeat(length)).unwrap();
        let text = id.as_str();
        let mut items: Vec<Vec<u8>> = (0..=5).map(|protocol| python::dumps(text, protocol)).collect();
        items.push(text.as_bytes().to_vec());
        // Of Python 2: repr of a str, SHORT_BINSTRING; its memo begins at 1.
        items.push(format!("S'{text}'\np1\n.").into_bytes());
        if length < 256 {
            let short = [b"U", &[36], text.as_bytes(), b"q\x01."].concat();
            items.push([b"\x80\x02", &short[..]].concat());
            items.push(short);
        }
        for item in items {
            let hash = format!("job.{id}");
            let raw = fixture.raw.on(3);
            raw.ask::<()>(&["DEL", &hash]);
            raw.ask::<()>(&["HSET", &hash, "id", text, "status", "submitted"]);
            let mut push = redis::cmd("RPUSH");
            push.arg(MAIN).arg(&item).arg("another");
            fixture.raw.on(2).command::<()>(&push).unwrap();

            let shown = item.escape_ascii();
            assert_eq!(producer.cancel(&id).await, Ok(Cancel::Cancelled), "{shown}");
            let left: Vec<String> = fixture.ask(&["LRANGE", MAIN, "0", "-1"]);
            assert_eq!(left, ["another"], "{shown}");
            fixture.ask::<()>(&["DEL", MAIN]);
        }
    }
}

#[tokio::test]
async fn at_either_end_of_a_long_list_it_is_found_and_in_its_middle_it_is_dropped_in_its_turn() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    let ids = fixture.submit(3).await;
    let filler = || (0..6_000).map(|i| format!("filler-{i}").into_bytes());
    let item = |i: usize| std::iter::once(item::write(&ids[i]));
    let items = item(0)
        .chain(filler())
        .chain(item(1))
        .chain(filler())
        .chain(item(2));
    let mut push = redis::cmd("RPUSH");
    push.arg(MAIN).arg(items.collect::<Vec<_>>());
    fixture.ask::<()>(&["DEL", MAIN]);
    fixture.raw.on(2).command::<()>(&push).unwrap();

    assert_eq!(producer.cancel(&ids[0]).await, Ok(Cancel::Cancelled));
    assert_eq!(producer.cancel(&ids[2]).await, Ok(Cancel::Cancelled));
    assert_eq!(fixture.ask::<u64>(&["LLEN", MAIN]), 12_001);
    assert_eq!(fixture.ask::<u64>(&["SCARD", "workerpool:queue:cancelled"]), 0);

    assert_eq!(producer.cancel(&ids[1]).await, Ok(Cancel::Cancelled));
    assert_eq!(fixture.ask::<u64>(&["LLEN", MAIN]), 12_001);
    assert_eq!(fixture.reading().await.waiting, 12_000);
    fixture.ask::<()>(&["LTRIM", MAIN, "6000", "6000"]);
    assert_eq!(fixture.reading().await.waiting, 0);
    assert_eq!(fixture.worker().claim(10).await.jobs, []);
    assert_eq!(fixture.ask::<u64>(&["LLEN", MAIN]), 0);
    assert_eq!(fixture.ask::<u64>(&["SCARD", "workerpool:queue:cancelled"]), 0);
}

#[tokio::test]
async fn a_running_job_is_asked_for_and_stops_with_the_next_renewal() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    let (producer, worker) = (fixture.producer(), fixture.worker());
    let claimed = worker.claim_one().await;

    assert_eq!(producer.cancel(&id).await, Ok(Cancel::Requested));
    assert_eq!(producer.cancel(&id).await, Ok(Cancel::Requested));
    assert_eq!(fixture.status(&id).as_deref(), Some("in progress"));
    assert!(producer.details(&id).await.unwrap().unwrap().cancel_requested);
    let renewal = worker.consumer.renew(&[pair(&claimed)]).await.unwrap();
    assert_eq!(renewal.cancelled, std::slice::from_ref(&id));
    assert_eq!(
        worker.end(&id, &claimed.token, Ending::Cancelled).await,
        Finish::Cancelled
    );
    assert_eq!(fixture.status(&id).as_deref(), Some("cancelled"));
    assert_eq!(producer.cancel(&id).await, Ok(Cancel::AlreadyCancelled));
}

#[tokio::test]
async fn a_completion_that_comes_before_the_worker_stops_wins() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    let (producer, worker) = (fixture.producer(), fixture.worker());
    let claimed = worker.claim_one().await;
    producer.cancel(&id).await.unwrap();

    assert_eq!(worker.complete(&id, &claimed.token).await, Finish::Finished);
    assert_eq!(fixture.status(&id).as_deref(), Some("complete"));
    assert_eq!(producer.cancel(&id).await, Ok(Cancel::Ended(Status::Complete)));
    assert_eq!(fixture.status(&id).as_deref(), Some("complete"));
}

#[tokio::test]
async fn a_delayed_job_never_runs_again() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    let worker = fixture.worker();
    let claimed = worker.claim_one().await;
    let after = Duration::from_secs(60);
    worker.end(&id, &claimed.token, Ending::Later { after }).await;
    assert_eq!(fixture.reading().await.delayed, 1);

    assert_eq!(fixture.producer().cancel(&id).await, Ok(Cancel::Cancelled));
    assert_eq!(fixture.reading().await.delayed, 0);
    assert_eq!(fixture.status(&id).as_deref(), Some("cancelled"));
}

#[tokio::test]
async fn what_a_foreign_worker_has_cannot_be_cancelled() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    fixture.ask::<()>(&["LPOP", MAIN]);
    let hash = format!("job.{id}");
    let raw = fixture.raw.on(3);
    raw.ask::<()>(&["HSET", &hash, "status", "in progress", "worker", "10.0.0.9"]);
    let before = fixture.everything();

    assert_eq!(fixture.producer().cancel(&id).await, Ok(Cancel::Foreign));
    fixture.assert_unchanged(&before, "it is a foreign worker's");
}

#[tokio::test]
async fn what_a_foreign_worker_took_without_a_word_is_cancelled_and_leaves_no_tombstone() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    fixture.ask::<()>(&["LPOP", MAIN]);

    assert_eq!(fixture.producer().cancel(&id).await, Ok(Cancel::Cancelled));
    assert_eq!(fixture.ask::<u64>(&["SCARD", "workerpool:queue:cancelled"]), 0);
    fixture.submit(1).await;
    assert_eq!(fixture.reading().await.waiting, 1);
}

#[tokio::test]
async fn what_has_ended_or_never_was_stays_as_it_is() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    let (producer, worker) = (fixture.producer(), worker_that_gives_up_after(1, &fixture));
    let claimed = worker.claim_one().await;
    let error = "no".to_owned();
    assert_eq!(
        worker.end(&id, &claimed.token, Ending::Failed { error }).await,
        Finish::Dead
    );
    let before = fixture.everything();
    assert_eq!(producer.cancel(&id).await, Ok(Cancel::Ended(Status::Failed)));
    assert_eq!(producer.cancel(&JobId::fresh()).await, Ok(Cancel::NotFound));
    fixture.assert_unchanged(&before, "nothing was to be cancelled");
}

#[tokio::test]
async fn a_job_of_a_foreign_producer_is_cancelled_too() {
    let mut fixture = Fixture::new();
    let id = JobId::new("theirs").unwrap();
    let raw = fixture.raw.on(3);
    raw.ask::<()>(&[
        "HSET",
        "job.theirs",
        "id",
        "theirs",
        "status",
        "submitted",
        "more",
        "kept",
    ]);
    fixture.ask::<()>(&["RPUSH", MAIN, "theirs"]);

    assert_eq!(fixture.producer().cancel(&id).await, Ok(Cancel::Cancelled));
    assert_eq!(fixture.waiting(), []);
    let more: String = fixture.raw.on(3).ask(&["HGET", "job.theirs", "more"]);
    assert_eq!(more, "kept");
}

#[tokio::test]
async fn a_cancelled_job_that_is_reset_by_hand_runs() {
    let fixture_id = |job: &NewJob| format!("job.{}", job.id);
    let mut fixture = Fixture::new();
    let job = NewJob::new("a", "b");
    let producer = fixture.producer();
    producer.submit(job.clone()).await.unwrap();
    producer.cancel(&job.id).await.unwrap();
    let raw = fixture.raw.on(3);
    raw.ask::<()>(&["HSET", &fixture_id(&job), "status", "submitted"]);
    fixture.ask::<()>(&["RPUSH", MAIN, job.id.as_str()]);

    let worker = fixture.worker();
    let claimed = worker.claim_one().await;
    assert_eq!(worker.complete(&job.id, &claimed.token).await, Finish::Finished);
    assert_eq!(fixture.status(&job.id).as_deref(), Some("complete"));
}
