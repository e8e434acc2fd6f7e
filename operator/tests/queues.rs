//! The watch on Redis, against real servers.

// Fixtures are not tests to clippy, and they too may say what they expect.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt};
use operator::{
    PoolRef,
    leader::Leadership,
    queues::{Chores, Errand, MarkPods, Queues, Source, View},
};
use queue::{
    Consumer, ForeignKey, ForeignQueue, Identity, KeyKind, Mark, NewJob, Nonce, Producer, Queue, Retention,
    Risk, Subject, Terms, test_server::RedisServer,
};

const DEADLINE: Duration = Duration::from_secs(10);

struct Watch {
    queues: Queues,
    wakes: Pin<Box<dyn Stream<Item = PoolRef> + Send>>,
}

impl Watch {
    fn new() -> Self {
        let (queues, wakes) = Queues::new(Leadership::permanent(1));
        Self {
            queues,
            wakes: wakes.boxed(),
        }
    }

    fn follow(&self, pool: &str, redis: &RedisServer) {
        let source = Source {
            server: redis.server(),
            queues: vec![queue(pool).into()],
            chores: None,
        };
        self.queues.follow(&pool_ref(pool), &source);
    }

    fn follow_all(&self, pool: &str, redis: &RedisServer, queues: &[Subject]) {
        let source = Source {
            server: redis.server(),
            queues: queues.to_vec(),
            chores: None,
        };
        self.queues.follow(&pool_ref(pool), &source);
    }

    /// Waits until the pool is woken with a view that fits.
    async fn until(&mut self, pool: &str, fits: impl Fn(&View) -> bool) -> View {
        let pool = pool_ref(pool);
        let found = async {
            loop {
                let view = self.queues.view(&pool);
                if fits(&view) {
                    return view;
                }
                while self.wakes.next().await.as_ref() != Some(&pool) {}
            }
        };
        tokio::time::timeout(DEADLINE, found)
            .await
            .expect("the pool is woken in time")
    }
}

fn pool_ref(name: &str) -> PoolRef {
    PoolRef::new(name).within("default")
}

fn queue(name: &str) -> Queue {
    Queue::new(name.parse().unwrap())
}

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

fn waiting(view: &View, count: u64) -> bool {
    view.reading
        .as_ref()
        .is_some_and(|reading| reading.waiting == count)
}

async fn submit(redis: &RedisServer, name: &str) {
    let producer = Producer::new(&redis.server(), queue(name)).unwrap();
    producer.submit(NewJob::new("a", "b")).await.unwrap();
}

