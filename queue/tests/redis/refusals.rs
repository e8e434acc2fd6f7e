//! Each way in which a server can fail has an error of its own, at once, and calls work again afterwards.

use std::{
    net::{Ipv4Addr, TcpListener},
    time::{Duration, Instant},
};

use queue::{Address, Error, NewJob, Producer, Queue, Secret, Server, test_server::RedisServer};

use crate::{
    common::{Fixture, Worker, documented_rights, eventually},
    fake,
};

fn queue() -> Queue {
    Queue::new("queue".parse().unwrap())
}

async fn submit_to(server: &Server) -> Result<queue::Job, Error> {
    Producer::new(server, queue())
        .unwrap()
        .submit(NewJob::new("a", "b"))
        .await
}

fn at(port: u16) -> Server {
    Server::new(Address {
        host: Ipv4Addr::LOCALHOST.to_string(),
        port,
    })
}

#[tokio::test]
async fn down_is_unreachable_at_once() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let producer = Producer::new(&at(port), queue()).unwrap();
    let begun = Instant::now();
    for _ in 0..100 {
        let submitted = producer.submit(NewJob::new("a", "b")).await;
        assert!(
            matches!(submitted, Err(Error::Unreachable { .. })),
            "{submitted:?}"
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_name_that_nobody_has_is_unreachable() {
    let server = Server::new(Address {
        host: "no-such-host.invalid".to_owned(),
        port: 6379,
    });
    let submitted = submit_to(&server).await;
    assert!(
        matches!(submitted, Err(Error::Unreachable { .. } | Error::Timeout { .. })),
        "{submitted:?}"
    );
}

#[tokio::test]
async fn one_that_accepts_and_says_nothing_times_out() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let begun = Instant::now();
    let submitted = submit_to(&at(silent.local_addr().unwrap().port())).await;
    assert!(matches!(submitted, Err(Error::Timeout { .. })), "{submitted:?}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn one_that_freezes_times_out_and_works_again_when_it_thaws() {
    let fixture = Fixture::new();
    let producer = fixture.producer();
    producer.ping().await.unwrap();
    fixture.redis.freeze().unwrap();
    let job = NewJob::new("a", "b");
    let submitted = producer.submit(job.clone()).await;
    assert!(
        submitted.as_ref().is_err_and(Error::is_ambiguous),
        "{submitted:?}"
    );
    fixture.redis.thaw().unwrap();

    eventually("it answers again", || async {
        producer.submit(job.clone()).await.ok()
    })
    .await;
    // It was carried out twice, or once; it is there once.
    assert_eq!(fixture.reading().await.waiting, 1);
}

#[tokio::test]
async fn the_first_call_after_a_restart_succeeds() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    producer.submit(NewJob::new("a", "b")).await.unwrap();
    fixture.redis.restart().unwrap();

    // On a new connection, to a process that does not know the scripts.
    producer.submit(NewJob::new("a", "b")).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_breaks_under_a_call_is_disconnected() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker();
    let asleep = tokio::spawn(async move { worker.consumer.wake(Duration::from_secs(2)).await });
    eventually("it blocks", || {
        let clients: String = fixture.raw.ask(&["INFO", "clients"]);
        async move { clients.contains("blocked_clients:1").then_some(()) }
    })
    .await;
    fixture
        .raw
        .ask::<u64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let woken = asleep.await.unwrap();
    assert!(matches!(woken, Err(Error::Disconnected { .. })), "{woken:?}");
}

#[tokio::test]
async fn a_replica_is_not_the_master_also_for_who_only_reads() {
    let master = Fixture::new();
    let replica = RedisServer::builder().replica_of(&master.redis).start().unwrap();
    let producer = Producer::new(&replica.server(), queue()).unwrap();
    let submitted = producer.submit(NewJob::new("a", "b")).await;
    let read = producer.get(&queue::JobId::fresh()).await;
    for refused in [submitted.map(drop), read.map(drop)] {
        assert!(
            matches!(&refused, Err(Error::NotMaster { role, .. }) if role == "slave"),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_master_that_was_made_a_replica_is_read_only_and_a_ping_sees_it_too() {
    let mut fixture = Fixture::new();
    let (producer, idle) = (fixture.producer(), fixture.producer());
    for connected in [&producer, &idle] {
        connected.ping().await.unwrap();
    }
    fixture.raw.ask::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    let submitted = producer.submit(NewJob::new("a", "b")).await;
    assert!(matches!(submitted, Err(Error::ReadOnly(_))), "{submitted:?}");
    // On a new connection, which might have led elsewhere.
    let submitted = producer.submit(NewJob::new("a", "b")).await;
    assert!(matches!(submitted, Err(Error::NotMaster { .. })), "{submitted:?}");
    let pinged = idle.ping().await;
    assert!(matches!(pinged, Err(Error::NotMaster { .. })), "{pinged:?}");

    fixture.raw.ask::<()>(&["REPLICAOF", "NO", "ONE"]);
    for connected in [&producer, &idle] {
        eventually("it takes jobs again", || async {
            connected.submit(NewJob::new("a", "b")).await.ok()
        })
        .await;
    }
}

#[tokio::test]
async fn a_full_server_is_out_of_memory() {
    let mut fixture = Fixture::new();
    fixture.raw.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let submitted = submit_to(&fixture.server()).await;
    assert!(matches!(submitted, Err(Error::OutOfMemory(_))), "{submitted:?}");
}

#[tokio::test]
async fn too_few_replicas_refuse_writes() {
    let mut fixture = Fixture::new();
    fixture
        .raw
        .ask::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let submitted = submit_to(&fixture.server()).await;
    assert!(matches!(submitted, Err(Error::WritesRefused(_))), "{submitted:?}");
}

#[tokio::test]
async fn a_wrong_or_missing_password_is_auth_and_the_right_one_works() {
    let redis = RedisServer::start_with(&["--requirepass", "right", "--save", ""]).unwrap();
    let with = |password: Option<&str>| Server {
        password: password.map(Secret::new),
        ..redis.server()
    };
    for password in [None, Some("wrong")] {
        let submitted = submit_to(&with(password)).await;
        assert!(matches!(submitted, Err(Error::Auth(_))), "{submitted:?}");
        let (observer, _changes) = queue::Observer::new(&with(password)).unwrap();
        let reading = observer.read(&[queue()]).await.remove(0);
        assert!(matches!(reading, Err(Error::Auth(_))), "{reading:?}");
    }
    submit_to(&with(Some("right"))).await.unwrap();
}

#[tokio::test]
async fn a_user_with_the_rights_that_the_docs_name_passes_the_check_and_one_with_less_does_not() {
    let mut fixture = Fixture::new();
    let mut allow = redis::cmd("ACL");
    allow
        .arg(&["SETUSER", "workerpool", "on", ">secret"])
        .arg(documented_rights());
    fixture.raw.command::<()>(&allow).unwrap();
    let server = Server {
        username: Some("workerpool".to_owned()),
        password: Some(Secret::new("secret")),
        ..fixture.server()
    };
    let worker = Worker::new(&server, &fixture.queue, None, Duration::from_secs(30));
    worker.consumer.check().await.unwrap();
    worker.consumer.wake(Duration::from_millis(1)).await.unwrap();
    worker.consumer.pass_on().await.unwrap();
    let (observer, mut changes) = queue::Observer::new(&server).unwrap();
    changes.next().await;
    assert!(observer.read(&[queue()]).await.remove(0).unwrap().tracked);

    for less in [
        "-hset",
        "-zadd",
        "-lpop",
        "-select",
        "-blmove",
        "-lmove",
        "-info",
        "resetkeys",
    ] {
        fixture.raw.command::<()>(&allow).unwrap();
        fixture.raw.ask::<()>(&["ACL", "SETUSER", "workerpool", less]);
        let checked = Producer::new(&server, queue()).unwrap().check().await;
        assert!(matches!(checked, Err(Error::Denied(_))), "{less}: {checked:?}");
        fixture.assert_unchanged(&[], less);
    }
}

#[tokio::test]
async fn a_server_that_loads_its_data_says_so() {
    let mut fixture = Fixture::on(RedisServer::start_with(&["--enable-debug-command", "local"]).unwrap());
    fixture.raw.ask::<()>(&["DEBUG", "POPULATE", "20000"]);
    fixture.raw.ask::<()>(&["CONFIG", "SET", "key-load-delay", "200"]);
    fixture
        .raw
        .ask::<()>(&["CONFIG", "SET", "loading-process-events-interval-bytes", "1024"]);
    let server = fixture.server();
    // Blocks until it is loaded, answering LOADING meanwhile.
    let loading = std::thread::spawn(move || fixture.raw.ask::<()>(&["DEBUG", "RELOAD"]));
    let seen = eventually("it is loading", || async {
        let submitted = submit_to(&server).await;
        submitted.err()
    })
    .await;
    assert!(matches!(seen, Error::Loading), "{seen:?}");
    loading.join().unwrap();
}

#[tokio::test]
async fn an_old_server_is_too_old() {
    let submitted = submit_to(&at(fake::server_of_version("6.0.16"))).await;
    assert!(
        matches!(&submitted, Err(Error::TooOld { found, .. }) if found == "6.0.16"),
        "{submitted:?}"
    );
}
