//! What is seen of how far a job is.

use queue::Progress;

use crate::{
    command::{ONE_ATTEMPT, shell},
    common::{redis, wait_until},
};

fn progress(percent: Option<u8>, message: &str) -> Option<Progress> {
    Some(Progress {
        percent,
        message: message.to_owned(),
    })
}

#[test]
fn progress_of_a_program_is_seen_while_it_runs() {
    let (redis, view) = redis();
    let _worker = shell(&redis, &[]);
    for (line, seen) in [
        ("42 resizing", progress(Some(42), "resizing")),
        (
            r#"{"percent": 7.9, "message": "half"}"#,
            progress(Some(7), "half"),
        ),
        ("just words", progress(None, "just words")),
    ] {
        let id = view.submit_job(&format!("echo '{line}' >&3; sleep 3600"), "");
        wait_until("it is seen", || view.job(&id).progress == seen);
        assert_eq!(view.status(&id), "in progress");
        view.cancel(&id);
    }
}

#[test]
fn last_progress_is_not_lost_however_soon_the_program_ends_after_it() {
    let (redis, view) = redis();
    let _worker = shell(&redis, &[ONE_ATTEMPT]);
    let script = "seq 1 99 >&3; echo 100 done >&3";
    let id = view.submit_job(script, "");
    view.wait_for_status(&id, "complete");
    assert_eq!(view.job(&id).progress, progress(Some(100), "done"));
    let id = view.submit_job("echo 50 half >&3; exit 1", "");
    view.wait_for_status(&id, "failed");
    assert_eq!(view.job(&id).progress, progress(Some(50), "half"));
}

#[test]
fn many_reports_are_few_calls() {
    let (redis, view) = redis();
    let _worker = shell(&redis, &[("WORKERPOOL_CONCURRENCY", "10")]);
    let before = view.script_calls();
    let ids: Vec<_> = (0..10)
        .map(|_| view.submit_job("for i in $(seq 1 100); do echo $i >&3; done; sleep 1", ""))
        .collect();
    for id in &ids {
        view.wait_for_status(id, "complete");
        assert_eq!(view.job(id).progress, progress(Some(100), ""));
    }
    // Submits, claims, looks and chores too.
    let calls = view.script_calls() - before;
    assert!(calls < 300, "{calls} calls for 1,000 reports");
}

/// Reports need the key of changed jobs and the right to read its size; outcomes of unwatched jobs do not.
#[test]
fn progress_that_redis_refuses_does_not_delay_outcomes() {
    let (redis, view) = redis();
    let _worker = shell(&redis, &[ONE_ATTEMPT]);
    view.wait_for_blocked(1);
    let changed = "workerpool:queue:changed";
    for (refuse, allow) in [
        (&["SET", changed, "a text"][..], &["DEL", changed][..]),
        (
            &["ACL", "SETUSER", "default", "-scard"],
            &["ACL", "SETUSER", "default", "+scard"],
        ),
    ] {
        let run = |command: &[&str]| {
            let mut call = redis::cmd(command[0]);
            call.arg(&command[1..]).exec(&mut view.db(2)).unwrap();
        };
        run(refuse);
        for (script, status) in [
            ("echo 100 done >&3", "complete"),
            ("echo 50 half >&3; exit 1", "failed"),
            ("true", "complete"),
        ] {
            let id = view.submit_job(script, "");
            view.wait_for_status(&id, status);
            assert_eq!(view.job(&id).progress, None);
        }
        let running = view.submit_job("echo 42 half >&3; sleep 3600", "");
        view.wait_for_status(&running, "in progress");
        run(allow);
        wait_until("it is seen", || {
            view.job(&running).progress == progress(Some(42), "half")
        });
        view.cancel(&running);
        view.wait_for_status(&running, "cancelled");
    }
}
