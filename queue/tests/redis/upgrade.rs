//! What an earlier version left in Redis, served by this one: the append-only files of `e2e/fixtures`, with the fates that their ledgers
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

use crate::common::Fixture;

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
    let terms = Terms {
        // For ever: the file grows old.
        retention: Retention {
            finished: None,
            dead: None,
        },
        ..Terms::default()
    };
    let (producer, worker) = (fixture.producer(), fixture.worker_on(terms));
    let ids = |status: &str| -> Vec<JobId> {
        let jobs = ledger.values().filter(|job| text_of(job, "status") == status);
        jobs.map(|job| JobId::new(text_of(job, "id")).unwrap()).collect()
    };
    for (id, job) in &ledger {
        let found = producer
            .get(&JobId::new(id.as_str()).unwrap())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.status.as_str(), text_of(job, "status"), "{job}");
        assert_eq!(
            found.payload.is_some(),
            text_of(job, "was").contains("with a payload"),
            "{job}"
        );
    }

    // The workers of that time hold two jobs, and get their time again.
    assert!(worker.consumer.tick().await.unwrap().guarded);
    let workers = fixture.drainer().workers(&fixture.queue).await.unwrap();
    assert_eq!(
        workers.iter().map(|worker| worker.held).sum::<u64>(),
        2,
        "{workers:?}"
    );
    let leased: Vec<String> = fixture.ask(&["ZRANGE", "workerpool:queue:leases", "0", "-1"]);
    for id in &leased {
        fixture.ask::<()>(&["ZADD", "workerpool:queue:leases", "XX", "1", id]);
    }
    fixture.let_a_tick_come();
    assert_eq!(worker.consumer.tick().await.unwrap().reaped, 2);
    let delayed: Vec<JobId> = fixture
        .ask::<Vec<String>>(&["ZRANGE", "workerpool:queue:delayed", "0", "-1"])
        .into_iter()
        .map(|id| JobId::new(id).unwrap())
        .collect();
    fixture.make_due(&delayed);
    worker.consumer.tick().await.unwrap();

    let claims = worker.claim(1_000).await;
    let ended: Vec<Ended> = claims
        .jobs
        .iter()
        .map(|claimed| {
            let result = ledger[claimed.job.id.as_str()]["result"].as_str().unwrap();
            let result = JobResult::new("text/plain; charset=utf-8", result).unwrap();
            Ended {
                id: claimed.job.id.clone(),
                token: claimed.token.clone(),
                how: Ending::Complete { result: Some(result) },
            }
        })
        .collect();
    let finished = worker.finish(&ended).await;
    assert!(
        finished.iter().all(|finish| *finish == Finish::Finished),
        "{finished:?}"
    );

    for (id, job) in &ledger {
        let id = JobId::new(id.as_str()).unwrap();
        let status = producer.get(&id).await.unwrap().unwrap().status;
        assert_eq!(status.as_str(), text_of(job, "ends"), "{job}");
        let ran = ended.iter().any(|ended| ended.id == id);
        assert_eq!(ran, text_of(job, "status") != text_of(job, "ends"), "{job}");
        match producer.result(&id).await.unwrap() {
            ResultLook::Found(result) => {
                assert_eq!(result.body(), text_of(job, "result").as_bytes(), "{job}")
            }
            other => assert!(job["result"].is_null(), "{job}: {other:?}"),
        }
    }
    let reading = fixture.reading().await;
    assert_eq!((reading.waiting, reading.running, reading.delayed), (0, 0, 0));
    // What was no job, and the one that had failed.
    assert_eq!(reading.dead, 2);
}
