//! Several queues of one pool, and those of other systems.

use std::time::{Duration, Instant};

use operator::queues::{Errand, MarkPods, View};
use queue::{
    Consumer, ForeignKey, ForeignQueue, Identity, KeyKind, Mark, Nonce, Subject, Terms,
    test_server::RedisServer,
};

use crate::watch::{DEADLINE, Watch, command, pool_ref, queue, submit};

/// Another system's queue, of one key of this type.
fn foreign(kind: KeyKind, key: &str) -> Subject {
    ForeignQueue {
        waiting: vec![ForeignKey {
            name: key.to_owned(),
            kind,
            group: None,
        }],
        ..ForeignQueue::default()
    }
    .into()
}

/// What waits in each queue; `None` where it cannot be read.
fn each(view: &View) -> Vec<Option<u64>> {
    let queues = view.queues.iter();
    queues
        .map(|queue| queue.fresh().map(|reading| reading.waiting))
        .collect()
}

#[tokio::test]
async fn queues_of_all_types_are_read_and_a_push_to_any_wakes_the_pool_without_a_poll() {
    let redis = RedisServer::start().unwrap();
    let mut watch = Watch::new();
    let queues = [
        foreign(KeyKind::List, "list"),
        foreign(KeyKind::Stream, "stream"),
        foreign(KeyKind::SortedSet, "zset"),
        foreign(KeyKind::Set, "set"),
        foreign(KeyKind::Hash, "hash"),
        queue("own").into(),
    ];
    watch.follow_all("a", &redis, &queues);
    watch.until("a", |view| each(view) == [Some(0); 6]).await;
    let pushes: [&[&str]; 5] = [
        &["RPUSH", "list", "1"],
        &["XADD", "stream", "*", "a", "b"],
        &["ZADD", "zset", "1", "a"],
        &["SADD", "set", "a"],
        &["HSET", "hash", "a", "b"],
    ];
    let start = Instant::now();
    for (place, push) in pushes.into_iter().enumerate() {
        let _: redis::Value = command(&redis, push).await;
        let view = watch.until("a", |view| each(view)[place] == Some(1)).await;
        assert!(view.changed_at.is_some(), "told, and not polled: {push:?}");
    }
    submit(&redis, "own").await;
    let view = watch.until("a", |view| each(view)[5] == Some(1)).await;
    assert_eq!(view.reading.unwrap().waiting, 6, "all together");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    // Ours, and the one that asks.
    let clients: String = command(&redis, &["CLIENT", "LIST"]).await;
    assert_eq!(clients.lines().count(), 2, "{clients}");
}

#[tokio::test]
async fn key_of_another_type_is_an_error_of_its_queue_alone_and_ends_when_it_is_put_right() {
    let redis = RedisServer::start().unwrap();
    let _: redis::Value = command(&redis, &["SET", "bad", "a text"]).await;
    let mut watch = Watch::new();
    let queues = ["good", "bad"].map(|key| foreign(KeyKind::List, key));
    watch.follow_all("a", &redis, &queues);
    let view = watch.until("a", |view| view.error.is_some()).await;
    assert_eq!(each(&view), [Some(0), None]);
    let error = view.error.expect("it is told").to_string();
    assert!(error.contains("the key bad is a string, not a list"), "{error}");
    assert_eq!(view.queues[0].error, None);

    let _: redis::Value = command(&redis, &["RPUSH", "good", "1"]).await;
    watch.until("a", |view| each(view) == [Some(1), None]).await;
    let _: redis::Value = command(&redis, &["DEL", "bad"]).await;
    let view = watch.until("a", |view| each(view) == [Some(1), Some(0)]).await;
    assert_eq!((view.failures, view.error), (0, None));
}

#[tokio::test]
async fn queue_of_another_system_is_told_to_every_pool_that_follows_it_until_the_last_leaves() {
    let redis = RedisServer::start().unwrap();
    let mut watch = Watch::new();
    let shared = [foreign(KeyKind::List, "rq:queue:mails")];
    for pool in ["a", "b"] {
        watch.follow_all(pool, &redis, &shared);
        watch.until(pool, |view| each(view) == [Some(0)]).await;
    }
    let _: redis::Value = command(&redis, &["RPUSH", "rq:queue:mails", "1"]).await;
    for pool in ["a", "b"] {
        watch.until(pool, |view| each(view) == [Some(1)]).await;
    }
    watch.queues.forget(&pool_ref("a"));
    let _: redis::Value = command(&redis, &["RPUSH", "rq:queue:mails", "2"]).await;
    watch.until("b", |view| each(view) == [Some(2)]).await;
}

