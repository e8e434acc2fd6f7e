use std::{
    collections::BTreeSet,
    sync::Mutex,
    time::{Duration, Instant},
};

use futures::StreamExt;
use queue::{Queue, Reading, Server, Subject, test_server::RedisServer};

use super::{Queues, Source, View};
use crate::{PoolRef, leader::Leadership};

/// Servers whose tasks panic.
static PANICKING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

pub(super) fn panic_if_asked(server: &Server) {
    let asked = PANICKING.lock().unwrap().contains(&server.address.to_string());
    assert!(!asked, "boom");
}

fn set_panicking(server: &Server, panics: bool) {
    let (address, mut panicking) = (server.address.to_string(), PANICKING.lock().unwrap());
    if panics {
        panicking.insert(address);
    } else {
        panicking.remove(&address);
    }
}

fn source(redis: &RedisServer) -> Source {
    Source {
        server: redis.server(),
        queues: vec![Subject::Own(Queue::new("queue".parse().unwrap()))],
        chores: None,
        foreign: None,
    }
}

async fn submit(redis: &RedisServer) {
    let producer = queue::Producer::new(&redis.server(), Queue::new("queue".parse().unwrap())).unwrap();
    producer.submit(queue::NewJob::new("a", "b")).await.unwrap();
}

async fn until(queues: &Queues, pool: &PoolRef, holds: impl Fn(&View) -> bool) -> View {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let view = queues.view(pool);
        if holds(&view) {
            return view;
        }
        assert!(Instant::now() < deadline, "not in time: {view:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn waiting(view: &View, count: u64) -> bool {
    let reading = view.reading.as_ref();
    view.failures == 0 && reading.is_some_and(|reading| reading.waiting + reading.arrivals == count)
}

#[tokio::test]
async fn server_whose_task_panics_fails_alone_and_is_read_again() {
    let (good, bad) = (RedisServer::start().unwrap(), RedisServer::start().unwrap());
    let (queues, wakes) = Queues::new(Leadership::permanent(1));
    tokio::spawn(wakes.for_each(|_| std::future::ready(())));
    let [on_good, on_bad] = ["good", "bad"].map(PoolRef::new);
    queues.follow(&on_good, &source(&good));
    queues.follow(&on_bad, &source(&bad));
    until(&queues, &on_good, |view| waiting(view, 0)).await;
    until(&queues, &on_bad, |view| waiting(view, 0)).await;

    set_panicking(&bad.server(), true);
    submit(&bad).await;
    let view = until(&queues, &on_bad, |view| view.error.is_some()).await;
    let error = view.error.unwrap().to_string();
    assert!(error.contains("boom"), "{error}");
    assert!(view.reading.is_none(), "no reading is kept");
    submit(&good).await;
    until(&queues, &on_good, |view| waiting(view, 1)).await;

    set_panicking(&bad.server(), false);
    until(&queues, &on_bad, |view| waiting(view, 1)).await;
}

#[tokio::test]
async fn pool_that_leaves_while_its_server_restarts_stays_gone() {
    let redis = RedisServer::start().unwrap();
    let (queues, wakes) = Queues::new(Leadership::permanent(1));
    tokio::spawn(wakes.for_each(|_| std::future::ready(())));
    let [stays, leaves] = ["stays", "leaves"].map(PoolRef::new);
    set_panicking(&redis.server(), true);
    queues.follow(&stays, &source(&redis));
    queues.follow(&leaves, &source(&redis));
    until(&queues, &leaves, |view| view.error.is_some()).await;
    queues.forget(&leaves);
    set_panicking(&redis.server(), false);
    until(&queues, &stays, |view| waiting(view, 0)).await;
    assert!(queues.view(&leaves).queues.is_empty());
}

/// A reading of a queue with so many jobs, and nothing else.
pub(crate) fn reading(waiting: u64, running: u64) -> Reading {
    Reading {
        waiting,
        arrivals: 0,
        running,
        delayed: 0,
        due: 0,
        dead: 0,
        changed: 0,
        next_due_ms: None,
        oldest_submitted_ms: None,
        completed: 0,
        completed_busy_ms: 0,
        counts: queue::Counts::default(),
        server_time_ms: 0,
        run_id: "a".to_owned(),
        tracked: true,
        read_at: Instant::now(),
    }
}
