//! Programs of the original's kind: HotQueue, redis-py, unmodified.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::ensure;
use queue::test_server::python;
use tokio::process::Command;

use crate::{faults::PYTHON_PROGRAMS, process::Supervised, stage::append};

/// Of so many jobs of ours, there is one of Python's producer.
const ONE_IN: u64 = 20;

/// How many jobs its producer puts in beside `jobs` of ours.
pub(crate) fn share(jobs: u64) -> u64 {
    jobs.div_ceil(ONE_IN)
}

/// Starts one producer of so many jobs, and workers.
pub(crate) fn start(redis: &str, jobs: u64, folder: &Path) -> anyhow::Result<Vec<Supervised>> {
    let python = python();
    ensure!(
        python.exists(),
        "{} is missing: run dev/install",
        python.display()
    );
    let program = |name: String, script: &str, mut arguments: Box<dyn FnMut() -> Vec<PathBuf> + Send>| {
        let (python, log) = (python.clone(), folder.join("logs").join(&name));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
        let redis = redis.to_owned();
        Supervised::start(name, move || {
            let mut command = Command::new(&python);
            command
                .arg(&script)
                .arg(&redis)
                .args(arguments())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(append(&log)?);
            Ok(command)
        })
    };
    let queued = acknowledged_file(folder);
    let producer = Box::new(move || vec![jobs.to_string().into(), queued.clone()]);
    let mut programs = vec![program("python-producer".to_owned(), "producer.py", producer)];
    for number in 1..PYTHON_PROGRAMS {
        let (effects, mut lives) = (folder.join("effects"), 0);
        let worker = Box::new(move || {
            lives += 1;
            vec![effects.join(format!("python-{number}-{lives}"))]
        });
        programs.push(program(format!("python-worker-{number}"), "worker.py", worker));
    }
    Ok(programs)
}

/// The jobs that its producer has put in, and when (monotonic ms).
pub(crate) fn acknowledged(folder: &Path) -> anyhow::Result<HashMap<String, u64>> {
    let file = match fs::read_to_string(acknowledged_file(folder)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        file => file?,
    };
    let entry = |line: &str| {
        let (id, at) = line.split_once(' ')?;
        Some((id.to_owned(), at.parse().ok()?))
    };
    Ok(file.lines().filter_map(entry).collect())
}

fn acknowledged_file(folder: &Path) -> PathBuf {
    folder.join("python-acknowledged")
}
