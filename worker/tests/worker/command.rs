//! A program per job: what it is given, and what its end means.

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use queue::{Cancel, NewJob, Payload, test_server::RedisServer};

use crate::{
    common::{SHORT_LEASE, STOCK, Worker, redis, wait_until},
    processes,
};

pub(crate) const ONE_ATTEMPT: (&str, &str) = ("WORKERPOOL_MAX_ATTEMPTS", "1");
const TIMEOUT: (&str, &str) = ("WORKERPOOL_JOB_TIMEOUT_SECONDS", "0.5");
const NO_GRACE: (&str, &str) = ("WORKERPOOL_GRACE_SECONDS", "0");
const SHORT_KILL_GRACE: (&str, &str) = ("WORKERPOOL_KILL_GRACE_SECONDS", "0.3");

/// Hears no SIGTERM, and neither does what it starts.
const STUBBORN: &str = "trap '' TERM; sleep 3600; true";

/// A worker whose jobs are scripts: each job's `start` is one.
pub(crate) fn shell(redis: &RedisServer, settings: &[(&str, &str)]) -> Worker {
    Worker::start_program(redis, settings, &["sh", "-c", "eval \"$JOB_START\""])
}

#[track_caller]
fn wait_until_gone(job: &str) {
    wait_until("no process of the job is left", || {
        processes::of_job(job).is_empty()
    });
}

