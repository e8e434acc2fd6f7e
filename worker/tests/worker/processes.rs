//! The processes of this machine, as `/proc` shows them.

use std::fs;

/// A process, by its number.
pub(crate) type Pid = u32;

/// Those that run as part of a job: what it starts inherits its environment. Zombies have none, and do not count.
pub(crate) fn of_job(id: &str) -> Vec<Pid> {
    let mark = format!("JOB_ID={id}");
    let is_marked = |pid: &Pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark.as_bytes())
    };
    all().filter(is_marked).collect()
}

/// The children of a process, zombies among them.
pub(crate) fn children(parent: Pid) -> Vec<Pid> {
    all()
        .filter(|pid| stat(*pid).is_some_and(|(_, its_parent)| its_parent == parent))
        .collect()
}

pub(crate) fn is_zombie(pid: Pid) -> bool {
    stat(pid).is_some_and(|(state, _)| state == "Z")
}

pub(crate) fn kill(pid: Pid, signal: &str) {
    let pid = pid.to_string();
    let status = std::process::Command::new("kill").args([signal, &pid]).status();
    assert!(status.unwrap().success());
}

/// State and parent. <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
fn stat(pid: Pid) -> Option<(String, Pid)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn all() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
