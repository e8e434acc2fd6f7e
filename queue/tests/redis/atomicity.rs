//! I6: each script is all or nothing, whatever it meets in the middle, and a full server lets running work end.

use std::time::Duration;

use queue::{
    Cancel, Claimed, Ended, Ending, Error, Finish, JobId, JobResult, NewJob, Nonce, Producer, Progress,
    ResultLook, Secret, Server, Token,
};

use crate::common::{Fixture, MAIN, Worker, failed, pair, rich};

/// Every call that writes, on a queue where each has something to do.
struct Scene {
    fixture: Fixture,
    worker: Worker,
    held: Claimed,
    to_cancel: JobId,
}

impl Scene {
    /// Three jobs wait, one is held, one lease has ended, one job is delayed and due, one finished long ago, two are
    /// dead, a foreign worker has one. All of ours have a payload and are watched.
    async fn new() -> Self {
        Self::on(Fixture::new()).await
    }

    /// The same once more, on the same server.
    async fn again(self) -> Self {
        let mut fixture = self.fixture;
        fixture.raw.ask::<()>(&["FLUSHALL"]);
        Self::on(fixture).await
    }

    async fn on(mut fixture: Fixture) -> Self {
        let worker = fixture.worker_in_pod("pod-1");
        worker.consumer.tick().await.unwrap();
        worker.consumer.beat().await.unwrap();
        let before = submit(&fixture, 2).await;
        let claims = worker.claim(2).await;
        worker.end(&before[0], &claims.jobs[0].token, gave()).await;
        worker.end(&before[1], &claims.jobs[1].token, failed()).await;
        for key in ["finished", "delayed"] {
            for id in &before {
                fixture.ask::<()>(&["ZADD", &format!("workerpool:queue:{key}"), "XX", "1", id.as_str()]);
            }
        }
        let submitted = submit(&fixture, 4).await;
        let held = worker.claim_one().await;
        let ended = worker.claim_one().await;
        assert_eq!(ended.job.id, submitted[1]);
        fixture.ask::<()>(&["ZADD", "workerpool:queue:leases", "1", ended.job.id.as_str()]);
        let to_cancel = submit(&fixture, 1).await.remove(0);
        let (dead, theirs) = (
            ["failed", "worker", "10.0.0.7"],
            ["in progress", "worker", "127.0.0.1"],
        );
        for (id, fields) in [("dead", dead), ("buried", dead), ("theirs", theirs)] {
            let hash = format!("job.{id}");
            let raw = fixture.raw.on(3);
            raw.ask::<()>(&[&["HSET", &hash, "id", id, "status"], &fields[..]].concat());
            fixture.ask::<()>(&["ZADD", "workerpool:queue:index", "1", id]);
        }
        fixture.ask::<()>(&["ZADD", "workerpool:queue:dead", "1", "dead", "1", "buried"]);
        fixture.let_a_tick_come();
        Self {
            fixture,
            worker,
            held,
            to_cancel,
        }
    }

    /// Each call by `worker` and `producer`, which may be another user's than the scene's.
    async fn call(&self, name: &str, worker: &Worker, producer: &Producer) -> Result<(), Error> {
        let consumer = &worker.consumer;
        let held = pair(&self.held);
        match name {
            "submit" => producer.submit(NewJob::new("new", "job")).await.map(drop),
            "submit with a payload" => producer.submit(rich()).await.map(drop),
            "claim" => consumer.claim(&Nonce::fresh(), 10).await.map(drop),
            "renew" => consumer.renew(&[held]).await.map(drop),
            "finish" => consumer
                .finish(&[end(held, Ending::Complete { result: None })])
                .await
                .map(drop),
            "give a result" => consumer.finish(&[end(held, gave())]).await.map(drop),
            "report" => {
                let (id, token) = held;
                consumer.report(&[(id, token, Progress::default())]).await
            }
            "take what changed" => producer.take_changed(10).await.map(drop),
            "fail" => consumer.finish(&[end(held, failed())]).await.map(drop),
            "stop" => consumer.finish(&[end(held, Ending::Cancelled)]).await.map(drop),
            "give back" => consumer.give_back(&[held]).await.map(drop),
            "turn" => consumer
                .turn(
                    &[end(held, Ending::Complete { result: None })],
                    &Nonce::fresh(),
                    10,
                )
                .await
                .map(drop),
            "turn of a failure" => consumer
                .turn(&[end(held, failed())], &Nonce::fresh(), 10)
                .await
                .map(drop),
            "tick" => consumer.tick().await.map(drop),
            "beat" => consumer.beat().await,
            "cancel" => producer.cancel(&self.to_cancel).await.map(drop),
            "cancel what runs" => producer.cancel(&held.0).await.map(drop),
            "retry" => producer.retry_dead(&["dead".to_owned()]).await.map(drop),
            "delete" => producer.delete_dead(&["dead".to_owned()]).await.map(drop),
            "sweep" => consumer.sweep(true).await.map(drop),
            other => panic!("no call {other}"),
        }
    }
}

