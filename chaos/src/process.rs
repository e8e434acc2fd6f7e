//! A process that is started again whenever it ends, as Kubernetes would.

use std::{
    fs,
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// From one end to the next start: shorter than any lease, so that those left behind are found by others.
const RESTART_PAUSE: Duration = Duration::from_millis(150);

/// How long a process may take to end by itself.
const END_PATIENCE: Duration = Duration::from_secs(15);

/// What signals are sent to: the process that lives now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Target {
    /// 0 between two lives.
    pid: Arc<AtomicI32>,
    /// Whether it is the process's child that is meant: the process is the supervisor of a worker that runs programs.
    child: bool,
}

impl Target {
    /// Which process lives now; 0 if none does.
    pub(crate) fn life(&self) -> i32 {
        self.pid.load(Ordering::Acquire)
    }

    /// Sends it a signal, if it lives.
    pub(crate) fn signal(&self, signal: Signal) {
        let mut pid = Pid::from_raw(self.life());
        if self.child {
            pid = pid.and_then(child_of);
        }
        if let Some(pid) = pid {
            // Fails if it has just ended, which is as good.
            let _ = kill_process(pid, signal);
        }
    }
}

/// The first child of a process that has one thread.
fn child_of(pid: Pid) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    Pid::from_raw(children.split(' ').next()?.parse().ok()?)
}

/// A process, and its successors.
#[derive(Debug)]
pub(crate) struct Supervised {
    target: Target,
    starts: Arc<AtomicU32>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Supervised {
    /// That what is struck is each process's child, the worker that it supervises.
    pub(crate) fn by_its_child(mut self) -> Self {
        self.target.child = true;
        self
    }

    /// Starts what `command` makes, and again after each end.
    pub(crate) fn start(
        name: String,
        mut command: impl FnMut() -> anyhow::Result<Command> + Send + 'static,
    ) -> Self {
        let (target, starts) = (Target::default(), Arc::new(AtomicU32::new(0)));
        let stop = CancellationToken::new();
        let (shared, counted, until) = (target.clone(), Arc::clone(&starts), stop.clone());
        let task = tokio::spawn(async move {
            while !until.is_cancelled() {
                match spawn(&mut command) {
                    Ok(child) => {
                        counted.fetch_add(1, Ordering::Relaxed);
                        let ended = live(child, &shared.pid, &until).await;
                        tracing::debug!(name, ?ended, "ended");
                    }
                    Err(error) => tracing::error!(name, "cannot start: {error:#}"),
                }
                until.run_until_cancelled(sleep(RESTART_PAUSE)).await;
            }
        });
        Self {
            target,
            starts,
            stop,
            task,
        }
    }

    /// The process that lives now, whichever it is.
    pub(crate) fn target(&self) -> Target {
        self.target.clone()
    }

    /// How many lives it has had.
    pub(crate) fn starts(&self) -> u32 {
        self.starts.load(Ordering::Relaxed)
    }

    /// Ends it for good, politely if it can.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.target.signal(Signal::CONT);
        self.target.signal(Signal::TERM);
        // The task ends by itself: `live` kills what does not end in time.
        let _ = self.task.await;
    }
}

fn spawn(command: &mut impl FnMut() -> anyhow::Result<Command>) -> anyhow::Result<Child> {
    command()?.kill_on_drop(true).spawn().context("spawn")
}

async fn live(mut child: Child, pid: &AtomicI32, stop: &CancellationToken) -> Option<ExitStatus> {
    let number = child.id().and_then(|id| i32::try_from(id).ok());
    pid.store(number.unwrap_or(0), Ordering::Release);
    let end = match stop.run_until_cancelled(child.wait()).await {
        Some(ended) => ended.ok(),
        None => match timeout(END_PATIENCE, child.wait()).await {
            Ok(ended) => ended.ok(),
            Err(_) => {
                tracing::warn!(pid = number, "did not end in time and is killed");
                // Fails only if it has ended meanwhile.
                let _ = child.kill().await;
                None
            }
        },
    };
    pid.store(0, Ordering::Release);
    end
}
