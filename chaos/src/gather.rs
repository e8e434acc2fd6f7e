//! Reads what a run has left behind.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
};

use serde::Deserialize;

use crate::{
    ledger::{Execution, Ledger, executions},
    redis_server::Redis,
};

/// All that is known.
pub(crate) fn ledger(
    acknowledged: HashMap<String, u64>,
    cancelled: HashMap<String, u64>,
    redis: &Redis,
    folder: &Path,
) -> anyhow::Result<Ledger> {
    let (history, undone) = redis.histories()?;
    Ok(Ledger {
        acknowledged,
        cancelled,
        history,
        undone,
        crashes: redis.crashes(),
        executions: effects(&folder.join("effects"))?,
        told: told(&folder.join("logs"))?,
    })
}

fn effects(folder: &Path) -> anyhow::Result<HashMap<String, Vec<Execution>>> {
    let mut by_job: HashMap<String, Vec<Execution>> = HashMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let foreign = entry.file_name().to_string_lossy().starts_with("python");
        for (job, execution) in executions(&fs::read_to_string(entry.path())?, foreign) {
            by_job.entry(job).or_default().push(execution);
        }
    }
    Ok(by_job)
}

/// The line that a worker logs when a job that it held has ended.
#[derive(Deserialize)]
struct JobEnded {
    job: String,
    outcome: String,
}

fn told(folder: &Path) -> anyhow::Result<HashMap<String, u32>> {
    let mut told: HashMap<String, u32> = HashMap::new();
    for entry in fs::read_dir(folder)? {
        let file = BufReader::new(fs::File::open(entry?.path())?);
        for line in file.split(b'\n') {
            // A process that was killed may have left half a line.
            if let Ok(ended) = serde_json::from_slice::<JobEnded>(&line?) {
                *told.entry(ended.job).or_default() += u32::from(ended.outcome == "complete");
            }
        }
    }
    Ok(told)
}