fn end((id, token): (JobId, Token), how: Ending) -> Ended {
    Ended { id, token, how }
}

fn gave() -> Ending {
    Ending::Complete {
        result: Some(JobResult::new("image/png", vec![0; 10_000]).unwrap()),
    }
}

async fn submit(fixture: &Fixture, n: usize) -> Vec<JobId> {
    let producer = fixture.producer();
    let mut ids = Vec::new();
    for _ in 0..n {
        ids.push(producer.submit(rich()).await.unwrap().id);
    }
    ids
}

const CALLS: [&str; 20] = [
    "submit",
    "submit with a payload",
    "claim",
    "renew",
    "finish",
    "give a result",
    "report",
    "take what changed",
    "fail",
    "stop",
    "give back",
    "turn",
    "turn of a failure",
    "tick",
    "beat",
    "cancel",
    "cancel what runs",
    "retry",
    "delete",
    "sweep",
];

#[tokio::test]
async fn a_key_of_another_type_stops_a_script_before_it_writes() {
    let keys = [
        MAIN,
        "workerpool:queue:arrivals",
        "workerpool:queue:leases",
        "workerpool:queue:held",
        "workerpool:queue:holds",
        "workerpool:queue:delayed",
        "workerpool:queue:dead",
        "workerpool:queue:index",
        "workerpool:queue:claims",
        "workerpool:queue:quiet",
        "workerpool:queue:counts",
        "workerpool:queue:workers",
        "workerpool:queue:beats",
        "workerpool:queue:ticks",
        "workerpool:queue:records",
        "workerpool:queue:payloads",
        "workerpool:queue:results",
        "workerpool:queue:changed",
        "workerpool:queue:suspects",
        "workerpool:queue:sightings",
    ];
    for name in CALLS {
        let mut refused = 0;
        for key in keys {
            let mut scene = Scene::new().await;
            scene.fixture.ask::<()>(&["DEL", key]);
            scene.fixture.ask::<()>(&["SET", key, "a text"]);
            let before = scene.fixture.everything();
            let producer = scene.fixture.producer();
            if let Err(err) = scene.call(name, &scene.worker, &producer).await {
                assert!(
                    matches!(err, Error::WrongType(_)),
                    "{name} with a wrong {key}: {err:?}"
                );
                scene
                    .fixture
                    .assert_unchanged(&before, &format!("{name} with a wrong {key}"));
                refused += 1;
            }
        }
        assert!(refused >= 1, "{name} was never refused");
    }
}

#[tokio::test]
async fn a_read_only_server_changes_nothing() {
    for name in CALLS {
        let mut scene = Scene::new().await;
        let before = scene.fixture.everything();
        // Connected before: a new connection would see that this is no master.
        let producer = scene.fixture.producer();
        producer.ping().await.unwrap();
        // Of a master that is not there, so that it keeps its data and takes no writes.
        scene.fixture.raw.ask::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
        let err = scene.call(name, &scene.worker, &producer).await.unwrap_err();
        assert!(matches!(err, Error::ReadOnly(_)), "{name}: {err:?}");
        scene.fixture.raw.ask::<()>(&["REPLICAOF", "NO", "ONE"]);
        scene.fixture.assert_unchanged(&before, name);
    }
}

