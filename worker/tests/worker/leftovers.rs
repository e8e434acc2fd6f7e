//! Of what programs start, nothing outlives them: neither a process nor a zombie.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
};

use crate::{
    command::shell,
    common::{STOCK, Worker, redis, wait_until},
    processes::{self, Pid, children, is_zombie},
};

#[track_caller]
fn wait_until_gone(job: &str) {
    wait_until("no process of the job is left", || {
        processes::of_job(job).is_empty()
    });
}

/// What programs can wait for: a pipe with a name.
struct Fifo(PathBuf);

impl Fifo {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("worker-test-{}-{name}", std::process::id()));
        let _ = fs::remove_file(&path);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        Self(path)
    }

    /// Lets one go that waits.
    fn release(&self) {
        drop(File::options().write(true).open(&self.0).unwrap());
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn what_a_program_leaves_in_its_group_is_killed_when_it_ends() {
    let (redis, view) = redis();
    let _worker = shell(&redis, &[]);
    let id = view.submit_job("echo x; (trap '' TERM HUP; sleep 3600) & exit 0", "");
    view.wait_for_status(&id, "complete");
    assert_eq!(view.result(&id).unwrap().1, b"x\n");
    wait_until_gone(&id);
}

#[test]
fn daemon_that_a_program_leaves_behind_neither_holds_up_its_job_nor_outlives_it() {
    let (redis, view) = redis();
    let _worker = shell(&redis, &[]);
    // It keeps stdout and stderr open, has a session of its own, and a child.
    let id = view.submit_job(
        "echo x; setsid -f sh -c 'trap \"\" TERM HUP; sleep 3600; true'; exit 0",
        "",
    );
    view.wait_for_status(&id, "complete");
    assert_eq!(view.result(&id).unwrap().1, b"x\n");
    wait_until_gone(&id);
}

#[test]
fn daemon_lives_as_long_as_its_program() {
    let (redis, view) = redis();
    let _worker = shell(&redis, &[("WORKERPOOL_CONCURRENCY", "2")]);
    let fifo = Fifo::new("daemon");
    let script = format!("setsid -f sleep 3600; read x < {}; true", fifo.0.display());
    let id = view.submit_job(&script, "");
    let is_daemon = |pid: &Pid| {
        let name = fs::read(format!("/proc/{pid}/cmdline"));
        name.is_ok_and(|name| name.starts_with(b"sleep"))
    };
    let daemon = || processes::of_job(&id).into_iter().find(is_daemon);
    wait_until("the daemon runs", || daemon().is_some());
    // Jobs beside it that end are when the worker looks for what is left behind; each takes longer than it waits between.
    for _ in 0..3 {
        let beside = view.submit_job("sleep 0.2", "");
        view.wait_for_status(&beside, "complete");
    }
    assert!(daemon().is_some());
    fifo.release();
    view.wait_for_status(&id, "complete");
    wait_until_gone(&id);
}

#[test]
fn as_pid_1_it_leaves_no_zombie() {
    let (redis, view) = redis();
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--kill-child", "--mount-proc", STOCK])
        .args(["--", "sh", "-c", "eval \"$JOB_START\""]);
    let worker = Worker::start_command(command, &redis, "10.0.0.7", &[]);
    let pid = children(worker.process.pid())[0];
    // Grandchildren that lose their parents, in the group and out of it.
    for _ in 0..10 {
        let id = view.submit_job(
            "(true &); (sleep 0.01 &); setsid -f true; setsid -f sleep 0.01",
            "",
        );
        view.wait_for_status(&id, "complete");
    }
    let id = view.submit_job("sleep 3600 & sleep 3600 & exit 1", "");
    assert_eq!(worker.ends(&id), "failed");
    wait_until("it has no child", || children(pid).is_empty());
}

#[test]
fn exit_status_of_a_program_is_not_taken_for_that_of_a_stranger() {
    let (redis, view) = redis();
    let worker = shell(
        &redis,
        &[("WORKERPOOL_CONCURRENCY", "8"), ("WORKERPOOL_MAX_ATTEMPTS", "1")],
    );
    let jobs: Vec<_> = (0..80)
        .map(|number| {
            let code = number % 2;
            (
                view.submit_job(&format!("setsid -f true; (true &); exit {code}"), ""),
                code,
            )
        })
        .collect();
    for (id, code) in &jobs {
        view.wait_for_status(id, if *code == 0 { "complete" } else { "failed" });
    }
    let supervised = children(worker.process.pid())[0];
    wait_until("it has no zombie", || {
        !children(supervised).into_iter().any(is_zombie)
    });
}

#[test]
fn killed_worker_leaves_no_program_behind() {
    let (redis, view) = redis();
    let mut worker = shell(&redis, &[("WORKERPOOL_CONCURRENCY", "2")]);
    let scripts = [
        "trap '' TERM HUP; sleep 3600; true",
        "setsid -f sleep 3600; sleep 3600 & wait",
    ];
    let ids = scripts.map(|script| view.submit_job(script, ""));
    wait_until("they run", || {
        processes::of_job(&ids[0]).len() == 2 && processes::of_job(&ids[1]).len() == 3
    });
    processes::kill(children(worker.process.pid())[0], "-KILL");
    for id in &ids {
        wait_until_gone(id);
    }
    assert_eq!(worker.process.wait().code(), Some(128 + 9));
}

#[test]
fn worker_whose_supervisor_is_killed_stops_at_once_and_gives_its_jobs_back() {
    let (redis, view) = redis();
    let mut worker = shell(&redis, &[("WORKERPOOL_GRACE_SECONDS", "3600")]);
    let id = view.submit_job("sleep 3600; true", "");
    wait_until("it runs", || processes::of_job(&id).len() == 2);
    worker.process.signal("KILL");
    worker.process.wait();
    wait_until_gone(&id);
    view.wait_for_status(&id, "submitted");
}
