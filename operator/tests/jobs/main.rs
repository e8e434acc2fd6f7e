//! Job resources against a real Redis and an API server of the test: what becomes of the others when one fares badly.

// Fixtures are not tests to clippy, and they too may say what they expect.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod api;
mod own_ids;

use std::sync::Arc;

use api::{ApiServer, eventually};
use crds::WorkerPool;
use futures::StreamExt;
use kube::runtime::{reflector, watcher};
use operator::{
    PoolRef,
    decoding::UndecodableObjects,
    jobs,
    leader::Leadership,
    metrics::Metrics,
    queues::{Queues, Source},
};
use prometheus_client::registry::Registry;
use queue::{Queue, Subject, test_server::RedisServer};
use serde_json::json;

/// A pool on a Redis of its own, and an operator that looks after the Jobs.
struct World {
    api: ApiServer,
    redis: RedisServer,
    queues: Queues,
    registry: Registry,
}

impl World {
    async fn new() -> Self {
        Self::beside(|_| {}).await
    }

    /// Beside what is there when the operator starts.
    async fn beside(prepare: impl FnOnce(&ApiServer)) -> Self {
        let (api, client) = ApiServer::start();
        prepare(&api);
        let redis = RedisServer::start().unwrap();
        let mut registry = telemetry::registry("operator", "test");
        let metrics = Arc::new(Metrics::register(&mut registry));
        let (pools, mut writer) = reflector::store();
        let mut pool = WorkerPool::new("pool", crds::WorkerPoolSpec::default());
        pool.metadata.namespace = Some("default".to_owned());
        for event in [
            watcher::Event::Init,
            watcher::Event::InitApply(pool),
            watcher::Event::InitDone,
        ] {
            writer.apply_watcher_event(&event);
        }
        let (queues, wakes) = Queues::new(Leadership::permanent(1));
        tokio::spawn(wakes.for_each(|_| std::future::ready(())));
        let parts = jobs::Parts {
            client,
            pools,
            queues: queues.clone(),
            metrics,
            undecodable: UndecodableObjects::default(),
            instance: "test".to_owned(),
        };
        tokio::spawn(async move {
            let _writer = writer;
            jobs::run(parts).await;
        });
        let world = Self {
            api,
            redis,
            queues,
            registry,
        };
        world.follow(&world.redis);
        world.api.create("first");
        world.is_submitted("first").await;
        world
    }

    /// The pool's queue is on this Redis from now on.
    fn follow(&self, redis: &RedisServer) {
        let source = Source {
            server: redis.server(),
            queues: vec![Subject::Own(Queue::new("queue".parse().unwrap()))],
            chores: None,
            foreign: None,
        };
        let pool = PoolRef::new("pool").within("default");
        self.queues.follow(&pool, &source);
    }

    async fn is_submitted(&self, name: &str) {
        let submitted = || self.api.state(name).as_deref() == Some("Waiting");
        eventually("the Job is submitted", submitted).await;
    }

    fn scrape(&self, series: &str) -> Option<u64> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(series));
        value.map(|value| value.trim().parse().unwrap())
    }

    /// Creates Jobs whose submission hangs, as their Redis does.
    async fn hang(&self, names: &[String]) {
        self.redis.freeze().unwrap();
        let kept = self.api.kept();
        names.iter().for_each(|name| self.api.create(name));
        eventually("four are on their way", || self.api.kept() >= kept + 4).await;
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("burst-{number}")).collect()
}

#[tokio::test]
async fn jobs_gone_while_they_are_submitted_give_their_slots_back() {
    let world = World::new().await;
    let burst = names(12);
    world.hang(&burst).await;
    burst.iter().for_each(|name| world.api.remove(name));
    let known = || world.scrape("workerpool_operator_jobs ");
    eventually("they are forgotten", || known() == Some(1)).await;
    world.redis.thaw().unwrap();

    world.api.create("next");
    world.is_submitted("next").await;
}

#[tokio::test]
async fn submissions_that_hang_hold_no_slot_of_queue_the_pool_moves_to() {
    let world = World::new().await;
    world.hang(&names(4)).await;
    let other = RedisServer::start().unwrap();
    world.follow(&other);
    world.api.create("next");
    world.is_submitted("next").await;
    world.redis.thaw().unwrap();
}

#[tokio::test]
async fn job_that_cannot_be_decoded_fails_alone() {
    let world = World::beside(|api| api.create_as("bad", "0000-bad", json!({"poolName": 7}))).await;
    let count = || world.scrape("workerpool_operator_undecodable_objects{kind=\"Job\"} ");
    let known = || world.scrape("workerpool_operator_jobs ");
    assert_eq!((count(), known()), (Some(1), Some(1)), "beside the first");
    // One that could be decoded before is known until it is deleted.
    world.api.create_as("first", "0000-first", json!({"poolName": 7}));
    eventually("it is counted", || count() == Some(2)).await;
    assert_eq!(known(), Some(1));
    world.api.remove("first");
    eventually("it is forgotten", || (count(), known()) == (Some(1), Some(0))).await;

    world
        .api
        .create_as("bad", "0000-bad", json!({"poolName": "pool", "payload": {}}));
    world.is_submitted("bad").await;
    assert_eq!(count(), Some(0));
}

#[tokio::test]
async fn job_that_panics_fails_alone_and_goes_on_when_it_can() {
    let world = World::new().await;
    world.api.set_panicking("second", true);
    for name in ["second", "third", "fourth"] {
        world.api.create(name);
    }
    world.is_submitted("third").await;
    world.is_submitted("fourth").await;
    let said = || {
        let accepted = world.api.accepted("second");
        accepted.is_some_and(|[status, reason, message]| {
            (status.as_str(), reason.as_str()) == ("False", "InternalError") && message.contains("boom")
        })
    };
    eventually("its condition says so", said).await;
    assert_eq!(world.api.state("second"), None, "it is not submitted");
    let counted = world.scrape("workerpool_panics_total{place=\"job\"} ");
    assert!(counted > Some(0), "{counted:?}");

    world.api.set_panicking("second", false);
    world.is_submitted("second").await;
    let [status, reason, _] = world.api.accepted("second").unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Submitted"));
}
