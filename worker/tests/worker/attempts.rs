//! Attempts that fail, take too long, panic, are cancelled, or kill their worker.

use std::time::{Duration, Instant};

use queue::Cancel;

use crate::common::{SHORT_LEASE, Worker, redis, wait_until};

const ONE_ATTEMPT: (&str, &str) = ("WORKERPOOL_MAX_ATTEMPTS", "1");
const AGAIN_SOON: (&str, &str) = ("WORKERPOOL_BACKOFF_BASE_SECONDS", "0.05");
const TIMEOUT: (&str, &str) = ("WORKERPOOL_JOB_TIMEOUT_SECONDS", "0.3");
const DEAD_FAILED: &str = "workerpool_worker_jobs_dead_total{reason=\"failed\"}";

#[test]
fn failed_attempt_is_followed_by_another_and_the_job_completes() {
    let (redis, view) = redis();
    let worker = Worker::start_scripted(&redis, "10.0.0.7", &[AGAIN_SOON]);
    let id = view.submit_job("fail boom", "until attempt 3");
    view.wait_for_status(&id, "complete");
    assert_eq!(worker.count("job started"), 3);
    assert_eq!(worker.ended("failed"), 2);
    wait_until("it is counted", || worker.ended("complete") == 1);
    assert_eq!(worker.metric(DEAD_FAILED), 0);
}

#[test]
fn job_whose_attempts_are_spent_is_dead() {
    let (redis, view) = redis();
    let settings = [AGAIN_SOON, ("WORKERPOOL_MAX_ATTEMPTS", "2")];
    let worker = Worker::start_scripted(&redis, "10.0.0.7", &settings);
    let id = view.submit_job("fail boom", "");
    view.wait_for_status(&id, "failed");
    let line = worker.logs("the last attempt failed: the job is dead");
    assert_eq!(line["job"], id.as_str());
    assert_eq!(line["error"], "boom");
    assert_eq!(worker.count("job started"), 2);
    let details = view.details(&id);
    assert_eq!((details.failures, details.error.as_deref()), (2, Some("boom")));
    assert_eq!(details.reason.as_deref(), Some("failed"));
    wait_until("it is counted", || worker.metric(DEAD_FAILED) == 1);
    assert_eq!(view.waiting(), [""; 0]);
}

#[test]
fn handler_that_panics_has_failed_and_the_jobs_beside_it_go_on() {
    let (redis, view) = redis();
    let settings = [ONE_ATTEMPT, ("WORKERPOOL_CONCURRENCY", "2")];
    let worker = Worker::start_scripted(&redis, "10.0.0.7", &settings);
    let beside = view.submit_job("sleep 1", "");
    view.wait_for_status(&beside, "in progress");
    let id = view.submit_job("panic boom", "");
    view.wait_for_status(&id, "failed");
    let line = worker.logs("the last attempt failed: the job is dead");
    assert_eq!(line["error"], "panicked: boom");
    assert_eq!(view.status(&beside), "in progress");
    view.wait_for_status(&beside, "complete");

    // The slot is free again.
    let both = [view.submit_job("sleep 1", ""), view.submit_job("sleep 1", "")];
    wait_until("two jobs run", || {
        both.iter().all(|id| view.status(id) == "in progress")
    });
}

#[test]
fn job_past_its_timeout_is_stopped_and_has_failed() {
    let (redis, view) = redis();
    let worker = Worker::start_scripted(&redis, "10.0.0.7", &[ONE_ATTEMPT, TIMEOUT]);
    let id = view.submit_job("sleep 3600", "");
    view.wait_for_status(&id, "failed");
    let line = worker.logs("the last attempt failed: the job is dead");
    assert_eq!(line["error"], "not done within 300ms");
    assert_eq!(worker.ends(&id), "timed_out");
    assert_eq!(
        worker.count("the handler did not stop in time and was cut off"),
        0
    );
}

#[test]
fn handler_that_does_not_hear_of_its_timeout_is_cut_off() {
    let (redis, view) = redis();
    let worker = Worker::start_scripted(&redis, "10.0.0.7", &[ONE_ATTEMPT, TIMEOUT]);
    let id = view.submit_job("hang", "");
    view.wait_for_status(&id, "failed");
    worker.logs("the handler did not stop in time and was cut off");
    assert_eq!(worker.ends(&id), "timed_out");
    let next = view.submit();
    view.wait_for_status(&next, "complete");
}

#[test]
fn work_that_gets_done_just_past_its_timeout_is_complete() {
    let (redis, view) = redis();
    let worker = Worker::start_scripted(&redis, "10.0.0.7", &[ONE_ATTEMPT, TIMEOUT]);
    let id = view.submit_job("finish anyway", "");
    view.wait_for_status(&id, "complete");
    assert_eq!(worker.ends(&id), "complete");
}

