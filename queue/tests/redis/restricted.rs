//! Users and proxies that are denied INFO, CLIENT LIST and their like.

use std::{net::Ipv4Addr, time::Duration};

use queue::{
    Address, Drainer, Error, ForeignKey, ForeignQueue, KeyKind, NewJob, Observer, Producer, Queue, Reading,
    Result, Server, Subject, Terms, test_server::RedisServer,
};

use crate::{
    common::{Raw, Worker, eventually, in_time},
    fake::proxy_that_tells,
};

fn queue() -> Queue {
    Queue::new("queue".parse().unwrap())
}

/// A server as a user without these rights sees it, and as one with all.
fn without(rights: &[&str]) -> (RedisServer, Server, Raw) {
    let rights = [&["~*", "&*", "+@all"], rights].concat();
    let redis = RedisServer::builder()
        .user("less", "secret", &rights)
        .start()
        .unwrap();
    let server = redis.server();
    let all = Server {
        username: None,
        password: None,
        ..redis.server()
    };
    (redis, server, Raw::to(&all))
}

fn source() -> Subject {
    Subject::from(ForeignQueue {
        db: 5,
        waiting: vec![ForeignKey {
            name: "mails".to_owned(),
            kind: KeyKind::List,
            group: None,
        }],
        running: Vec::new(),
    })
}

async fn read(server: &Server, subject: Subject) -> Result<Reading> {
    let (observer, _changes) = Observer::new(server).unwrap();
    in_time(async || observer.read_all(std::slice::from_ref(&subject)).await.remove(0)).await
}

#[tokio::test]
async fn user_without_dangerous_commands_is_told_by_each_client_what_to_grant() {
    for rights in [&["-@dangerous"][..], &["-info"]] {
        let (_redis, server, _raw) = without(rights);
        let producer = Producer::new(&server, queue()).unwrap();
        let worker = Worker::new(&server, &queue(), None, Duration::from_secs(30));
        let drainer = Drainer::new(&server).unwrap();
        for refused in [
            in_time(async || producer.submit(NewJob::new("a", "b")).await)
                .await
                .map(drop),
            in_time(async || worker.consumer.beat().await).await,
            in_time(async || drainer.workers(&queue()).await).await.map(drop),
            read(&server, queue().into()).await.map(drop),
        ] {
            let refused = refused.unwrap_err();
            assert!(matches!(refused, Error::Denied(_)), "{refused:?}");
            let text = refused.to_string();
            assert!(text.contains("info") && text.contains("+info"), "{text}");
            assert_eq!(text.matches("denies").count(), 1, "{text}");
        }
    }
}

#[tokio::test]
async fn right_that_is_granted_later_is_used_without_restart() {
    let (_redis, server, mut raw) = without(&["-@dangerous"]);
    let (observer, _changes) = Observer::new(&server).unwrap();
    let refused = in_time(async || observer.read(&[queue()]).await.remove(0)).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    raw.ask::<()>(&["ACL", "SETUSER", "less", "+info"]);
    eventually("it is read", || async {
        observer.read(&[queue()]).await.remove(0).ok()
    })
    .await;
}

#[tokio::test]
async fn source_is_read_and_followed_without_info_and_replica_is_noticed() {
    let (_redis, server, mut raw) = without(&["-@dangerous"]);
    raw.on(5).ask::<()>(&["RPUSH", "mails", "a", "b"]);
    let reading = read(&server, source()).await.unwrap();
    assert_eq!((reading.waiting, reading.run_id.as_str()), (2, ""));
    assert!(reading.tracked);
    let risks = in_time(async || queue::risks_of(&server).await)
        .await
        .unwrap_err();
    assert!(
        matches!(&risks, Error::Denied(text) if text.contains("+info")),
        "{risks:?}"
    );
    raw.ask::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    let refused = read(&server, source()).await;
    assert!(matches!(refused, Err(Error::NotMaster { .. })), "{refused:?}");
}

#[tokio::test]
async fn proxy_that_tells_no_role_and_no_version_is_believed() {
    for info in ["redis_version:7.0.0\r\n", "# Proxy\r\n"] {
        let server = Server::new(Address {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: proxy_that_tells(info),
        });
        let reading = read(&server, source()).await.unwrap();
        assert_eq!((reading.waiting, reading.tracked), (3, false), "{info}");
    }
}

#[tokio::test]
async fn denied_list_of_connections_is_no_error_and_any_other_failure_is_one() {
    let (redis, server, mut raw) = without(&["-client|list"]);
    let drainer = Drainer::new(&server).unwrap();
    let look = async || in_time(async || drainer.foreign_workers(&queue()).await).await;
    assert_eq!(look().await.unwrap(), None);
    raw.ask::<()>(&["ACL", "SETUSER", "less", "+client|list"]);
    assert!(look().await.unwrap().is_some());
    // Once it may, what is wrong is not taken for a denial.
    redis.freeze().unwrap();
    let failed = drainer.foreign_workers(&queue()).await.unwrap_err();
    assert!(matches!(failed, Error::Timeout { .. }), "{failed:?}");
    redis.thaw().unwrap();

    let renamed = RedisServer::start_with(&["--rename-command", "CLIENT", ""]).unwrap();
    let drainer = Drainer::new(&renamed.server()).unwrap();
    assert_eq!(drainer.foreign_workers(&queue()).await.unwrap(), None);
    assert_eq!(drainer.dismiss(&[1, 2]).await.unwrap(), None);
    let sweep = drainer.sweep(&queue(), &Terms::default(), true).await.unwrap();
    assert!(!sweep.blind, "there is nothing that it would have to see");
}