#[tokio::test]
async fn too_few_replicas_change_nothing() {
    for name in CALLS {
        let mut scene = Scene::new().await;
        let before = scene.fixture.everything();
        scene
            .fixture
            .raw
            .ask::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
        let err = scene
            .call(name, &scene.worker, &scene.fixture.producer())
            .await
            .unwrap_err();
        assert!(matches!(err, Error::WritesRefused(_)), "{name}: {err:?}");
        scene
            .fixture
            .raw
            .ask::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
        scene.fixture.assert_unchanged(&before, name);
    }
}

#[tokio::test]
async fn a_missing_right_stops_a_script_before_it_writes() {
    let less = [
        "-hset", "-hdel", "-hincrby", "-zadd", "-zrem", "-rpush", "-lpush", "-lpop", "-lmove", "-incrby",
        "-decrby", "-srem", "-sadd", "-lrem", "-lpos", "-set", "-select", "-time", "-hmget", "-info",
    ];
    for name in CALLS {
        let mut refused = 0;
        let mut scene = Scene::new().await;
        for right in less.into_iter().map(Some).chain([None]) {
            let mut rules = vec!["ACL", "SETUSER", "less", "reset", "on", ">secret", "+@all"];
            match right {
                Some(right) => rules.extend(["~*", right]),
                // All commands, but not on the jobs' hashes.
                None => rules.extend(["~hotqueue:*", "~workerpool:*"]),
            }
            let (server, before) = (as_user(&scene.fixture, "less"), scene.fixture.everything());
            scene
                .fixture
                .raw
                .ask::<()>(&["ACL", "SETUSER", "less", "reset", "on", ">secret", "~*", "+@all"]);
            let producer = Producer::new(&server, scene.fixture.queue.clone()).unwrap();
            let mut worker = Worker::new(
                &server,
                &scene.fixture.queue,
                Some("pod-1"),
                Duration::from_secs(30),
            );
            worker.identity = scene.worker.identity.clone();
            // Connected while it still may do everything: the right goes away later.
            producer.ping().await.unwrap();
            worker.consumer.ping().await.unwrap();
            scene.fixture.raw.ask::<()>(&rules);
            match scene.call(name, &worker, &producer).await {
                Err(err) => {
                    assert!(matches!(err, Error::Denied(_)), "{name} {right:?}: {err:?}");
                    scene
                        .fixture
                        .assert_unchanged(&before, &format!("{name} {right:?}"));
                    refused += 1;
                }
                Ok(()) => scene = scene.again().await,
            }
        }
        assert!(refused >= 2, "{name} was refused {refused} times");
    }
}

fn as_user(fixture: &Fixture, user: &str) -> Server {
    Server {
        username: Some(user.to_owned()),
        password: Some(Secret::new("secret")),
        ..fixture.server()
    }
}