#[test]
fn job_that_asks_for_later_comes_back_then_and_has_spent_nothing() {
    let (redis, view) = redis();
    let worker = Worker::start_scripted(&redis, "10.0.0.7", &[ONE_ATTEMPT]);
    let begun = Instant::now();
    let id = view.submit_job("later 1", "");
    assert_eq!(worker.ends(&id), "postponed");
    view.wait_for_status(&id, "complete");
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[test]
fn shutdown_spends_no_attempt() {
    let (redis, view) = redis();
    let settings = [
        ONE_ATTEMPT,
        ("WORKERPOOL_MAX_LOST", "1"),
        ("WORKERPOOL_GRACE_SECONDS", "0"),
    ];
    let id = view.submit_job("sleep 1", "");
    for _ in 0..2 {
        let mut leaving = Worker::start_scripted(&redis, "10.0.0.7", &settings);
        view.wait_for_status(&id, "in progress");
        leaving.process.signal("TERM");
        assert!(leaving.process.wait().success());
        assert_eq!(view.status(&id), "submitted");
    }
    let _last = Worker::start_scripted(&redis, "10.0.0.7", &settings);
    view.wait_for_status(&id, "complete");
    let details = view.details(&id);
    assert_eq!((details.failures, details.lost, details.interruptions), (0, 0, 2));
}

#[test]
fn job_that_kills_its_workers_is_dead_in_the_end_and_those_behind_it_are_done() {
    let (redis, view) = redis();
    let settings = [
        AGAIN_SOON,
        ("WORKERPOOL_LEASE_SECONDS", "1"),
        ("WORKERPOOL_MAX_LOST", "2"),
    ];
    let poison = view.submit_job("kill", "");
    let innocents: Vec<_> = (0..5).map(|_| view.submit_job("done", "")).collect();
    let mut deaths = 0;
    let mut worker = Worker::start_scripted(&redis, "10.0.0.7", &settings);
    wait_until("it is dead", || {
        if worker.process.has_ended() {
            deaths += 1;
            worker = Worker::start_scripted(&redis, "10.0.0.7", &settings);
        }
        view.status(&poison) == "failed"
    });
    assert_eq!(deaths, 2);
    for id in &innocents {
        view.wait_for_status(id, "complete");
    }
    let details = view.details(&poison);
    assert_eq!(details.reason.as_deref(), Some("worker lost"));
    assert_eq!(details.lost, 2);
    wait_until("it is counted", || {
        worker.metric("workerpool_worker_jobs_dead_total{reason=\"worker_lost\"}") == 1
    });
}

#[test]
fn cancelled_job_is_stopped_by_its_worker_which_goes_on() {
    let (redis, view) = redis();
    let worker = Worker::start_scripted(&redis, "10.0.0.7", &[SHORT_LEASE]);
    let id = view.submit_job("sleep 3600", "");
    view.wait_for_status(&id, "in progress");
    assert_eq!(view.cancel(&id), Cancel::Requested);
    view.wait_for_status(&id, "cancelled");
    assert_eq!(worker.ends(&id), "cancelled");
    let next = view.submit();
    view.wait_for_status(&next, "complete");
}

#[test]
fn work_that_gets_done_although_it_was_cancelled_is_complete() {
    let (redis, view) = redis();
    let _worker = Worker::start_scripted(&redis, "10.0.0.7", &[SHORT_LEASE]);
    let id = view.submit_job("finish anyway", "");
    view.wait_for_status(&id, "in progress");
    assert_eq!(view.cancel(&id), Cancel::Requested);
    view.wait_for_status(&id, "complete");
}

#[test]
fn job_that_is_cancelled_before_its_turn_never_runs() {
    let (redis, view) = redis();
    let worker = Worker::start_scripted(&redis, "10.0.0.7", &[]);
    let first = view.submit_job("sleep 1", "");
    view.wait_for_status(&first, "in progress");
    let [second, third] = [view.submit(), view.submit()];
    assert_eq!(view.cancel(&second), Cancel::Cancelled);
    view.wait_for_status(&third, "complete");
    assert_eq!(view.status(&second), "cancelled");
    // What was started before the third is logged before it.
    wait_until("the third is logged", || worker.count("job started") >= 2);
    assert_eq!(worker.count("job started"), 2);
}

#[test]
fn jobs_that_end_together_are_told_together() {
    let (redis, view) = redis();
    let worker = Worker::start_scripted(&redis, "10.0.0.7", &[("WORKERPOOL_CONCURRENCY", "200")]);
    let ids: Vec<_> = (0..100).map(|_| view.submit_job("wait", "")).collect();
    wait_until("all run", || worker.count("job started") == 100);
    let before = view.script_calls();
    view.submit_job("open", "");
    for id in &ids {
        view.wait_for_status(id, "complete");
    }
    // Chores too call scripts, a few each second.
    let calls = view.script_calls() - before;
    assert!(calls < 60, "{calls} calls for 100 jobs");
}
