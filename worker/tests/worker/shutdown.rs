//! SIGTERM: what is done, what is given back.

use crate::common::{ENDLESS, SHORT, Worker, redis, wait_until};

#[test]
fn sigterm_lets_a_running_job_finish_and_takes_no_other() {
    let (redis, view) = redis();
    let mut worker = Worker::start(&redis, "10.0.0.7", &[("WORKERPOOL_SLEEP_SECONDS", "1")]);
    let ids = view.submit_many(2);
    view.wait_for_status(&ids[0], "in progress");
    worker.process.signal("TERM");
    assert!(worker.process.wait().success());
    assert_eq!(view.status(&ids[0]), "complete");
    assert_eq!(view.status(&ids[1]), "submitted");
    assert_eq!(view.waiting(), ids[1..]);
}

#[test]
fn sigterm_ends_an_idle_worker_at_once_and_loses_nothing_that_arrives_meanwhile() {
    let (redis, view) = redis();
    let mut worker = Worker::start(&redis, "10.0.0.7", &[SHORT]);
    worker.logs("ready for jobs");
    worker.process.signal("TERM");
    let id = view.submit();
    assert!(worker.process.wait().success());
    // Whoever comes next completes it, if the leaving one did not: it is nowhere out of reach.
    let _next = Worker::start(&redis, "10.0.0.8", &[SHORT]);
    view.wait_for_status(&id, "complete");
}

#[test]
fn jobs_that_outlast_the_grace_time_go_back_to_the_head_in_their_order() {
    let (redis, view) = redis();
    let settings = [
        ENDLESS,
        ("WORKERPOOL_CONCURRENCY", "3"),
        ("WORKERPOOL_GRACE_SECONDS", "0"),
    ];
    let mut worker = Worker::start(&redis, "10.0.0.7", &settings);
    let ids = view.submit_many(5);
    wait_until("three jobs run", || worker.count("job started") == 3);
    worker.process.signal("TERM");
    assert!(worker.process.wait().success());
    assert_eq!(view.waiting(), ids);
    for id in &ids {
        assert_eq!(view.status(id), "submitted");
        assert_eq!(view.worker(id), None);
    }
}

#[test]
fn second_sigterm_gives_back_at_once() {
    let (redis, view) = redis();
    let settings = [ENDLESS, ("WORKERPOOL_GRACE_SECONDS", "3600")];
    let mut worker = Worker::start(&redis, "10.0.0.7", &settings);
    let id = view.submit();
    view.wait_for_status(&id, "in progress");
    worker.process.signal("TERM");
    worker.logs("stopping; once more to stop at once");
    worker.process.signal("TERM");
    assert!(worker.process.wait().success());
    assert_eq!(view.status(&id), "submitted");
    assert_eq!(view.waiting(), [id]);
}

#[test]
fn without_redis_sigterm_still_ends_it() {
    let (mut redis, view) = redis();
    let settings = [ENDLESS, ("WORKERPOOL_GRACE_SECONDS", "0")];
    let mut worker = Worker::start(&redis, "10.0.0.7", &settings);
    let id = view.submit();
    view.wait_for_status(&id, "in progress");
    redis.kill();
    worker.process.signal("TERM");
    assert!(worker.process.wait().success());
}
