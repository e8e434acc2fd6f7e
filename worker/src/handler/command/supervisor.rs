//! Ends the programs of a worker that was killed.
//!
//! SIGKILL leaves a worker no moment to end its programs. As pid 1 of a container it needs none: the kernel kills whatever
//! is left in it (<https://man7.org/linux/man-pages/man7/pid_namespaces.7.html>). Anywhere else a second process of this
//! program, the supervisor, starts the worker and inherits what it leaves behind, as a subreaper, and kills it. If it is the
//! supervisor that is killed, the worker hears of it by a signal and stops at once, its programs with it.
//!
//! The programs themselves get no parent-death signal. It is set in the program, between fork and exec, which takes unsafe
//! code; it comes when the *thread* dies that forked; it is forgotten over a set-user-id program; and the program's own
//! children never hear of it. Between worker and supervisor none of that matters: the worker sets it for itself once it runs,
//! and the supervisor's only thread forks it.

use std::{
    env, io,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Command, ExitCode, ExitStatus},
    time::Duration,
};

use anyhow::{Context, ensure};
use rustix::process::{
    Pid, Signal, WaitOptions, getpgid, getpid, getppid, kill_process, set_child_subreaper,
    set_parent_process_death_signal, wait,
};
use telemetry::Shutdown;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep, timeout_at},
};

use super::children::{children, kill};

/// Holds the supervisor's pid, for its worker.
const SUPERVISOR: &str = "WORKERPOOL_SUPERVISOR";

/// How long what a dead worker left behind may take to be gone. What is killed is gone at once, unless the kernel holds it.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks at what is still there.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Whether this process is to supervise, and not to work.
pub fn is_needed() -> bool {
    !getpid().is_init() && env::var_os(SUPERVISOR).is_none()
}

/// Starts this program again, as the worker, passes SIGTERM and SIGINT on to it, and returns how it ended once nothing that
/// it started is left. Needs a tokio runtime.
///
/// # Errors
/// If the worker cannot be started.
pub async fn supervise() -> anyhow::Result<ExitCode> {
    set_child_subreaper(Some(getpid())).context("cannot become a subreaper")?;
    let mut deaths = signal(SignalKind::child())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut args = env::args_os();
    let worker = Command::new("/proc/self/exe")
        .arg0(args.next().unwrap_or_default())
        .args(args)
        .env(SUPERVISOR, getpid().to_string())
        // Of its own: else it would hear a terminal's SIGINT twice, which means at once.
        .process_group(0)
        .spawn()
        .context("cannot start the worker")?;
    let worker = Pid::from_child(&worker);
    let ended = loop {
        // Only here it is reaped, so that the pid is its own.
        let _ = tokio::select! {
            _ = deaths.recv() => match reap(worker) {
                Some(ended) => break ended,
                None => Ok(()),
            },
            _ = terminate.recv() => kill_process(worker, Signal::TERM),
            _ = interrupt.recv() => kill_process(worker, Signal::INT),
        };
    };
    end_what_is_left().await;
    Ok(exit_code(ended))
}

/// Reaps what has ended, and answers how the worker did.
fn reap(worker: Pid) -> Option<ExitStatus> {
    let mut ended = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == worker {
            ended = Some(ExitStatus::from_raw(status.as_raw()));
        }
    }
    ended
}

/// Kills all children, and those that it inherits from them, until there is none.
async fn end_what_is_left() {
    let deadline = Instant::now() + END_PATIENCE;
    let end = async {
        loop {
            for pid in children() {
                kill(pid, getpgid(Some(pid)).ok());
            }
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => sleep(LOOK_AGAIN).await,
                // There is no child.
                Err(_) => return,
            }
        }
    };
    // Who waits for this process shall not wait for ever.
    let _ = timeout_at(deadline, end).await;
}

/// As shells have it: 128 and the signal's number.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Has this worker stop at once when its supervisor is gone; nothing if it has none. Needs a tokio runtime.
///
/// # Errors
/// If it is gone already.
pub fn depend_on(shutdown: &Shutdown) -> anyhow::Result<()> {
    let Some(supervisor) = env::var_os(SUPERVISOR) else {
        return Ok(());
    };
    let mut gone = signal(SignalKind::hangup())?;
    set_parent_process_death_signal(Some(Signal::HUP)).map_err(io::Error::from)?;
    let parent = getppid().map(|parent| parent.to_string());
    ensure!(
        parent.is_some_and(|parent| supervisor == *parent),
        "the supervisor is gone"
    );
    let shutdown = shutdown.clone();
    tokio::spawn(telemetry::vital(async move {
        gone.recv().await;
        tracing::warn!("the supervisor is gone: stopping at once");
        shutdown.signal("SIGHUP");
        shutdown.signal("SIGHUP");
    }));
    Ok(())
}