#[tokio::test]
async fn nothing_can_be_put_into_another_systems_queue() {
    let redis = RedisServer::start().unwrap();
    let mut watch = Watch::new();
    let foreign = foreign(KeyKind::List, "rq:queue:mails");
    watch.follow_all("a", &redis, std::slice::from_ref(&foreign));
    watch.follow_all("b", &redis, &[foreign, queue("own").into()]);
    watch.until("b", |view| each(view) == [Some(0), Some(0)]).await;
    assert_eq!(watch.queues.source(&pool_ref("a")), None);
    assert!(!watch.queues.outlook(&pool_ref("a")).followed);
    let (_, into) = watch.queues.source(&pool_ref("b")).unwrap();
    assert_eq!(into, queue("own"));
    assert!(watch.queues.outlook(&pool_ref("b")).followed);
}

/// What a consumer group does is no change of its stream: Redis does not tell of it.
#[tokio::test]
async fn what_a_group_has_done_is_seen_within_a_second_or_so() {
    let redis = RedisServer::start().unwrap();
    let _: redis::Value = command(
        &redis,
        &["XGROUP", "CREATE", "events", "mailers", "0", "MKSTREAM"],
    )
    .await;
    let key = ForeignKey {
        name: "events".to_owned(),
        kind: KeyKind::Stream,
        group: Some("mailers".to_owned()),
    };
    let group = ForeignQueue {
        waiting: vec![key],
        ..ForeignQueue::default()
    };
    let mut watch = Watch::new();
    watch.follow_all("a", &redis, &[group.into()]);
    let depth = |view: &View| {
        let reading = view.reading.as_ref();
        reading.map(|reading| (reading.waiting, reading.running))
    };
    watch.until("a", |view| depth(view) == Some((0, 0))).await;
    let _: redis::Value = command(&redis, &["XADD", "events", "1-1", "a", "b"]).await;
    watch.until("a", |view| depth(view) == Some((1, 0))).await;
    let read = ["XREADGROUP", "GROUP", "mailers", "me", "STREAMS", "events", ">"];
    let start = Instant::now();
    let _: redis::Value = command(&redis, &read).await;
    watch.until("a", |view| depth(view) == Some((0, 1))).await;
    let _: redis::Value = command(&redis, &["XACK", "events", "mailers", "1-1"]).await;
    watch.until("a", |view| depth(view) == Some((0, 0))).await;
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[tokio::test]
async fn pod_that_takes_from_two_queues_is_idle_only_if_it_holds_nothing_of_either() {
    let redis = RedisServer::start().unwrap();
    submit(&redis, "b").await;
    let identity = |pod: &str| Identity {
        nonce: Nonce::fresh(),
        pod_uid: Some(pod.to_owned()),
        pod_name: None,
        ip: "10.0.0.1".to_owned(),
        host: None,
    };
    let worker = Consumer::new(&redis.server(), queue("b"), identity("busy"), Terms::default()).unwrap();
    worker.beat().await.unwrap();
    assert_eq!(worker.claim(&Nonce::fresh(), 1).await.unwrap().jobs.len(), 1);

    let mut watch = Watch::new();
    watch.follow_all("pool", &redis, &[queue("a").into(), queue("b").into()]);
    watch.until("pool", |view| each(view) == [Some(0), Some(0)]).await;
    let asked = |mark| MarkPods {
        addresses: Default::default(),
        count: 2,
        first: Vec::new(),
        others: vec!["busy".to_owned(), "idle".to_owned()],
        mark,
    };
    for (mark, marked) in [(Mark::Quiet, vec!["idle"]), (Mark::Drain, vec!["busy", "idle"])] {
        watch.queues.send(&pool_ref("pool"), Errand::Mark(asked(mark)));
        let marks = watch.until("pool", |view| view.marks.is_some()).await.marks;
        let marks = marks.unwrap().unwrap();
        assert_eq!(marks.idle.into_iter().collect::<Vec<_>>(), ["idle"]);
        assert_eq!(marks.marked.into_iter().collect::<Vec<_>>(), marked);
    }
    watch
        .queues
        .send(&pool_ref("pool"), Errand::Unmark(vec!["idle".to_owned()]));
    let deadline = Instant::now() + DEADLINE;
    let marked = ["a", "b"].map(|name| format!("workerpool:{name}:quiet"));
    for key in &marked {
        loop {
            let client = redis::Client::open(format!("redis://127.0.0.1:{}/2", redis.port())).unwrap();
            let mut connection = client.get_multiplexed_async_connection().await.unwrap();
            let mut ask = redis::cmd("HEXISTS");
            let there: bool = ask
                .arg(key)
                .arg("idle")
                .query_async(&mut connection)
                .await
                .unwrap();
            if !there {
                break;
            }
            assert!(Instant::now() < deadline, "the mark is still there: {key}");
        }
    }
}
