//! What becomes of jobs whose workers die, or are thought dead.

use crate::common::{ENDLESS, SHORT, SHORT_LEASE, Worker, redis, wait_until};

#[test]
fn job_of_a_killed_worker_is_completed_by_another_once_its_lease_ends() {
    let (redis, view) = redis();
    let mut doomed = Worker::start(&redis, "10.0.0.1", &[ENDLESS, SHORT_LEASE]);
    let id = view.submit();
    view.wait_for_status(&id, "in progress");
    doomed.process.signal("KILL");
    doomed.process.wait();

    let heir = Worker::start(&redis, "10.0.0.2", &[SHORT, SHORT_LEASE]);
    view.wait_for_status(&id, "complete");
    assert_eq!(view.worker(&id).as_deref(), Some("10.0.0.2"));
    assert_eq!(heir.ends(&id), "complete");
}

#[test]
fn lease_is_kept_for_as_long_as_the_job_runs() {
    let (redis, view) = redis();
    let settings = [SHORT_LEASE, ("WORKERPOOL_SLEEP_SECONDS", "5")];
    let worker = Worker::start(&redis, "10.0.0.1", &settings);
    let other = Worker::start(&redis, "10.0.0.2", &settings);
    let id = view.submit();
    view.wait_for_status(&id, "complete");
    let started = |worker: &Worker| worker.count("job started");
    assert_eq!(started(&worker) + started(&other), 1);
}

#[test]
fn worker_stopped_beyond_its_lease_cannot_complete_what_another_has() {
    let (redis, view) = redis();
    let zombie = Worker::start(
        &redis,
        "10.0.0.1",
        &[SHORT_LEASE, ("WORKERPOOL_SLEEP_SECONDS", "1")],
    );
    let id = view.submit();
    view.wait_for_status(&id, "in progress");
    zombie.process.signal("STOP");

    let heir = Worker::start(&redis, "10.0.0.2", &[ENDLESS, SHORT_LEASE]);
    wait_until("another has it", || {
        view.worker(&id).as_deref() == Some("10.0.0.2")
    });
    zombie.process.signal("CONT");
    assert_eq!(zombie.ends(&id), "lost");
    assert_eq!(view.status(&id), "in progress");
    assert_eq!(view.worker(&id).as_deref(), Some("10.0.0.2"));

    // And it goes on with other jobs.
    let next = view.submit();
    view.wait_for_status(&next, "complete");
    assert_eq!(view.worker(&next).as_deref(), Some("10.0.0.1"));
    drop(heir);
}

#[test]
fn worker_that_finds_its_lease_lost_stops_the_handler_and_is_free_again() {
    let (redis, view) = redis();
    let zombie = Worker::start(&redis, "10.0.0.1", &[SHORT_LEASE, ENDLESS]);
    let id = view.submit();
    view.wait_for_status(&id, "in progress");
    zombie.process.signal("STOP");

    let _heir = Worker::start(&redis, "10.0.0.2", &[ENDLESS, SHORT_LEASE]);
    wait_until("another has it", || {
        view.worker(&id).as_deref() == Some("10.0.0.2")
    });
    zombie.process.signal("CONT");
    assert_eq!(zombie.ends(&id), "lost");
    let next = view.submit();
    wait_until("it takes another job", || {
        view.worker(&next).as_deref() == Some("10.0.0.1")
    });
    assert_eq!(view.worker(&id).as_deref(), Some("10.0.0.2"));
}
