//! This version serves what an earlier version left in Redis: the append-only files of `e2e/fixtures`, whose jobs end as their ledgers
//! say. `e2e/tests/upgrade.rs` does the same with all programs, on a cluster.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use queue::{
    Ended, Ending, Finish, JobId, JobResult, ResultLook, Retention, Terms,
    test_server::{Fsync, RedisServer},
};
use serde_json::Value;

use crate::common::{Fixture, Worker, ids};

fn folder(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../e2e/fixtures")
        .join(version)
}

/// A server that started with the append-only file of this version.
fn started_with(version: &str) -> Fixture {
    let mut redis = RedisServer::builder().append_only(Fsync::Always).start().unwrap();
    redis.kill();
    let data = redis.directory().to_owned();
    // Redis 7 takes a single file over as it starts; Redis 6.2 knows nothing else.
    if data.join("appendonlydir").exists() {
        fs::remove_dir_all(data.join("appendonlydir")).unwrap();
    }
    let file = folder(version).join("redis/appendonly.aof");
    fs::copy(file, data.join("appendonly.aof")).unwrap();
    redis.restart().unwrap();
    Fixture::on(redis)
}

/// The jobs by their ids.
fn ledger(version: &str) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(folder(version).join("ledger.json")).unwrap();
    let jobs: Vec<Value> = serde_json::from_str(&text).unwrap();
    jobs.into_iter()
        .map(|job| (text_of(&job, "id").to_owned(), job))
        .collect()
}

fn text_of<'a>(job: &'a Value, field: &str) -> &'a str {
    job[field].as_str().unwrap()
}

#[tokio::test]
async fn jobs_of_0_1_0_end_as_its_ledger_says() {
    let (mut fixture, ledger) = (started_with("0.1.0"), ledger("0.1.0"));
    // For ever: the file grows old.
    let retention = Retention {
        finished: None,
        dead: None,
    };
    let worker = fixture.worker_on(Terms {
        retention,
        ..Terms::default()
    });
    let producer = fixture.producer();
    for (id, job) in &ledger {
        let found = producer.get(&job_id(id)).await.unwrap().unwrap();
        assert_eq!(found.status.as_str(), text_of(job, "status"), "{job}");
        let has_payload = text_of(job, "was").contains("with a payload");
        assert_eq!(found.payload.is_some(), has_payload, "{job}");
    }

    lose_workers(&mut fixture, &worker).await;
    let ran = complete_all(&mut fixture, &worker, &ledger).await;

    for (id, job) in &ledger {
        let id = job_id(id);
        let status = producer.get(&id).await.unwrap().unwrap().status;
        assert_eq!(status.as_str(), text_of(job, "ends"), "{job}");
        let has_to_run = text_of(job, "status") != text_of(job, "ends");
        assert_eq!(ran.contains(&id), has_to_run, "{job}");
        match producer.result(&id).await.unwrap() {
            ResultLook::Found(result) => {
                assert_eq!(result.body(), text_of(job, "result").as_bytes(), "{job}");
            }
            other => assert!(job["result"].is_null(), "{job}: {other:?}"),
        }
    }
    let reading = fixture.reading().await;
    assert_eq!((reading.waiting, reading.running, reading.delayed), (0, 0, 0));
    // What was no job, and the one that had failed.
    assert_eq!(reading.dead, 2);
}

/// The workers of that time hold two jobs, which get their time again and then lose them.
async fn lose_workers(fixture: &mut Fixture, worker: &Worker) {
    assert!(worker.consumer.tick().await.unwrap().guarded);
    let workers = fixture.drainer().workers(&fixture.queue).await.unwrap();
    assert_eq!(
        workers.iter().map(|worker| worker.held).sum::<u64>(),
        2,
        "{workers:?}"
    );
    for id in members(fixture, "leases") {
        fixture.ask::<()>(&["ZADD", "workerpool:queue:leases", "XX", "1", id.as_str()]);
    }
    fixture.let_a_tick_come();
    assert_eq!(worker.consumer.tick().await.unwrap().reaped, 2);
}

/// Runs all that waits or is delayed, each to its result; answers what ran.
async fn complete_all(
    fixture: &mut Fixture,
    worker: &Worker,
    ledger: &BTreeMap<String, Value>,
) -> Vec<JobId> {
    let delayed = members(fixture, "delayed");
    fixture.make_due(&delayed);
    worker.consumer.tick().await.unwrap();
    let claims = worker.claim(1_000).await;
    let ends = claims.jobs.iter().map(|claimed| {
        let result = text_of(&ledger[claimed.job.id.as_str()], "result");
        Ended {
            id: claimed.job.id.clone(),
            token: claimed.token.clone(),
            how: Ending::Complete {
                result: Some(JobResult::new("text/plain; charset=utf-8", result).unwrap()),
            },
        }
    });
    let finished = worker.finish(&ends.collect::<Vec<_>>()).await;
    assert!(
        finished.iter().all(|finish| *finish == Finish::Finished),
        "{finished:?}"
    );
    ids(&claims)
}

fn members(fixture: &mut Fixture, set: &str) -> Vec<JobId> {
    let ids: Vec<String> = fixture.ask(&["ZRANGE", &format!("workerpool:queue:{set}"), "0", "-1"]);
    ids.iter().map(|id| job_id(id)).collect()
}

fn job_id(text: &str) -> JobId {
    JobId::new(text).unwrap()
}
