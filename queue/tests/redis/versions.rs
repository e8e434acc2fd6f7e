//! The oldest Redis that will do, one that will not, and Valkey: servers that `dev/install` takes out of Python wheels,
//! which are made for x86-64 only.
#![cfg(target_arch = "x86_64")]

use std::{path::PathBuf, time::Duration};

use queue::{
    Drainer, Error, NewJob, Observer, Producer, Queue, Server,
    test_server::{Builder, RedisServer, cache},
};

use crate::{
    common::{MAIN, Raw, Worker, documented_rights},
    round::whole_way,
};

/// Beside Debian's, which all other tests use.
const GOOD: [&str; 2] = ["redis-6.2", "valkey-9.1"];

fn of_version(name: &str) -> Builder {
    let program: PathBuf = cache().join("servers").join(name);
    assert!(program.exists(), "dev/install puts it at {}", program.display());
    RedisServer::builder().program(&program)
}

fn queue() -> Queue {
    Queue::new("queue".parse().unwrap())
}

/// A server on which everybody is the user of docs/protocol.md.
fn with_a_restricted_user(version: &str) -> RedisServer {
    let rights = documented_rights();
    let rights: Vec<_> = rights.iter().map(String::as_str).collect();
    of_version(version)
        .user("workerpool", "secret", &rights)
        .start()
        .unwrap()
}

#[tokio::test]
async fn redis_6_0_is_refused_by_every_face_with_what_is_needed() {
    let redis = of_version("redis-6.0").start().unwrap();
    let server = redis.server();
    let submitted = Producer::new(&server, queue())
        .unwrap()
        .submit(NewJob::new("a", "b"))
        .await;
    let worker = Worker::new(&server, &queue(), None, Duration::from_secs(30));
    let (observer, _changes) = Observer::new(&server).unwrap();
    for refused in [
        submitted.map(drop),
        worker.consumer.check().await,
        observer.read(&[queue()]).await.remove(0).map(drop),
        Drainer::new(&server).unwrap().workers(&queue()).await.map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert!(
            matches!(&refused, Error::TooOld { found } if found == "6.0.9"),
            "{refused:?}"
        );
        assert_eq!(
            refused.to_string(),
            "Redis 6.0.9 is too old: 6.2 or newer is needed"
        );
    }
}

#[tokio::test]
async fn a_job_goes_its_whole_way_as_the_user_that_the_docs_name() {
    for version in GOOD {
        let redis = with_a_restricted_user(version);
        whole_way(&redis.server()).await;
    }
}

#[tokio::test]
async fn errors_are_the_same_as_on_every_redis() {
    for version in GOOD {
        let redis = with_a_restricted_user(version);
        let producer = Producer::new(&redis.server(), queue()).unwrap();
        producer.submit(NewJob::new("a", "b")).await.unwrap();
        let mut raw = Raw::to(&Server {
            username: None,
            password: None,
            ..redis.server()
        });
        let refused = async |why: &str| {
            let submitted = producer.submit(NewJob::new("a", "b")).await;
            submitted.expect_err(&format!("{version}, {why}"))
        };

        raw.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
        let full = refused("full").await;
        assert!(matches!(full, Error::OutOfMemory(_)), "{version}: {full:?}");
        raw.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);

        raw.on(2).ask::<()>(&["SET", MAIN, "a text"]);
        let wrong = refused("a wrong type").await;
        assert!(matches!(wrong, Error::WrongType(_)), "{version}: {wrong:?}");
        raw.on(2).ask::<()>(&["DEL", MAIN]);

        for less in ["resetkeys", "-rpush"] {
            raw.ask::<()>(&["ACL", "SETUSER", "workerpool", less]);
            let denied = refused(less).await;
            assert!(matches!(denied, Error::Denied(_)), "{version}: {denied:?}");
        }

        raw.ask::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
        let replica = producer.ping().await.unwrap_err();
        assert!(
            matches!(replica, Error::NotMaster { .. }),
            "{version}: {replica:?}"
        );
    }
}