async fn command<T: redis::FromRedisValue>(redis: &RedisServer, words: &[&str]) -> T {
    let client = redis::Client::open(("127.0.0.1", redis.port())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    command.query_async(&mut connection).await.unwrap()
}

#[tokio::test]
async fn push_wakes_the_pool_and_tells_when_it_was_heard_of() {
    let redis = RedisServer::start().unwrap();
    let mut watch = Watch::new();
    watch.follow("a", &redis);
    let view = watch.until("a", |view| waiting(view, 0)).await;
    assert_eq!(view.changed_at, None, "the first reading is no reaction");
    assert!(view.reading.unwrap().tracked);

    submit(&redis, "a").await;
    let view = watch.until("a", |view| waiting(view, 1)).await;
    assert!(view.changed_at.is_some());
    assert_eq!(watch.queues.view(&pool_ref("a")).changed_at, None, "told once");
}

#[tokio::test]
async fn pools_of_one_server_share_a_connection_that_ends_with_the_last_of_them() {
    let redis = RedisServer::start().unwrap();
    let mut watch = Watch::new();
    for name in ["a", "b", "c"] {
        watch.follow(name, &redis);
    }
    for name in ["a", "b", "c"] {
        watch.until(name, |view| waiting(view, 0)).await;
    }
    assert_eq!(watch.queues.servers(), 1);
    // Ours, and the one that asks.
    let clients: String = command(&redis, &["CLIENT", "LIST"]).await;
    assert_eq!(clients.lines().count(), 2, "{clients}");

    for name in ["a", "b", "c"] {
        watch.queues.forget(&pool_ref(name));
    }
    assert_eq!(watch.queues.servers(), 0);
    let deadline = Instant::now() + DEADLINE;
    loop {
        let clients: String = command(&redis, &["CLIENT", "LIST"]).await;
        if clients.lines().count() == 1 {
            break;
        }
        assert!(Instant::now() < deadline, "still connected: {clients}");
    }
}

#[tokio::test]
async fn flush_script_flush_and_lost_connection_blind_nobody() {
    let redis = RedisServer::start().unwrap();
    let mut watch = Watch::new();
    watch.follow("a", &redis);
    watch.until("a", |view| waiting(view, 0)).await;
    for blow in [
        &["FLUSHALL"][..],
        &["SCRIPT", "FLUSH"],
        &["CLIENT", "KILL", "TYPE", "normal"],
    ] {
        let _: redis::Value = command(&redis, blow).await;
        submit(&redis, "a").await;
        watch.until("a", |view| waiting(view, 1)).await;
        let _: redis::Value = command(&redis, &["FLUSHALL"]).await;
        watch.until("a", |view| waiting(view, 0)).await;
    }
}

#[tokio::test]
async fn restarted_server_is_read_again_and_is_known_to_be_another() {
    let mut redis = RedisServer::start().unwrap();
    let mut watch = Watch::new();
    watch.follow("a", &redis);
    let before = watch.until("a", |view| waiting(view, 0)).await.reading.unwrap();
    redis.restart().unwrap();
    submit(&redis, "a").await;
    let after = watch.until("a", |view| waiting(view, 1)).await;
    assert_ne!(after.reading.unwrap().run_id, before.run_id);
    assert_eq!(after.failures, 0);
}

#[tokio::test]
async fn frozen_server_delays_nobody_elses_pools() {
    let (dead, alive) = (RedisServer::start().unwrap(), RedisServer::start().unwrap());
    let mut watch = Watch::new();
    watch.follow("dead", &dead);
    watch.follow("alive", &alive);
    watch.until("dead", |view| waiting(view, 0)).await;
    watch.until("alive", |view| waiting(view, 0)).await;
    dead.freeze().unwrap();
    let asked = MarkPods {
        addresses: Default::default(),
        count: 1,
        first: Vec::new(),
        others: vec!["pod".to_owned()],
        mark: Mark::Quiet,
    };
    watch.queues.send(&pool_ref("dead"), Errand::Mark(asked));
    let start = Instant::now();
    submit(&alive, "alive").await;
    watch.until("alive", |view| waiting(view, 1)).await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let view = watch.until("dead", |view| view.marks.is_some()).await;
    view.marks.unwrap().unwrap_err();
    dead.thaw().unwrap();
}

#[tokio::test]
async fn unreachable_server_counts_as_one_failure_and_says_why() {
    let mut redis = RedisServer::start().unwrap();
    redis.kill();
    let mut watch = Watch::new();
    watch.follow("a", &redis);
    let view = watch.until("a", |view| view.error.is_some()).await;
    assert_eq!(view.failures, 1);
    assert!(
        matches!(view.error, Some(queue::Error::Unreachable { .. })),
        "{:?}",
        view.error
    );
    assert_eq!(view.reading, None);
}

#[tokio::test]
async fn only_pods_that_hold_nothing_are_marked() {
    let redis = RedisServer::start().unwrap();
    submit(&redis, "a").await;
    let identity = Identity {
        nonce: Nonce::fresh(),
        pod_uid: Some("busy".to_owned()),
        pod_name: None,
        ip: "10.0.0.1".to_owned(),
        host: None,
    };
    let worker = Consumer::new(&redis.server(), queue("a"), identity, Terms::default()).unwrap();
    worker.beat().await.unwrap();
    assert_eq!(worker.claim(&Nonce::fresh(), 1).await.unwrap().jobs.len(), 1);

    let mut watch = Watch::new();
    watch.follow("a", &redis);
    watch.until("a", |view| view.reading.is_some()).await;
    let asked = MarkPods {
        addresses: Default::default(),
        count: 2,
        first: Vec::new(),
        others: vec!["busy".to_owned(), "idle".to_owned()],
        mark: Mark::Quiet,
    };
    watch.queues.send(&pool_ref("a"), Errand::Mark(asked));
    let marks = watch
        .until("a", |view| view.marks.is_some())
        .await
        .marks
        .unwrap()
        .unwrap();
    assert_eq!(marks.idle.into_iter().collect::<Vec<_>>(), ["idle"]);
    assert_eq!(marks.marked.into_iter().collect::<Vec<_>>(), ["idle"]);
}

#[tokio::test]
async fn pool_that_moves_to_another_server_is_read_there() {
    let (first, second) = (RedisServer::start().unwrap(), RedisServer::start().unwrap());
    let mut watch = Watch::new();
    watch.follow("a", &first);
    watch.until("a", |view| waiting(view, 0)).await;
    submit(&second, "a").await;
    watch.follow("a", &second);
    watch.until("a", |view| waiting(view, 1)).await;
    assert_eq!(watch.queues.servers(), 1);
}

#[tokio::test]
async fn risks_are_told_to_every_pool_and_looked_for_again_after_a_restart() {
    let mut redis = RedisServer::start().unwrap();
    let _: redis::Value = command(&redis, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let mut watch = Watch::new();
    watch.follow("a", &redis);
    let kinds = |view: &View| -> Option<Vec<_>> {
        let risks = view.risks.as_ref()?.as_ref().ok()?;
        Some(risks.iter().map(Risk::as_str).collect())
    };
    let both = Some(vec!["evicts", "no_append_only"]);
    // Read as well: a restart is told by a reading that comes from another process than the last.
    let is_met = |view: &View| view.reading.is_some() && kinds(view) == both;
    watch.until("a", is_met).await;
    watch.follow("b", &redis);
    watch.until("b", is_met).await;
    assert_eq!(watch.queues.risks().len(), 2);

    // It comes back as its configuration has it.
    redis.restart().unwrap();
    let rest = Some(vec!["no_append_only"]);
    watch.until("a", |view| kinds(view) == rest).await;
    watch.until("b", |view| kinds(view) == rest).await;
}

#[tokio::test]
async fn finished_jobs_of_a_queue_without_workers_go_when_their_retention_is_over() {
    let redis = RedisServer::start().unwrap();
    let producer = Producer::new(&redis.server(), queue("a")).unwrap();
    let job = producer.submit(NewJob::new("a", "b")).await.unwrap();
    producer.cancel(&job.id).await.unwrap();
    let retention = Retention {
        finished: Some(Duration::from_millis(1)),
        dead: None,
    };
    let chores = Chores {
        terms: Terms {
            retention,
            ..Terms::default()
        },
        recover_foreign: false,
    };
    let watch = Watch::new();
    let source = Source {
        server: redis.server(),
        queues: vec![queue("a").into()],
        chores: Some(chores),
    };
    watch.queues.follow(&pool_ref("a"), &source);
    let deadline = Instant::now() + DEADLINE;
    while producer.get(&job.id).await.unwrap().is_some() {
        assert!(Instant::now() < deadline, "the job is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn server_that_dies_is_known_to_be_gone_long_before_the_poll() {
    let mut redis = RedisServer::start().unwrap();
    let mut watch = Watch::new();
    watch.follow("a", &redis);
    watch.until("a", |view| waiting(view, 0)).await;
    redis.kill();
    let start = Instant::now();
    watch.until("a", |view| view.error.is_some()).await;
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test]
async fn server_that_falls_silent_is_known_to_be_gone_before_the_poll() {
    let redis = RedisServer::start().unwrap();
    let mut watch = Watch::new();
    watch.follow("a", &redis);
    watch.until("a", |view| waiting(view, 0)).await;
    redis.freeze().unwrap();
    watch.until("a", |view| view.error.is_some()).await;
    redis.thaw().unwrap();
    watch.until("a", |view| view.error.is_none()).await;
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
