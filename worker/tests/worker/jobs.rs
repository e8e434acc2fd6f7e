//! What a worker does with jobs, beside others.

use std::collections::{HashMap, HashSet};

use crate::common::{ENDLESS, SHORT, Worker, original_worker, redis, wait_until};

#[test]
fn job_goes_from_submitted_to_complete_and_has_the_originals_five_fields() {
    let (redis, view) = redis();
    let id = view.submit();
    assert_eq!(view.status(&id), "submitted");
    let _worker = Worker::start(&redis, "10.0.0.7", &[SHORT]);
    view.wait_for_status(&id, "in progress");
    assert_eq!(view.worker(&id).as_deref(), Some("10.0.0.7"));
    view.wait_for_status(&id, "complete");
    let expected = [
        ("id", id.as_str()),
        ("status", "complete"),
        ("start", "go!"),
        ("end", "stop!"),
        ("worker", "10.0.0.7"),
    ];
    assert_eq!(
        view.hash(&id),
        HashMap::from(expected.map(|(k, v)| (k.to_owned(), v.to_owned())))
    );
}

#[test]
fn two_workers_share_the_jobs() {
    let (redis, view) = redis();
    let _one = Worker::start(&redis, "10.0.0.1", &[SHORT]);
    let _two = Worker::start(&redis, "10.0.0.2", &[SHORT]);
    let ids = view.submit_many(10);
    for id in &ids {
        view.wait_for_status(id, "complete");
    }
    let workers: HashSet<_> = ids.iter().filter_map(|id| view.worker(id)).collect();
    assert_eq!(
        workers,
        HashSet::from(["10.0.0.1".to_owned(), "10.0.0.2".to_owned()])
    );
}

#[test]
fn worker_runs_as_many_jobs_at_once_as_its_concurrency_and_no_more() {
    let (redis, view) = redis();
    let worker = Worker::start(&redis, "10.0.0.7", &[ENDLESS, ("WORKERPOOL_CONCURRENCY", "3")]);
    let ids = view.submit_many(5);
    wait_until("three jobs run", || worker.count("job started") == 3);
    for id in &ids[..3] {
        assert_eq!(view.status(id), "in progress");
    }
    assert_eq!(view.waiting(), ids[3..]);
    let (_, metrics) = worker.get("/metrics");
    assert!(metrics.contains("\nworkerpool_worker_jobs_held 3\n"), "{metrics}");
    assert!(metrics.contains("\nworkerpool_worker_slots 3\n"), "{metrics}");
}

#[test]
fn freed_slot_is_filled_while_the_other_jobs_still_run() {
    let (redis, view) = redis();
    let _worker = Worker::start(&redis, "10.0.0.7", &[SHORT, ("WORKERPOOL_CONCURRENCY", "2")]);
    for id in view.submit_many(7) {
        view.wait_for_status(&id, "complete");
    }
}

#[test]
fn quiet_worker_takes_nothing_until_it_is_quiet_no_more() {
    let (redis, view) = redis();
    let worker = Worker::start(&redis, "10.0.0.7", &[SHORT, ("WORKERPOOL_POD_UID", "pod-7")]);
    worker.logs("ready for jobs");
    view.quiet("pod-7");
    let ask_twice = || {
        let before = worker.claims();
        wait_until("it has asked twice more", || worker.claims() >= before + 2);
    };
    // The first time it may still be blocked in Redis, and so move what arrives.
    ask_twice();
    let id = view.submit();
    ask_twice();
    assert_eq!(view.status(&id), "submitted");
    assert_eq!(view.waiting(), std::slice::from_ref(&id));
    view.unquiet("pod-7");
    view.wait_for_status(&id, "complete");
}

#[test]
fn unmodified_hotqueue_worker_shares_the_queue() {
    let (redis, view) = redis();
    let _ours = Worker::start(&redis, "10.0.0.1", &[SHORT]);
    let _original = original_worker(&redis, "10.0.0.2", "0.2");
    // Python takes its time to start: feed both until both have done some.
    let mut ids = Vec::new();
    wait_until("both have completed jobs", || {
        if view.waiting().len() < 4 {
            ids.extend(view.submit_many(4));
        }
        let workers: HashSet<_> = ids.iter().filter_map(|id| view.worker(id)).collect();
        workers.len() == 2
    });
    for id in &ids {
        view.wait_for_status(id, "complete");
    }
}

#[test]
fn probes_and_metrics_are_served() {
    let (redis, view) = redis();
    let worker = Worker::start(&redis, "10.0.0.7", &[SHORT]);
    let id = view.submit();
    assert_eq!(worker.ends(&id), "complete");
    assert_eq!(
        worker.get("/healthz"),
        (200, "[+]progress ok\nhealthz check passed\n".to_owned())
    );
    assert_eq!(worker.get("/readyz").0, 200);
    let (status, metrics) = worker.get("/metrics");
    assert_eq!(status, 200);
    for line in [
        "workerpool_worker_jobs_total{outcome=\"complete\"} 1",
        "workerpool_worker_jobs_held 0",
        "workerpool_worker_job_duration_seconds_count 1",
        "workerpool_build_info{program=\"worker\"",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}
