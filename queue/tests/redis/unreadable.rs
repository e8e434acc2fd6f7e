//! One entry that nobody can read, of each kind that is packed, and all else goes on.

use std::time::Duration;

use queue::{Finish, JobResult, NewJob, ResultLook};

use crate::common::{Fixture, failed, ids, pair, rich};

/// No pack, no table, and tables without what should be in them.
const GARBAGE: [&[u8]; 7] = [
    b"\xc1",
    b"",
    b"\xa3abc",
    b"\xcb",
    b"\x80",
    b"\x90",
    b"\x95\x01\x02\x03\xc0\x05",
];

fn hset(fixture: &mut Fixture, key: &str, field: &str, garbage: &[u8]) {
    let mut hset = redis::cmd("HSET");
    hset.arg(format!("workerpool:queue:{key}"))
        .arg(field)
        .arg(garbage);
    fixture.raw.on(2).command::<()>(&hset).unwrap();
}

#[tokio::test]
async fn unreadable_worker_entry_hides_no_other_worker() {
    for garbage in GARBAGE {
        let mut fixture = Fixture::new();
        let (bad, good) = (fixture.worker_in_pod("bad"), fixture.worker_in_pod("good"));
        for worker in [&bad, &good] {
            worker.consumer.beat().await.unwrap();
        }
        hset(&mut fixture, "workers", bad.identity.nonce.as_str(), garbage);
        hset(&mut fixture, "quiet", "good", b"9000000000000 nonsense");

        let told = |pods: Vec<Option<String>>| {
            let mut pods: Vec<_> = pods.into_iter().map(Option::unwrap_or_default).collect();
            pods.sort();
            pods
        };
        let registry = fixture.drainer().workers(&fixture.queue).await.unwrap();
        let overview = fixture.producer().overview().await.unwrap();
        let pods = registry.into_iter().map(|worker| worker.pod_uid).collect();
        assert_eq!(told(pods), ["", "good"], "{garbage:?}");
        let pods = overview.workers.into_iter().map(|worker| worker.state.pod_uid);
        assert_eq!(told(pods.collect()), ["", "good"], "{garbage:?}");
    }
}

#[tokio::test]
async fn worker_whose_own_entry_is_unreadable_claims_watched_jobs() {
    for garbage in GARBAGE {
        let mut fixture = Fixture::new();
        let worker = fixture.worker();
        worker.consumer.beat().await.unwrap();
        hset(&mut fixture, "workers", worker.identity.nonce.as_str(), garbage);
        let id = fixture.producer().submit(rich()).await.unwrap().id;
        let claimed = worker.claim_one().await;
        assert_eq!(claimed.job.id, id);
        let state = fixture.producer().states(&[id]).await.unwrap().remove(0).unwrap();
        assert_eq!(state.worker_pod, None);
        assert_eq!(
            worker.complete(&claimed.job.id, &claimed.token).await,
            Finish::Finished
        );
    }
}

#[tokio::test]
async fn unreadable_record_is_counted_and_every_script_serves_the_rest() {
    for garbage in GARBAGE {
        let mut fixture = Fixture::new();
        let (producer, worker) = (fixture.producer(), fixture.worker());
        worker.consumer.tick().await.unwrap();
        let submitted = fixture.submit(8).await;
        let claims = worker.claim(8).await.jobs;
        let held: Vec<_> = claims.iter().map(pair).collect();
        for claimed in &claims[..2] {
            hset(&mut fixture, "records", claimed.job.id.as_str(), garbage);
        }
        let renewal = worker.consumer.renew(&held[1..]).await.unwrap();
        assert_eq!(renewal.lost, submitted[1..2], "{garbage:?}");
        assert_eq!(worker.consumer.give_back(&held[1..3]).await.unwrap(), 1);
        assert_eq!(worker.complete(&held[3].0, &held[3].1).await, Finish::Finished);
        let overview = producer.overview().await.unwrap();
        assert_eq!((overview.waiting, overview.running), (1, 6));

        // Its bearer can no longer end it; it runs again when its lease has ended.
        fixture.reap(&submitted[0], &worker).await;
        fixture.make_due(&submitted[..1]);
        assert_eq!(worker.consumer.tick().await.unwrap().promoted, 1);
        assert_eq!(
            ids(&worker.claim(2).await),
            [submitted[0].clone(), submitted[2].clone()]
        );
        let is_table = matches!(garbage.first(), Some(0x80..=0x9f));
        let counted = fixture.reading().await.counts.unreadable;
        assert_eq!(counted > 0, !is_table, "{garbage:?}: {counted}");
    }
}