#[test]
fn program_is_given_its_job_on_stdin_and_in_its_environment() {
    let (redis, view) = redis();
    let _worker = shell(&redis, &[]);
    let start = r#"cat; printf '%s|' "$JOB_ID" "$JOB_END" "$JOB_ATTEMPT" "$JOB_QUEUE""#;
    let payload = r#"{"b": 1.10, "a": [1e400, "ü"]}"#;
    let job = NewJob {
        payload: Some(Payload::new(payload).unwrap()),
        ..NewJob::new(start, "an \"end\"\n")
    };
    let id = view.submit_new(job);
    view.wait_for_status(&id, "complete");
    let (_, body) = view.result(&id).unwrap();
    let told = String::from_utf8(body).unwrap();
    let (message, variables) = told.split_once('\n').unwrap();
    // As it was written: numbers keep their digits, keys their order.
    let end = format!(r#","attempt":1,"queue":"queue","payload":{payload}}}"#);
    assert!(message.ends_with(&end), "{message}");
    assert!(
        message.starts_with(&format!(r#"{{"id":"{id}","start":"cat; "#)),
        "{message}"
    );
    assert_eq!(variables, format!("{id}|an \"end\"\n|1|queue|"));
}

#[test]
fn program_does_not_see_the_workers_settings() {
    let (redis, view) = redis();
    let _worker = shell(&redis, &[("WORKERPOOL_ANYTHING", "x"), ("OTHER", "kept")]);
    let id = view.submit_job("env | grep -c ^WORKERPOOL_; echo $OTHER", "");
    view.wait_for_status(&id, "complete");
    assert_eq!(view.result(&id).unwrap().1, b"0\nkept\n");
}

#[test]
fn program_may_read_a_long_stdin_or_leave_it() {
    let (redis, view) = redis();
    let _worker = shell(&redis, &[]);
    let payload = format!("\"{}\"", "~".repeat(Payload::MAX_BYTES - 2));
    let with = |start: &str| NewJob {
        payload: Some(Payload::new(payload.clone()).unwrap()),
        ..NewJob::new(start, "")
    };
    let [read, left] = [
        view.submit_new(with("tr -dc '~' | wc -c")),
        view.submit_new(with("true")),
    ];
    view.wait_for_status(&read, "complete");
    // The script has one too.
    assert_eq!(view.result(&read).unwrap().1, b"65535\n");
    view.wait_for_status(&left, "complete");
}

#[test]
fn text_that_no_variable_can_hold_is_on_stdin_all_the_same() {
    let (redis, view) = redis();
    let _worker = Worker::start_program(&redis, &[], &["sh", "-c", "wc -c; echo ${JOB_START-unset}"]);
    for start in ["a\0b".to_owned(), "x".repeat(200_000)] {
        let id = view.submit_job(&start, "");
        view.wait_for_status(&id, "complete");
        let (_, body) = view.result(&id).unwrap();
        assert!(body.ends_with(b"\nunset\n"), "{}", String::from_utf8_lossy(&body));
    }
}

#[test]
fn success_without_output_is_complete_and_gives_nothing() {
    let (redis, view) = redis();
    let worker = shell(&redis, &[]);
    let id = view.submit_job("true", "");
    view.wait_for_status(&id, "complete");
    assert_eq!(view.result(&id), None);
    assert_eq!(worker.ends(&id), "complete");
}

#[test]
fn failure_says_how_the_program_ended_and_what_it_said_last() {
    let (redis, view) = redis();
    let worker = shell(&redis, &[ONE_ATTEMPT]);
    for (script, error) in [
        (
            "echo first >&2; echo boom >&2; exit 3",
            "exit status: 3: first\nboom",
        ),
        ("exit 1", "exit status: 1"),
        ("kill -SEGV $$", "signal: 11 (SIGSEGV)"),
        ("kill -KILL $$", "signal: 9 (SIGKILL)"),
    ] {
        let id = view.submit_job(script, "");
        view.wait_for_status(&id, "failed");
        let said = view.details(&id).error.unwrap();
        assert!(said.starts_with(error), "{said}");
    }
    // Long enough to push its own beginning out.
    let id = view.submit_job("seq 1 10000 >&2; exit 4", "");
    view.wait_for_status(&id, "failed");
    let said = view.details(&id).error.unwrap();
    assert!(
        said.starts_with("exit status: 4: ") && said.ends_with("\n10000"),
        "{said}"
    );
    assert!((900..=1024).contains(&said.len()), "{}", said.len());
    let line = worker.logs("boom");
    assert!(line["job"].is_string(), "{line}");
}

#[test]
fn exit_code_of_a_temporary_failure_spends_no_attempt() {
    let (redis, view) = redis();
    let worker = shell(&redis, &[ONE_ATTEMPT]);
    let id = view.submit_job("exit 75", "");
    assert_eq!(worker.ends(&id), "postponed");
    assert_eq!(view.status(&id), "submitted");
    assert_eq!(view.details(&id).failures, 0);
}

#[test]
fn bytes_stay_as_they_are_and_their_type_shows() {
    let (redis, view) = redis();
    let _worker = shell(&redis, &[]);
    for (script, content_type, body) in [
        (
            r"printf '\211PNG\r\n\032\n\000'",
            "image/png",
            &b"\x89PNG\r\n\x1a\n\0"[..],
        ),
        ("echo '{\"a\": 1}'", "application/json", b"{\"a\": 1}\n"),
        ("echo hello", "text/plain; charset=utf-8", b"hello\n"),
        (r"printf '\000\377'", "application/octet-stream", b"\0\xff"),
        (
            r#"echo x; echo '{"contentType": "text/csv"}' >&3"#,
            "text/csv",
            b"x\n",
        ),
    ] {
        let id = view.submit_job(script, "");
        view.wait_for_status(&id, "complete");
        assert_eq!(view.result(&id), Some((content_type.to_owned(), body.to_owned())));
    }
}

#[test]
fn result_may_be_as_long_as_the_bound_and_no_longer() {
    let (redis, view) = redis();
    let _worker = shell(
        &redis,
        &[
            ONE_ATTEMPT,
            ("WORKERPOOL_RESULT_MAX_BYTES", "100000"),
            SHORT_KILL_GRACE,
        ],
    );
    let fits = view.submit_job("head -c 100000 /dev/zero", "");
    view.wait_for_status(&fits, "complete");
    assert_eq!(view.result(&fits).unwrap().1.len(), 100_000);
    for script in [
        "head -c 100001 /dev/zero",
        "yes",
        "trap '' PIPE TERM; yes; sleep 3600",
    ] {
        let id = view.submit_job(script, "");
        view.wait_for_status(&id, "failed");
        let error = view.details(&id).error.unwrap();
        assert!(
            error.starts_with("its result is longer than 100000 bytes"),
            "{error}"
        );
        wait_until_gone(&id);
    }
}

#[test]
fn program_past_its_timeout_is_ended_however_stubborn_it_is() {
    let (redis, view) = redis();
    let worker = shell(&redis, &[ONE_ATTEMPT, TIMEOUT, SHORT_KILL_GRACE]);
    for (script, signal) in [("echo working >&2; sleep 3600", "SIGTERM"), (STUBBORN, "SIGKILL")] {
        let id = view.submit_job(script, "");
        view.wait_for_status(&id, "failed");
        assert_eq!(worker.ends(&id), "timed_out");
        let error = view.details(&id).error.unwrap();
        assert!(
            error.starts_with("not done within 500ms: signal: ") && error.contains(signal),
            "{error}"
        );
        wait_until_gone(&id);
    }
    assert_eq!(
        worker.count("the handler did not stop in time and was cut off"),
        0
    );
}

#[test]
fn cancelled_program_is_ended_and_the_next_one_runs() {
    let (redis, view) = redis();
    let _worker = shell(&redis, &[SHORT_LEASE, SHORT_KILL_GRACE]);
    for script in ["sleep 3600", STUBBORN] {
        let id = view.submit_job(script, "");
        wait_until("it runs", || !processes::of_job(&id).is_empty());
        assert_eq!(view.cancel(&id), Cancel::Requested);
        view.wait_for_status(&id, "cancelled");
        wait_until_gone(&id);
    }
}

#[test]
fn shutdown_ends_programs_and_gives_their_jobs_back() {
    let (redis, view) = redis();
    let mut worker = shell(
        &redis,
        &[NO_GRACE, SHORT_KILL_GRACE, ("WORKERPOOL_CONCURRENCY", "2")],
    );
    let ids = [view.submit_job("sleep 3600", ""), view.submit_job(STUBBORN, "")];
    for id in &ids {
        wait_until("it runs", || !processes::of_job(id).is_empty());
    }
    worker.process.signal("TERM");
    assert!(worker.process.wait().success());
    assert_eq!(view.waiting(), ids);
    for id in &ids {
        assert_eq!(view.status(id), "submitted");
        assert_eq!(view.details(id).failures, 0);
        assert!(processes::of_job(id).is_empty());
    }
}

#[test]
fn program_that_gets_its_work_done_on_sigterm_has_done_it() {
    let (redis, view) = redis();
    let mut worker = shell(&redis, &[NO_GRACE]);
    let id = view.submit_job(
        "trap 'echo done; exit 0' TERM; echo ready >&2; sleep 3600 & wait",
        "",
    );
    worker.logs("ready");
    worker.process.signal("TERM");
    assert!(worker.process.wait().success());
    view.wait_for_status(&id, "complete");
    assert_eq!(view.result(&id).unwrap().1, b"done\n");
}

/// What a worker says that does not start.
fn refusal(command: &mut Command) -> String {
    let mut worker = command
        .env("WORKERPOOL_REDIS_ADDRESS", "127.0.0.1:1")
        .env("WORKERPOOL_TELEMETRY_ADDRESS", "127.0.0.1:0")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    worker.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!worker.wait().unwrap().success());
    said
}

#[test]
fn worker_does_not_start_without_its_program_and_says_why() {
    let said = refusal(Command::new(STOCK).args(["--", "no-such-program"]));
    assert!(said.contains("there is no program \"no-such-program\""), "{said}");
}

#[test]
fn worker_does_not_start_without_the_descriptor_of_progress_and_says_why() {
    let taken = ["-c", "exec 3</dev/null \"$0\" \"$@\"", STOCK, "--", "true"];
    let said = refusal(Command::new("sh").args(taken));
    assert!(said.contains("file descriptor 3"), "{said}");
}

#[test]
fn worker_copies_itself_whole_and_for_everybody_to_run() {
    let path = std::env::temp_dir().join(format!("worker-copy-{}", std::process::id()));
    let status = Command::new(STOCK).arg("copy-to").arg(&path).status().unwrap();
    assert!(status.success());
    let version = |program: &std::path::Path| Command::new(program).arg("--version").output().unwrap().stdout;
    assert_eq!(version(&path), version(STOCK.as_ref()));
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    fs::remove_file(path).unwrap();
}
