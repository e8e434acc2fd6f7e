//! One worker that takes from several queues.

use std::time::{Duration, Instant};

use queue::test_server::RedisServer;

use crate::{
    common::{ENDLESS, SHORT, SHORT_LEASE, View, Worker, redis, wait_until},
    lossy::Way,
};

const BOTH: (&str, &str) = ("WORKERPOOL_QUEUES", "a,b");

fn two_queues() -> (RedisServer, View, View) {
    let (redis, _) = redis();
    let [a, b] = ["a", "b"].map(|queue| View::of_queue(&redis, queue));
    (redis, a, b)
}

#[test]
fn jobs_of_all_queues_are_done_and_those_of_others_are_left() {
    let (redis, a, b) = two_queues();
    let other = View::of(&redis);
    let left = other.submit();
    let _worker = Worker::start(&redis, "10.0.0.7", &[BOTH, SHORT]);
    // One after the other, so that each wakes it.
    for view in [&a, &b, &b, &a] {
        let id = view.submit();
        view.wait_for_status(&id, "complete");
    }
    assert_eq!(other.status(&left), "submitted");
}

#[test]
fn slots_are_those_of_all_queues_together() {
    let (redis, a, b) = two_queues();
    let settings = [BOTH, ENDLESS, ("WORKERPOOL_CONCURRENCY", "3")];
    let worker = Worker::start(&redis, "10.0.0.7", &settings);
    let ids = [a.submit_many(3), b.submit_many(3)].concat();
    wait_until("three jobs run", || worker.count("job started") == 3);
    assert_eq!(worker.metric("workerpool_worker_slots"), 3);
    assert_eq!(worker.metric("workerpool_worker_jobs_held"), 3);
    let running = ids.iter().filter(|id| a.status(id) == "in progress");
    assert_eq!(running.count(), 3);
    assert_eq!(a.waiting().len() + b.waiting().len(), 3);
}

#[test]
fn queue_with_few_jobs_does_not_wait_for_the_one_with_many() {
    let (redis, a, b) = two_queues();
    let (many, few) = (a.submit_many(200), b.submit_many(20));
    let worker = Worker::start_scripted(&redis, "10.0.0.7", &[BOTH]);
    wait_until("all are done", || worker.ended("complete") == 220);
    let started = worker.started();
    let last = started.iter().rposition(|id| few.contains(id)).unwrap();
    let before = started[..last].iter().filter(|id| many.contains(id)).count();
    // One of each in turn; whoever comes first may begin some jobs earlier.
    assert!(
        (15..=40).contains(&before),
        "{before} of the many before the last of the few"
    );
}

#[test]
fn job_that_wakes_a_worker_without_a_slot_is_had_by_one_that_has() {
    let (redis, a, b) = two_queues();
    let busy = Worker::start_scripted(&redis, "10.0.0.1", &[BOTH]);
    let mut idle = None;
    for round in 0..8 {
        b.wait_for_blocked(2 + usize::from(idle.is_some()));
        // Redis wakes who has waited longest: in every other round that is the one without a slot.
        if round % 2 == 0 {
            drop(idle.take());
            b.wait_for_blocked(2);
        }
        let idle = idle
            .get_or_insert_with(|| Worker::start_scripted(&redis, "10.0.0.2", &[("WORKERPOOL_QUEUE", "a")]));
        b.wait_for_blocked(3);
        let long = b.submit_job("sleep 1.2", "");
        b.wait_for_status(&long, "in progress");
        let begun = Instant::now();
        let id = a.submit();
        assert_eq!(idle.ends(&id), "complete");
        // Whoever waits for two seconds finds it in any case.
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(b.status(&long), "in progress");
        b.wait_for_status(&long, "complete");
    }
    assert_eq!(busy.ended("complete"), 8);
}

/// How many workers the queue knows of.
fn registered(view: &View, queue: &str) -> u64 {
    let workers = format!("workerpool:{queue}:workers");
    redis::cmd("HLEN").arg(workers).query(&mut view.db(2)).unwrap()
}

#[test]
fn sigterm_gives_each_job_back_to_the_head_of_its_own_queue() {
    let (redis, a, b) = two_queues();
    let settings = [
        BOTH,
        ENDLESS,
        ("WORKERPOOL_CONCURRENCY", "4"),
        ("WORKERPOOL_GRACE_SECONDS", "0"),
    ];
    let (of_a, of_b) = (a.submit_many(5), b.submit_many(5));
    let mut worker = Worker::start(&redis, "10.0.0.7", &settings);
    wait_until("four jobs run", || worker.count("job started") == 4);
    for queue in ["a", "b"] {
        wait_until("each queue knows of it", || registered(&a, queue) == 1);
    }
    worker.process.signal("TERM");
    assert!(worker.process.wait().success());
    assert_eq!(registered(&a, "a") + registered(&a, "b"), 0);
    assert_eq!(a.waiting(), of_a);
    assert_eq!(b.waiting(), of_b);
    for id in of_a.iter().chain(&of_b) {
        assert_eq!((a.status(id).as_str(), a.worker(id)), ("submitted", None));
    }
}

