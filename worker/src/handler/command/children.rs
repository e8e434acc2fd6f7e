//! The children of this process: the programs that it started, and what they left behind.

use std::{
    collections::HashMap,
    fs, io,
    process::{self, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpgid, getpid, kill_process, kill_process_group,
    set_child_subreaper, wait, waitid, waitpid,
};
use std::os::unix::process::ExitStatusExt;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::{Instant, sleep_until},
};

use super::Third;

/// How long a stray may live on once its program has ended, about: looking for strays costs more than reaping does, so
/// many ends share a look.
const STRAY_PERIOD: Duration = Duration::from_millis(100);

/// The programs that run, each the leader of a process group of its own. Clones share it.
///
/// As pid 1, or as a subreaper, this process inherits every descendant whose parent ends. It reaps them all, so that no
/// zombie stays, and hands over the exit status of those that it started. Of what a program leaves behind nothing lives on:
/// what is in its group is killed with its leader's end; what had left the group, as a daemon does, is a *stray*, and
/// killed once no program runs to which it could belong.
#[derive(Clone, Debug)]
pub(super) struct Children(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    third: Third,
    programs: HashMap<Pid, Entry>,
    /// How many programs have been started.
    started: u64,
    /// By process: how many programs had been started when it was found.
    strays: HashMap<Pid, u64>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    ended: oneshot::Sender<ExitStatus>,
}

impl Children {
    /// Looks after this process's children from now on, all of them. Needs a tokio runtime.
    pub(super) fn look_after(third: Third) -> io::Result<Self> {
        set_child_subreaper(Some(getpid()))?;
        let mut deaths = signal(SignalKind::child())?;
        let children = Self(Arc::new(Mutex::new(Table {
            third,
            programs: HashMap::new(),
            started: 0,
            strays: HashMap::new(),
        })));
        let table = children.clone();
        tokio::spawn(telemetry::vital(async move {
            let mut look = Instant::now();
            let mut looked = true;
            loop {
                tokio::select! {
                    biased;
                    Some(()) = deaths.recv() => {
                        table.lock().reap();
                        looked = false;
                    }
                    () = sleep_until(look), if !looked => {
                        table.lock().end_strays();
                        looked = true;
                        look = Instant::now() + STRAY_PERIOD;
                    }
                }
            }
        }));
        Ok(children)
    }

    /// Starts a program in a group of its own, with `reports` as its descriptor 3.
    pub(super) fn start(
        &self,
        command: &mut process::Command,
        reports: io::PipeWriter,
    ) -> io::Result<Leader> {
        let mut table = self.lock();
        // Within the lock: else it could end, and be reaped as a stranger, before it is entered.
        let child = table.third.lend(reports.into(), || command.spawn())??;
        let pid = Pid::from_child(&child);
        table.started += 1;
        let number = table.started;
        let (sender, ended) = oneshot::channel();
        table.programs.insert(
            pid,
            Entry {
                number,
                ended: sender,
            },
        );
        Ok(Leader {
            pid,
            ended,
            children: self.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Takes the exit status of every child that has ended.
    fn reap(&mut self) {
        // Looked at and left first: as long as the leader is not reaped, its group's number is nobody else's.
        let ended = |pid: &Pid| {
            let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            matches!(waitid(WaitId::Pid(*pid), peek), Ok(Some(_)))
        };
        for (pid, entry) in self.programs.extract_if(|pid, _| ended(pid)) {
            // It is there: the leader, which is a zombie, is in it.
            let _ = kill_process_group(pid, Signal::KILL);
            if let Ok(Some((_, status))) = waitpid(Some(pid), WaitOptions::NOHANG) {
                entry.tell(status.as_raw());
            }
        }
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            self.strays.remove(&pid);
            // A program that ended between the two loops.
            if let Some(entry) = self.programs.remove(&pid) {
                let _ = kill_process_group(pid, Signal::KILL);
                entry.tell(status.as_raw());
            }
        }
    }

    fn end_strays(&mut self) {
        let oldest = self.programs.values().map(|program| program.number).min();
        let mut strays = HashMap::new();
        for pid in children() {
            let is_program = |pid: &Pid| self.programs.contains_key(pid);
            // Only this table reaps, so it is still a child of ours, and that process.
            let group = getpgid(Some(pid)).ok();
            if is_program(&pid) || group.as_ref().is_some_and(is_program) {
                continue;
            }
            // Its program was running when it was found, or had ended.
            let found = self.strays.get(&pid).copied().unwrap_or(self.started);
            if oldest.is_none_or(|oldest| oldest > found) {
                kill(pid, group);
            }
            strays.insert(pid, found);
        }
        self.strays = strays;
    }
}

impl Entry {
    fn tell(self, status: i32) {
        // Nobody waits for a program whose handler was cut off.
        let _ = self.ended.send(ExitStatus::from_raw(status));
    }
}

/// A program that runs, and its group. On drop the group is killed, if the leader lives.
#[derive(Debug)]
pub(super) struct Leader {
    pid: Pid,
    ended: oneshot::Receiver<ExitStatus>,
    children: Children,
}

impl Leader {
    /// Sends a signal to the whole group, unless its leader has ended: then the group is being killed.
    pub(super) fn signal(&self, signal: Signal) {
        let table = self.children.lock();
        if table.programs.contains_key(&self.pid) {
            let _ = kill_process_group(self.pid, signal);
        }
    }

    /// Waits until it has ended, and says how. Of its group nothing lives then. `None` if the runtime ends first.
    pub(super) async fn ended(&mut self) -> Option<ExitStatus> {
        (&mut self.ended).await.ok()
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// The children of this process, those that it inherited among them; none where `/proc` is missing.
pub(super) fn children() -> Vec<Pid> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    // <https://man7.org/linux/man-pages/man5/proc_tid_children.5.html>: a list for each thread.
    let lists = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids = |list: String| {
        list.split_ascii_whitespace()
            .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
            .collect::<Vec<_>>()
    };
    lists.flat_map(pids).collect()
}

/// Kills a child, and the group that it leads.
pub(super) fn kill(pid: Pid, group: Option<Pid>) {
    // Both fail if it has just ended, which is what they are for.
    let _ = match group {
        Some(group) if group == pid => kill_process_group(pid, Signal::KILL),
        _ => kill_process(pid, Signal::KILL),
    };
}
