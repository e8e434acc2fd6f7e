//! The oldest Redis that will do, one that will not, and Valkey: servers that `dev/install` takes out of Python wheels,
//! which are made for x86-64 only.
#![cfg(target_arch = "x86_64")]

use std::{path::PathBuf, time::Duration};

use queue::{
    Change, Drainer, Error, ForeignKey, ForeignQueue, KeyKind, NewJob, Observer, Producer, Queue, Risk,
    Server, Subject,
    test_server::{Builder, RedisServer, cache},
};

use crate::{
    common::{MAIN, Raw, Worker, documented_rights},
    round::whole_way,
};

/// Where only other systems' queues are read.
const FOR_SOURCES: [(&str, bool); 2] = [("redis-5.0", false), ("redis-6.0", true)];

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
            matches!(&refused, Error::TooOld { found, .. } if found == "6.0.9"),
            "{refused:?}"
        );
        assert_eq!(
            refused.to_string(),
            "Redis 6.0.9 is too old: 6.2 or newer is needed for a queue of workerpool's own (a queue with a source is read \
             from 5.0 on)"
        );
    }
}

#[tokio::test]
async fn old_redis_reads_sources_and_refuses_own_queues_in_one_reading() {
    for (version, tracks) in FOR_SOURCES {
        for password in [None, Some("secret")] {
            let builder = of_version(version);
            let builder = password.map_or(builder.clone(), |password| builder.password(password));
            let redis = builder.start().unwrap();
            let (observer, mut changes) = Observer::new(&redis.server()).unwrap();
            let source = Subject::from(ForeignQueue {
                db: 5,
                waiting: vec![ForeignKey {
                    name: "mails".to_owned(),
                    kind: KeyKind::List,
                    group: None,
                }],
                running: Vec::new(),
            });
            let subjects = [source.clone(), Subject::Own(queue()), source];
            assert_eq!(changes.next().await, Some(Change::All));
            let mut raw = Raw::to(&redis.server());
            raw.on(5).ask::<()>(&["RPUSH", "mails", "a", "b"]);
            let readings = observer.read_all(&subjects).await;
            for reading in [&readings[0], &readings[2]] {
                let reading = reading.as_ref().unwrap();
                assert_eq!((reading.waiting, reading.tracked), (2, tracks), "{version}");
                assert!(!reading.run_id.is_empty(), "{version}");
            }
            let own = readings[1].clone().unwrap_err();
            assert!(matches!(own, Error::TooOld { .. }), "{version}: {own:?}");
            assert!(
                own.to_string().contains("6.2 or newer is needed for a queue"),
                "{own}"
            );
            assert_eq!(
                queue::risks_of(&redis.server()).await.unwrap(),
                [Risk::NoAppendOnly]
            );

            if tracks {
                raw.on(5).ask::<()>(&["RPUSH", "mails", "c"]);
                let change = tokio::time::timeout(Duration::from_secs(20), changes.next()).await;
                assert!(
                    matches!(change, Ok(Some(Change::Foreign(_)))),
                    "{version}: {change:?}"
                );
            }
        }
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
