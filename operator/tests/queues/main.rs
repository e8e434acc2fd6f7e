//! The watch on Redis, against real servers.

// Fixtures are not tests to clippy, and they too may say what they expect.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod blind;
mod clustered;
mod sources;
mod systems;
mod watch;

use std::time::{Duration, Instant};

use operator::queues::{Chores, Errand, MarkPods, Source, View};
use queue::{
    Consumer, Identity, Mark, NewJob, Nonce, Producer, Retention, Risk, Terms, test_server::RedisServer,
};

use self::watch::{DEADLINE, Watch, command, pool_ref, queue, submit, waiting};

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
        foreign: None,
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
