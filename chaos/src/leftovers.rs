//! What programs of jobs are still there when nobody runs jobs any more.

use std::{fs, time::Duration};

use tokio::time::{Instant, sleep};

/// How long the kernel may take to end what was killed, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(50);

/// What every program of a job has in its environment, and what it starts too.
const MARK: &[u8] = b"JOB_ID=";

/// Processes of jobs that do not end, each with its number and name; none is as it must be.
pub(crate) async fn left_behind() -> anyhow::Result<Vec<String>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = of_jobs()?;
        if left.is_empty() || Instant::now() > deadline {
            return Ok(left);
        }
        sleep(POLL).await;
    }
}

fn of_jobs() -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let process = entry?.path();
        // Not a process, or one that has just ended.
        let Ok(environment) = fs::read(process.join("environ")) else {
            continue;
        };
        if environment
            .split(|byte| *byte == 0)
            .any(|variable| variable.starts_with(MARK))
        {
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            left.push(format!("{} {}", process.display(), name.trim()));
        }
    }
    Ok(left)
}
