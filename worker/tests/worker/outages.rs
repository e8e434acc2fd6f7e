//! Redis goes away.

use std::time::{Duration, Instant};

use queue::test_server::RedisServer;

use crate::common::{SHORT, SHORT_LEASE, View, Worker, redis, wait_until};

#[test]
fn completion_that_cannot_be_told_is_told_when_redis_is_back() {
    let (mut redis, view) = redis();
    let settings = [
        ("WORKERPOOL_SLEEP_SECONDS", "1"),
        ("WORKERPOOL_LOG", "info,worker=debug,telemetry=debug"),
    ];
    let worker = Worker::start(&redis, "10.0.0.7", &settings);
    let id = view.submit();
    view.wait_for_status(&id, "in progress");
    redis.kill();
    worker.logs_failure_of("finish");
    redis.restart().unwrap();
    view.wait_for_status(&id, "complete");
    assert_eq!(worker.ends(&id), "complete");
    assert_eq!(worker.count("job started"), 1);
}

#[test]
fn restart_of_redis_interrupts_neither_a_running_job_nor_the_waiting_for_the_next() {
    let (mut redis, view) = redis();
    let worker = Worker::start(&redis, "10.0.0.7", &[("WORKERPOOL_SLEEP_SECONDS", "1")]);
    let id = view.submit();
    view.wait_for_status(&id, "in progress");
    redis.restart().unwrap();
    view.wait_for_status(&id, "complete");
    assert_eq!(worker.ends(&id), "complete");

    // Now idle, and so blocked in Redis when it goes.
    redis.restart().unwrap();
    let next = view.submit();
    view.wait_for_status(&next, "complete");
}

#[test]
fn worker_waits_for_a_redis_that_comes_later() {
    let (mut redis, view) = redis();
    redis.kill();
    let worker = Worker::start(&redis, "10.0.0.7", &[SHORT]);
    worker.logs("Redis cannot be used");
    assert_eq!(worker.get("/healthz").0, 200);
    assert_eq!(worker.get("/readyz").0, 200);
    redis.restart().unwrap();
    let id = view.submit();
    view.wait_for_status(&id, "complete");
}

#[test]
fn outage_longer_than_a_lease_costs_a_running_job_nothing() {
    let (mut redis, view) = redis();
    let settings = [SHORT_LEASE, ("WORKERPOOL_SLEEP_SECONDS", "6")];
    let workers = [
        Worker::start(&redis, "10.0.0.1", &settings),
        Worker::start(&redis, "10.0.0.2", &settings),
    ];
    let id = view.submit();
    view.wait_for_status(&id, "in progress");
    redis.kill();
    let lease_ends = Instant::now() + Duration::from_secs(3);
    wait_until("the lease has ended", || Instant::now() > lease_ends);
    redis.restart().unwrap();
    view.wait_for_status(&id, "complete");
    assert_eq!(
        workers
            .iter()
            .map(|worker| worker.count("job started"))
            .sum::<usize>(),
        1
    );
}

#[test]
fn redis_that_hangs_for_a_while_costs_a_running_job_nothing() {
    let (redis, view) = redis();
    let worker = Worker::start(&redis, "10.0.0.7", &[("WORKERPOOL_SLEEP_SECONDS", "1")]);
    let id = view.submit();
    view.wait_for_status(&id, "in progress");
    redis.freeze().unwrap();
    worker.logs("Redis cannot be used");
    redis.thaw().unwrap();
    view.wait_for_status(&id, "complete");
    assert_eq!(worker.ends(&id), "complete");
}

#[test]
fn worker_on_a_redis_that_may_lose_jobs_says_so_and_works_all_the_same() {
    let redis = RedisServer::start().unwrap();
    let view = View::of(&redis);
    let worker = Worker::start(&redis, "10.0.0.7", &[SHORT]);
    let line = worker.logs("at risk");
    assert!(line["warning"].as_str().unwrap().contains("appendonly"), "{line}");
    assert_eq!(worker.metric("workerpool_redis_risk{risk=\"no_append_only\"}"), 1);
    let (status, body) = worker.get("/readyz");
    assert_eq!(status, 200);
    assert!(body.contains("[!]redis: "), "{body}");
    let id = view.submit();
    view.wait_for_status(&id, "complete");
}

#[test]
fn risk_that_is_over_after_an_outage_is_shown_no_more() {
    let (mut redis, view) = redis();
    view.set("maxmemory-policy", "allkeys-lru");
    let worker = Worker::start(&redis, "10.0.0.7", &[SHORT]);
    worker.logs("at risk");
    // A start forgets what was set while it ran.
    redis.restart().unwrap();
    worker.logs("no longer at risk");
    assert_eq!(worker.metric("workerpool_redis_risk{risk=\"evicts\"}"), 0);
}