#[test]
fn lease_of_each_is_kept_and_each_may_say_how_far_it_is_and_be_cancelled() {
    let (redis, a, b) = two_queues();
    let settings = [BOTH, ENDLESS, SHORT_LEASE, ("WORKERPOOL_CONCURRENCY", "2")];
    let worker = Worker::start(&redis, "10.0.0.7", &settings);
    for view in [&a, &b] {
        let id = view.submit();
        wait_until("it runs", || worker.started().contains(&id));
        let (status, problem) = worker.post(&format!("/jobs/{id}/progress"), r#"{"percent": 42}"#);
        assert_eq!(status, 204, "{problem}");
        wait_until("its progress is seen", || {
            let progress = view.job(&id).progress;
            progress.is_some_and(|progress| progress.percent == Some(42))
        });
        view.cancel(&id);
        assert_eq!(worker.ends(&id), "cancelled");
    }
    assert_eq!(worker.metric("workerpool_worker_jobs_held"), 0);
}

#[test]
fn queue_that_cannot_be_used_does_not_hold_up_the_others() {
    let (redis, a, b) = two_queues();
    let log = ("WORKERPOOL_LOG", "info,worker=debug,telemetry=debug");
    let worker = Worker::start_scripted(&redis, "10.0.0.7", &[BOTH, log]);
    a.wait_for_blocked(2);
    let first = a.submit();
    a.wait_for_status(&first, "complete");
    a.wait_for_blocked(2);
    redis::cmd("SET")
        .arg(&["hotqueue:a", "a text"])
        .exec(&mut a.db(2))
        .unwrap();
    worker.logs_failure_of("claim");
    let ids = b.submit_many(100);
    wait_until("all of the other's are done", || worker.ended("complete") == 101);
    assert_eq!(b.status(&ids[99]), "complete");
}

/// Gives four queues to a worker with eight slots and has one of them answer its claims with an error. Long jobs of the others
/// leave fewer slots than one claim asks for.
fn broken_queue_leaves_slots_to_others(kind: &str, break_queue: impl FnOnce(&View)) {
    let (redis, _) = redis();
    let [broken, b, c, d] = ["a", "b", "c", "d"].map(|queue| View::of_queue(&redis, queue));
    let settings = [
        ("WORKERPOOL_QUEUES", "a,b,c,d"),
        ("WORKERPOOL_CONCURRENCY", "8"),
        ("WORKERPOOL_LOG", "info,worker=debug,telemetry=debug"),
    ];
    let worker = Worker::start_scripted(&redis, "10.0.0.7", &settings);
    broken.wait_for_blocked(4);
    break_queue(&broken);
    worker.logs_failure_of("claim");
    let errors = format!("workerpool_worker_redis_errors_total{{kind=\"{kind}\"}}");

    for view in [&b, &b, &c, &c, &d] {
        let id = view.submit_job("sleep 3600", "");
        view.wait_for_status(&id, "in progress");
    }
    // Each claim of the broken queue is one more chance to take the slots from the others.
    let claims = worker.failed_calls("claim") + 3;
    wait_until("the broken queue claims, and the others go on", || {
        for view in [&b, &c, &d] {
            let id = view.submit();
            view.wait_for_status(&id, "complete");
        }
        worker.failed_calls("claim") >= claims
    });
    assert!(worker.metric(&errors) >= 3, "claims fail by {kind}");
    for view in [&b, &c, &d] {
        let id = view.submit_job("sleep 3600", "");
        view.wait_for_status(&id, "in progress");
    }
    assert_eq!(worker.metric("workerpool_worker_jobs_held"), 8);
}

#[test]
fn queue_of_wrong_type_leaves_all_slots_to_others() {
    broken_queue_leaves_slots_to_others("wrong_type", |broken| {
        redis::cmd("SET")
            .arg(&["hotqueue:a", "a text"])
            .exec(&mut broken.db(2))
            .unwrap();
    });
}

#[test]
fn queue_without_rights_leaves_all_slots_to_others() {
    broken_queue_leaves_slots_to_others("denied", |broken| {
        let mut rules = vec!["SETUSER", "default", "resetkeys", "~job.*"];
        rules.extend(["~hotqueue:[bcd]", "~workerpool:[bcd]:*"]);
        redis::cmd("ACL").arg(&rules).exec(&mut broken.db(2)).unwrap();
    });
}

/// Redis has given a job, and the worker does not hear of it before another queue has one.
#[test]
fn slot_of_a_claim_whose_answer_is_lost_is_not_had_by_another_queue() {
    let (redis, a, b) = two_queues();
    let way = Way::to(&redis);
    let address = way.address.to_string();
    let first = a.submit_job("go", "");
    // How only claims end: how long an id without a hash waits, and how often.
    way.lose_answer_to(&["hotqueue:a", "\r\n1000\r\n$1\r\n3\r\n"]);
    let worker = Worker::start_scripted(&redis, "10.0.0.7", &[BOTH, ("REDIS_IP", &address)]);
    way.has_lost();
    a.wait_for_status(&first, "in progress");
    let endless = b.submit_job("sleep 3600", "");
    assert_eq!(worker.ends(&first), "complete");
    let details = a.details(&first);
    assert_eq!((details.attempts, details.lost), (1, 0), "{details:?}");
    b.wait_for_status(&endless, "in progress");
}