#[tokio::test]
async fn unreadable_record_of_dead_job_is_listed_retried_and_deleted() {
    for garbage in GARBAGE {
        let mut fixture = Fixture::new();
        let (producer, worker) = (fixture.producer(), fixture.worker());
        let new = NewJob {
            options: queue::JobOptions {
                max_attempts: Some(1),
                ..queue::JobOptions::default()
            },
            ..NewJob::new("a", "b")
        };
        let mut dead = Vec::new();
        for _ in 0..3 {
            dead.push(
                producer
                    .submit(NewJob {
                        id: queue::JobId::fresh(),
                        ..new.clone()
                    })
                    .await
                    .unwrap()
                    .id
                    .to_string(),
            );
            let claimed = worker.claim_one().await;
            worker.end(&claimed.job.id, &claimed.token, failed()).await;
        }
        for id in &dead[..2] {
            hset(&mut fixture, "records", id, garbage);
        }
        assert_eq!(producer.dead(None, 10).await.unwrap().entries.len(), 3);
        let id = queue::JobId::new(dead[0].clone()).unwrap();
        assert!(producer.details(&id).await.unwrap().is_some());
        assert_eq!(producer.retry_dead(&dead[1..]).await.unwrap(), 2);
        assert_eq!(producer.delete_dead(&dead).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn unreadable_result_counts_as_none_and_hides_no_other_state() {
    for garbage in GARBAGE {
        let mut fixture = Fixture::new();
        let (producer, worker) = (fixture.producer(), fixture.worker());
        let submitted = fixture.submit(2).await;
        let result = JobResult::new("text/plain", "good").unwrap();
        for claimed in worker.claim(2).await.jobs {
            let how = queue::Ending::Complete {
                result: Some(result.clone()),
            };
            worker.end(&claimed.job.id, &claimed.token, how).await;
        }
        hset(&mut fixture, "results", submitted[0].as_str(), garbage);
        assert_eq!(producer.result(&submitted[0]).await.unwrap(), ResultLook::Empty);
        let states = producer.states(&submitted).await.unwrap();
        let heads: Vec<_> = states.into_iter().map(|state| state.unwrap().result).collect();
        assert_eq!(heads[0], None, "{garbage:?}");
        assert_eq!(heads[1].as_ref().unwrap().head, b"good");
    }
}

#[tokio::test]
async fn unreadable_sighting_is_made_anew_and_stops_no_sweep() {
    for garbage in GARBAGE {
        let mut fixture = Fixture::new();
        let submitted = fixture.submit(3).await;
        fixture.ask::<()>(&["DEL", crate::common::MAIN]);
        for (id, status) in submitted.iter().zip(["in progress", "submitted", "working"]) {
            let raw = fixture.raw.on(3);
            raw.ask::<()>(&[
                "HSET",
                &format!("job.{id}"),
                "status",
                status,
                "worker",
                "127.0.0.1",
            ]);
            hset(&mut fixture, "sightings", id.as_str(), garbage);
        }
        let swept = fixture
            .drainer()
            .sweep(&fixture.queue, &queue::Terms::default(), true)
            .await
            .unwrap();
        assert_eq!(
            (swept.suspects, swept.lost, swept.removed),
            (1, 0, 0),
            "{garbage:?}"
        );
        for id in &submitted[1..] {
            let seen: Vec<u8> = fixture.ask(&["HGET", "workerpool:queue:sightings", id.as_str()]);
            assert_ne!(seen, garbage);
        }
    }
}

#[tokio::test]
async fn unreadable_record_of_another_job_stops_no_cancel_report_or_purge() {
    let mut fixture = Fixture::new();
    let (producer, worker) = (fixture.producer(), fixture.worker_with(Duration::from_secs(30)));
    let submitted = fixture.submit(3).await;
    let claimed = worker.claim(2).await.jobs;
    hset(&mut fixture, "records", submitted[0].as_str(), b"\xc1");
    hset(&mut fixture, "records", submitted[2].as_str(), b"\xc1");
    let reports: Vec<_> = claimed
        .iter()
        .map(|claimed| {
            (
                claimed.job.id.clone(),
                claimed.token.clone(),
                queue::Progress::default(),
            )
        })
        .collect();
    worker.consumer.report(&reports).await.unwrap();
    assert_eq!(
        producer.cancel(&submitted[2]).await.unwrap(),
        queue::Cancel::Cancelled
    );
    assert_eq!(fixture.purge(&submitted[2], &worker).await, 1);
    assert_eq!(producer.get(&submitted[2]).await.unwrap(), None);
}
