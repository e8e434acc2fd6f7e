//! Redis goes away.

use std::time::{Duration, Instant};

use queue::test_server::RedisServer;

use crate::{
    common::{SHORT, SHORT_LEASE, View, Worker, redis, wait_until},
    lossy::Way,
};

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
    // Redis is not to be killed before it has answered.
    wait_until("the job is started", || worker.count("job started") == 1);
    redis.kill();
    worker.logs_failure_of("finish");
    redis.restart().unwrap();
    view.wait_for_status(&id, "complete");
    assert_eq!(worker.ends(&id), "complete");
    assert_eq!(worker.count("job started"), 1);
}

/// A worker of four slots that reaches Redis by this way alone.
fn worker_by(way: &Way, redis: &RedisServer, sleep: (&str, &str)) -> Worker {
    let address = way.address.to_string();
    let settings = [
        ("REDIS_IP", address.as_str()),
        ("WORKERPOOL_CONCURRENCY", "4"),
        sleep,
        ("WORKERPOOL_LOG", "info,worker=debug,telemetry=debug"),
    ];
    Worker::start(redis, "10.0.0.77", &settings)
}

/// Redis has ended the jobs of a turn and given others, and the worker hears nothing of it; nor can it ask again at once.
#[test]
fn turn_whose_answer_is_lost_loses_neither_what_it_ended_nor_what_it_took() {
    let (redis, view) = redis();
    let way = Way::to(&redis);
    let jobs = view.submit_many(12);
    // Only a turn says both that something is complete and who takes what is next.
    way.lose_answer_to(&["complete", "10.0.0.77"]);
    let worker = worker_by(&way, &redis, ("WORKERPOOL_SLEEP_SECONDS", "0.3"));
    way.has_lost();
    let count = |status| jobs.iter().filter(|job| view.status(job) == status).count();
    wait_until("Redis has done it", || count("complete") > 0);
    way.close();
    worker.logs_failure_of("turn");
    worker.logs_failure_of("finish");
    way.open();
    wait_until("all are complete", || count("complete") == jobs.len());
    assert_eq!(worker.count("job started"), jobs.len());
    for job in &jobs {
        let details = view.details(job);
        assert_eq!((details.attempts, details.lost), (1, 0), "{details:?}");
    }
}

/// And then Redis refuses connections for a while: no error says any more that the claim may have been carried out.
#[test]
fn claim_whose_answer_is_lost_is_asked_again_until_there_is_one() {
    let (redis, view) = redis();
    let way = Way::to(&redis);
    let jobs = view.submit_many(2);
    // How only claims end: how long an id without a hash waits, and how often.
    way.lose_answer_to(&["\r\n1000\r\n$1\r\n3\r\n"]);
    let worker = worker_by(&way, &redis, SHORT);
    way.has_lost();
    for job in &jobs {
        view.wait_for_status(job, "in progress");
    }
    way.close();
    worker.logs_that("a claim is refused", |line| {
        line["call"] == "claim" && line["kind"] == "unreachable"
    });
    way.open();
    for job in &jobs {
        assert_eq!(worker.ends(job), "complete");
        let details = view.details(job);
        assert_eq!((details.attempts, details.lost), (1, 0), "{details:?}");
    }
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
