//! Starts what is measured, waits until it answers, and stops it.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// How long a program may take until it listens. Flask, the slowest, takes about one second.
const START_DEADLINE: Duration = Duration::from_secs(15);

/// A program of ours: it lies beside this one, where cargo put both.
pub(crate) fn ours(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.exists() {
        bail!(
            "{} is missing: build the workspace with --release first",
            path.display()
        );
    }
    Ok(path)
}

/// A loopback address on which nothing listens.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Starts `program` with `args` and `env` and returns once `listens` accepts; it ends when the answer is dropped.
pub(crate) async fn start<A: AsRef<OsStr>>(
    program: &Path,
    args: &[A],
    env: &[(&str, String)],
    listens: SocketAddr,
) -> anyhow::Result<Child> {
    let mut child = Command::new(program)
        .args(args)
        .envs(env.iter().map(|(key, value)| (key, value)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let deadline = Instant::now() + START_DEADLINE;
    while TcpStream::connect(listens).await.is_err() {
        if let Some(status) = child.try_wait()? {
            bail!(
                "{} ended with {status} before it listened on {listens}",
                program.display()
            );
        }
        if Instant::now() > deadline {
            bail!(
                "{} does not listen on {listens} after {START_DEADLINE:?}",
                program.display()
            );
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(child)
}

/// CPU time of a process and of all that descend from it, children that have ended and were waited for included.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let mut processes = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        // Processes come and go while one looks.
        let stat = std::fs::read_to_string(entry?.path().join("stat"));
        processes.extend(stat.ok().as_deref().and_then(ProcessTimes::parse));
    }
    let mut family = vec![pid];
    let mut ticks = 0;
    while let Some(pid) = family.pop() {
        let this = processes.iter().find(|process| process.pid == pid);
        ticks += this.map_or(0, |process| process.ticks);
        family.extend(
            processes
                .iter()
                .filter(|process| process.parent == pid)
                .map(|process| process.pid),
        );
    }
    Ok(Duration::from_millis(ticks * MS_PER_TICK))
}

/// The processes below a cgroup (a part of its path) that the kernel calls by one of these names.
pub(crate) fn in_cgroup(cgroup: &str, names: &[&str]) -> anyhow::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let folder = entry?.path();
        // Processes come and go while one looks, and not all that is there is one.
        let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        if names.contains(&read("comm").trim_end()) && read("cgroup").contains(cgroup) {
            let pid = folder.file_name().and_then(OsStr::to_str);
            pids.extend(pid.and_then(|pid| pid.parse::<u32>().ok()));
        }
    }
    Ok(pids)
}

/// Linux counts a process' time in hundredths of a second, whatever its own clock (`getconf CLK_TCK`).
const MS_PER_TICK: u64 = 10;

struct ProcessTimes {
    pid: u32,
    parent: u32,
    ticks: u64,
}

impl ProcessTimes {
    /// One line of /proc/PID/stat (man 5 proc): the name in parentheses may contain anything, what follows are numbers.
    fn parse(stat: &str) -> Option<Self> {
        let (head, tail) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let (parent, times) = (fields.get(1)?, fields.get(11..15)?);
        Some(Self {
            pid: head.split_whitespace().next()?.parse().ok()?,
            parent: parent.parse().ok()?,
            ticks: times.iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum(),
        })
    }
}

/// Resident memory of a process in KiB.
pub(crate) fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    memory_kib(pid, "VmRSS:")
}

/// The most resident memory that a process ever had, in KiB.
pub(crate) fn peak_kib(pid: u32) -> anyhow::Result<u64> {
    memory_kib(pid, "VmHWM:")
}

/// A line of /proc/PID/status.
fn memory_kib(pid: u32, name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.with_context(|| format!("no {name}"))?
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .with_context(|| format!("{name} is no number"))
}