#[tokio::test]
async fn a_full_server_takes_no_new_jobs_and_lets_all_else_go_on() {
    let mut scene = Scene::new().await;
    let worker = &scene.worker;
    scene.fixture.raw.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let before = scene.fixture.everything();

    for job in [NewJob::new("a", "b"), rich()] {
        let refused = scene.fixture.producer().submit(job).await;
        assert!(matches!(refused, Err(Error::OutOfMemory(_))), "{refused:?}");
    }
    scene.fixture.assert_unchanged(&before, "it was refused");

    let consumer = &worker.consumer;
    let held = pair(&scene.held);
    consumer.beat().await.unwrap();
    assert_eq!(
        consumer.renew(std::slice::from_ref(&held)).await.unwrap().lost,
        []
    );
    let producer = scene.fixture.producer();
    assert_eq!(producer.cancel(&scene.to_cancel).await, Ok(Cancel::Cancelled));
    assert_eq!(producer.cancel(&held.0).await, Ok(Cancel::Requested));
    assert_eq!(producer.retry_dead(&["dead".to_owned()]).await, Ok(1));
    assert_eq!(producer.delete_dead(&["buried".to_owned()]).await, Ok(1));
    assert_eq!(consumer.sweep(true).await.unwrap().suspects, 1);
    let report = [(held.0.clone(), held.1.clone(), Progress::default())];
    consumer.report(&report).await.unwrap();
    let finish = consumer.finish(&[end(held.clone(), gave())]).await.unwrap();
    assert_eq!(finish, [Finish::Finished]);
    let result = producer.result(&held.0).await.unwrap();
    assert!(matches!(result, ResultLook::Found(_)), "{result:?}");
    assert!(!producer.take_changed(10).await.unwrap().is_empty());
    assert_eq!(consumer.tick().await.unwrap().reaped, 1);
    let claimed = worker.claim(2).await.jobs;
    assert_eq!(claimed.len(), 2);
    let (first, second) = (pair(&claimed[0]), pair(&claimed[1]));
    let ended = [end(first, gave())];
    let (finish, claims) = consumer.turn(&ended, &Nonce::fresh(), 1).await.unwrap();
    assert_eq!(finish, [Finish::Finished]);
    assert_eq!(claims.jobs.len(), 1);
    let held = [second, pair(&claims.jobs[0])];
    assert_eq!(consumer.give_back(&held).await.unwrap(), 2);
    let drainer = scene.fixture.drainer();
    let pods = ["pod-1".to_owned()];
    let queue = &scene.fixture.queue;
    assert_eq!(
        drainer
            .quiet(queue, &pods, 1, Duration::from_secs(9))
            .await
            .unwrap(),
        pods
    );
    drainer.unquiet(queue, &pods, 1).await.unwrap();
    consumer.deregister().await.unwrap();
}

#[tokio::test]
async fn a_batch_of_which_one_hash_is_a_text_claims_the_others() {
    let mut scene = Scene::new().await;
    let waiting = scene.fixture.waiting();
    scene
        .fixture
        .raw
        .on(3)
        .ask::<()>(&["SET", &format!("job.{}", waiting[1]), "a text"]);
    let claimed: Vec<JobId> = scene
        .worker
        .claim(10)
        .await
        .jobs
        .into_iter()
        .map(|job| job.job.id)
        .collect();
    assert_eq!(claimed, [waiting[0].clone(), waiting[2].clone()]);
    assert_eq!(scene.fixture.reading().await.running, 4);
}

/// A replica may know less than its master, so that "nothing there" or "no longer yours" would be a lie.
#[tokio::test]
async fn a_server_that_is_no_longer_the_master_refuses_also_what_would_change_nothing() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker();
    let id = fixture.submit(1).await.remove(0);
    let claimed = worker.claim_one().await;
    worker.complete(&id, &claimed.token).await;
    worker.consumer.tick().await.unwrap();
    let nobodys = (JobId::new("nobody's").unwrap(), claimed.token);
    for name in ["claim", "renew", "finish", "give back", "turn", "tick"] {
        // On a connection of before, which is not known to lead to a replica.
        let worker = fixture.worker();
        worker.consumer.ping().await.unwrap();
        fixture.let_a_tick_come();
        fixture.raw.ask::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
        let (consumer, held) = (&worker.consumer, std::slice::from_ref(&nobodys));
        let answer = match name {
            "claim" => consumer.claim(&Nonce::fresh(), 1).await.map(drop),
            "renew" => consumer.renew(held).await.map(drop),
            "finish" => consumer
                .finish(&[end(nobodys.clone(), Ending::Complete { result: None })])
                .await
                .map(drop),
            "give back" => consumer.give_back(held).await.map(drop),
            "turn" => consumer
                .turn(&[end(nobodys.clone(), failed())], &Nonce::fresh(), 1)
                .await
                .map(drop),
            _ => consumer.tick().await.map(drop),
        };
        assert!(matches!(answer, Err(Error::ReadOnly(_))), "{name}: {answer:?}");
        fixture.raw.ask::<()>(&["REPLICAOF", "NO", "ONE"]);
    }
}
