//! Queues of other systems in a Redis Cluster. The keys with `{b}`, `{c}` and `{a}` are on the first, second and third node.

use std::{cell::Cell, time::Duration};

use operator::queues::{Source, View};
use queue::{ForeignKey, ForeignQueue, KeyKind, Subject, test_server::RedisCluster};

use super::watch::{Watch, pool_ref, waiting};

/// A master is dead to the others after a second, and its replica is elected within some more; the machine may be busy.
const FAILOVER: Duration = Duration::from_secs(30);

fn list(name: &str) -> Subject {
    let key = ForeignKey {
        name: name.to_owned(),
        kind: KeyKind::List,
        group: None,
    };
    let queue = ForeignQueue {
        waiting: vec![key],
        ..ForeignQueue::default()
    };
    queue.into()
}

fn follow(watch: &Watch, cluster: &RedisCluster, keys: &[&str]) {
    let source = Source {
        server: cluster.server(),
        queues: keys.iter().map(|key| list(key)).collect(),
        chores: None,
        foreign: None,
    };
    watch.queues.follow(&pool_ref("a"), &source);
}

fn push(cluster: &RedisCluster, key: &str) {
    cluster.call_anywhere(&["RPUSH", key, "job"]).unwrap();
}

#[tokio::test]
async fn push_to_any_node_wakes_the_pool_without_a_poll() {
    let cluster = RedisCluster::start().unwrap();
    let mut watch = Watch::new();
    follow(&watch, &cluster, &["{a}", "{b}", "{c}"]);
    watch.until("a", |view| waiting(view, 0)).await;
    for (before, key) in ["{a}", "{b}", "{c}"].into_iter().enumerate() {
        push(&cluster, key);
        let now = u64::try_from(before).unwrap() + 1;
        let view = watch.until("a", |view| waiting(view, now)).await;
        assert!(view.changed_at.is_some(), "told, and not polled: {key}");
        assert!(view.reading.unwrap().tracked);
    }
    assert_eq!(watch.queues.servers(), 1, "one for the whole cluster");
}

/// Of a key that is not there, nobody tells that its slot has moved.
#[tokio::test]
async fn empty_queue_whose_slot_has_moved_is_found_by_the_poll() {
    let cluster = RedisCluster::start().unwrap();
    let mut watch = Watch::new();
    follow(&watch, &cluster, &["{a}"]);
    watch.until("a", |view| waiting(view, 0)).await;
    cluster.begin_move("{a}", 2, 1).unwrap();
    cluster.end_move("{a}", 2, 1).unwrap();
    push(&cluster, "{a}");
    let view = watch.until("a", |view| waiting(view, 1)).await;
    assert_eq!(view.failures, 0);
    push(&cluster, "{a}");
    let view = watch.until("a", |view| waiting(view, 2)).await;
    assert!(view.changed_at.is_some(), "told at the new node");
}

#[tokio::test]
async fn master_that_dies_is_told_and_the_last_reading_stands_until_its_replica_is_read() {
    let mut cluster = RedisCluster::start().unwrap();
    let mut watch = Watch::new();
    follow(&watch, &cluster, &["{b}", "{c}"]);
    push(&cluster, "{b}");
    let before = watch.until("a", |view| waiting(view, 1)).await.reading.unwrap();
    cluster.kill_master().unwrap();
    let view = watch.until("a", |view| view.error.is_some()).await;
    assert!(waiting(&view, 1), "what was last read stands: {view:?}");

    let fell = Cell::new(false);
    let is_read = |view: &View| {
        fell.set(fell.get() || !waiting(view, 1));
        view.failures == 0 && view.error.is_none()
    };
    let after = watch.until_within(FAILOVER, "a", is_read).await;
    assert!(!fell.get());
    assert_ne!(after.reading.unwrap().run_id, before.run_id);
    push(&cluster, "{b}");
    let view = watch.until("a", |view| waiting(view, 2)).await;
    assert!(view.changed_at.is_some(), "told by the new master");
}
