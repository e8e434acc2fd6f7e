//! A program per job: what it is given, and what its end means.

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use queue::{Cancel, NewJob, Payload, test_server::RedisServer};
use rustix::process::{Resource, Rlimit};

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
fn program_that_reads_stdin_finds_it_empty_if_that_is_set() {
    let (redis, view) = redis();
    // The program takes its input for keys, as ffmpeg does: a `q` ends it before its work is done.
    let script = r#"case "$(cat)" in *q*) exit 0;; esac; printf '%s' "$JOB_END|${JOB_PAYLOAD-none}""#;
    let payload = "{\"n\": 1.10}";
    for (stdin, results) in [
        ("Job", [None, None]),
        ("empty", [Some("a|{\"n\": 1.10}"), Some("b|none")]),
    ] {
        let worker = Worker::start_program(
            &redis,
            &[("WORKERPOOL_COMMAND_STDIN", stdin)],
            &["sh", "-c", script],
        );
        let jobs = [("a", Some(Payload::new(payload).unwrap())), ("b", None)];
        for ((end, payload), result) in jobs.into_iter().zip(results) {
            let id = view.submit_new(NewJob {
                payload,
                ..NewJob::new("", end)
            });
            assert_eq!(worker.ends(&id), "complete");
            let given = view.result(&id).map(|(_, body)| String::from_utf8(body).unwrap());
            assert_eq!(given.as_deref(), result);
        }
    }
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

/// The error of a worker that does not start, and its exit code. One line, even if backtraces are wanted.
fn refusal(command: &mut Command) -> (String, i32) {
    let mut worker = command
        .env("WORKERPOOL_REDIS_ADDRESS", "127.0.0.1:1")
        .env("RUST_BACKTRACE", "1")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    worker.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let errors: Vec<_> = said
        .lines()
        .filter(|line| !line.contains(" INFO ") && !line.contains(" WARN "))
        .collect();
    assert!(errors.len() == 1 && errors[0].starts_with("error: "), "{said}");
    (errors[0].to_owned(), worker.wait().unwrap().code().unwrap())
}

/// An executable file of the test's own, which is removed on drop.
struct Executable(PathBuf);

impl Executable {
    fn new(name: &str, content: impl AsRef<[u8]>) -> Self {
        let file = Self(std::env::temp_dir().join(format!("worker-{name}-{}", std::process::id())));
        file.replace(content, 0o755);
        file
    }

    /// Replaces the file as a whole, by another process: a file that is open for writing in this one may be so in a child of
    /// another test too, and cannot be run then.
    fn replace(&self, content: impl AsRef<[u8]>, mode: u32) {
        let (data, new) = (self.0.with_extension("data"), self.0.with_extension("new"));
        fs::write(&data, content).unwrap();
        let mut install = Command::new("install");
        install.arg(format!("--mode={mode:o}")).args([&data, &new]);
        assert!(install.status().unwrap().success());
        fs::remove_file(data).unwrap();
        fs::rename(new, &self.0).unwrap();
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Executable {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A program of this machine, for another processor or for a dynamic loader that nobody has.
fn broken_binaries() -> [Vec<u8>; 2] {
    let whole = fs::read("/bin/true").unwrap();
    let (mut foreign, mut unloadable) = (whole.clone(), whole);
    // <https://man7.org/linux/man-pages/man5/elf.5.html>, `e_machine`
    foreign[18..20].fill(0xff);
    let loader = unloadable.windows(4).position(|bytes| bytes == b"/ld-").unwrap();
    unloadable[loader + 1..loader + 3].fill(b'x');
    [foreign, unloadable]
}

#[test]
fn program_that_cannot_be_started_fails_its_attempt_with_reason() {
    let (redis, view) = redis();
    let program = Executable::new("broken", "#!/bin/sh\n");
    let worker = Worker::start_program(&redis, &[ONE_ATTEMPT], &[program.path()]);
    let [foreign, unloadable] = broken_binaries();
    let fails = |says: &str| {
        let id = view.submit();
        view.wait_for_status(&id, "failed");
        let details = view.details(&id);
        let error = details.error.unwrap();
        assert_eq!(details.failures, 1, "{error}");
        assert!(
            error.starts_with(&format!("cannot start {}: ", program.path())),
            "{error}"
        );
        assert!(error.contains(says), "{error}");
    };
    for (content, mode, says) in [
        (b"#!/bin/no-such-shell\n".to_vec(), 0o755, "its first line"),
        (unloadable, 0o755, "its dynamic loader"),
        (foreign, 0o755, "this machine's processor"),
        (b"true\n".to_vec(), 0o755, "begins with #!"),
        (b"#!/bin/sh\n".to_vec(), 0o644, "may not run it"),
    ] {
        program.replace(content, mode);
        fails(says);
    }
    program.replace("#!/bin/sh\n", 0o755);
    let writer = fs::OpenOptions::new().append(true).open(&program.0).unwrap();
    fails("is writing to it");
    drop(writer);
    fs::remove_file(&program.0).unwrap();
    fails("No such file");
    program.replace("#!/bin/sh\n", 0o755);
    let id = view.submit();
    view.wait_for_status(&id, "complete");
    let failures = "workerpool_worker_program_start_failures_total{reason=\"program\"}";
    assert_eq!(worker.metric(failures), 7);
}

/// The process that runs programs: the child of the supervisor.
fn working_process(worker: &Worker) -> processes::Pid {
    processes::children(worker.process.pid())[0]
}

fn limit(pid: processes::Pid, resource: Resource, most: u64) -> Rlimit {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap());
    let former = rustix::process::getrlimit(resource);
    let new = Rlimit {
        current: Some(most),
        ..former
    };
    rustix::process::prlimit(pid, resource, new).unwrap()
}

#[test]
fn texts_that_are_too_long_for_a_program_fail_their_attempt() {
    let (redis, view) = redis();
    let text = "x".repeat(100_000);
    let worker = Worker::start_program(&redis, &[ONE_ATTEMPT, ("PADDING", &text)], &["true"]);
    // A quarter of the stack is for arguments and environment.
    limit(working_process(&worker), Resource::Stack, 1024 * 1024);
    let id = view.submit_job(&text, &text);
    assert_eq!(worker.ends(&id), "failed");
    let error = view.details(&id).error.unwrap();
    assert!(error.contains("too long together"), "{error}");
}

#[test]
fn job_waits_while_machine_is_short_of_files_and_says_so() {
    let (redis, view) = redis();
    let worker = Worker::start_program(&redis, &[ONE_ATTEMPT], &["true"]);
    view.wait_for_blocked(1);
    let pid = working_process(&worker);
    // The pipes of a program are eight.
    let is_free = |fd: &u64| !Path::new(&format!("/proc/{pid}/fd/{fd}")).exists();
    let fifth = (0..).filter(is_free).nth(4).unwrap();
    let former = limit(pid, Resource::Nofile, fifth + 1);
    let id = view.submit();
    assert_eq!(worker.ends(&id), "postponed");
    assert_eq!(view.details(&id).failures, 0);
    let (status, said) = worker.get("/readyz");
    assert_eq!(status, 200);
    assert!(
        said.contains("[!]handler: programs cannot be started: Too many open files"),
        "{said}"
    );
    let failures = "workerpool_worker_program_start_failures_total{reason=\"shortage\"}";
    assert!(worker.metric(failures) >= 1);

    limit(pid, Resource::Nofile, former.current.unwrap());
    view.wait_for_status(&id, "complete");
    let (_, said) = worker.get("/readyz");
    assert!(!said.contains("[!]handler"), "{said}");
}

#[test]
fn worker_does_not_start_without_its_program_and_says_why() {
    let (said, code) = refusal(Command::new(STOCK).args(["--", "no-such-program"]));
    assert!(said.contains("there is no program \"no-such-program\""), "{said}");
    assert_eq!(code, 2);
    let script = Executable::new("no-interpreter", "#!/bin/no-such-shell\n");
    let (said, code) = refusal(Command::new(STOCK).args(["--", script.path()]));
    assert!(
        said.contains("is for the interpreter \"/bin/no-such-shell\""),
        "{said}"
    );
    assert_eq!(code, 2);
}

#[test]
fn worker_with_settings_that_cannot_work_says_why_in_one_line() {
    for (flags, says) in [
        (&["--log", "worker=loud"][..], "WORKERPOOL_LOG: `worker=loud`"),
        (
            &["--backoff-base-seconds", "301"],
            "WORKERPOOL_BACKOFF_BASE_SECONDS",
        ),
        (&["--handler", "http"], "WORKERPOOL_HTTP_URL"),
    ] {
        let (said, code) = refusal(Command::new(STOCK).args(flags));
        assert!(said.contains(says), "{said}");
        assert_eq!(code, 2);
    }
}

#[test]
fn worker_whose_port_is_taken_names_setting_and_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("[::]:{}", taken.local_addr().unwrap().port());
    for handler in [&[][..], &["--", "true"]] {
        let mut worker = Command::new(STOCK);
        worker.args(["--telemetry-address", &address]).args(handler);
        let (said, code) = refusal(&mut worker);
        for part in [
            &format!("cannot listen on {address} (WORKERPOOL_TELEMETRY_ADDRESS")[..],
            "spec.worker.telemetryPort",
            "address in use; ",
            "another port",
        ] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(code, 1);
    }
}

#[test]
fn worker_does_not_start_without_the_descriptor_of_progress_and_says_why() {
    let taken = ["-c", "exec 3</dev/null \"$0\" \"$@\"", STOCK, "--", "true"];
    let (said, _) = refusal(Command::new("sh").args(taken));
    assert!(said.contains("file descriptor 3"), "{said}");
}

#[test]
fn worker_copies_itself_whole_and_for_everybody_to_run() {
    let path = std::env::temp_dir().join(format!("worker-copy-{}", std::process::id()));
    let status = Command::new(STOCK).arg("copy-to").arg(&path).status().unwrap();
    assert!(status.success());
    let version = |program: &Path| Command::new(program).arg("--version").output().unwrap().stdout;
    assert_eq!(version(&path), version(STOCK.as_ref()));
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    fs::remove_file(path).unwrap();
}
