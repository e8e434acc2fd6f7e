//! Jobs lost and done twice when the worker is killed in the middle of its work, again and again.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep, sleep_until};
use workerpool_bench::marks::{Mark, Phase};

use crate::peer::{self, FOR_LOSSES, Peer, Programs};
use crate::stage::{Stage, Worker};

const REDIS: [&str; 4] = ["--save", "", "--appendonly", "no"];

/// What a job takes.
const JOB: Duration = Duration::from_millis(20);

/// For each job that a worker does at once: ten seconds of work.
const JOBS_PER_SLOT: u32 = 500;

const KILLS: u32 = 5;

/// From a worker's first job to its death.
const LIFE: Duration = Duration::from_secs(1);

/// A restarted worker that has not begun a job by then never will.
const START: Duration = Duration::from_secs(90);

/// How many of Redis' collections a row names.
const SHOWN: usize = 8;

/// A peer that was killed for the last time; its last worker still runs.
struct Survivor {
    stage: Stage,
    _worker: Worker,
    jobs: u32,
    killed: Instant,
    killed_ns: u64,
}

/// Prints a row for each peer. The killing is done one peer at a time; then all are given `patience` from their last kill,
/// side by side, to bring back what was cut.
pub(crate) async fn measure(
    patience: Duration,
    only: Option<&str>,
    programs: &Programs,
) -> anyhow::Result<()> {
    let mut survivors = Vec::new();
    for peer in peer::named(FOR_LOSSES, only) {
        match kill_again_and_again(peer, programs).await {
            Ok(survivor) => survivors.push(survivor),
            Err(error) => println!("{}: no figure: {error:#}", peer.name),
        }
    }
    println!(
        "{KILLS} times kill -9 of a worker {LIFE:?} after its first job, started again at once; then {patience:?} of patience"
    );
    println!(
        "| | jobs | done once | done more often | begun again | never done | last one back after | left in Redis |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for survivor in survivors {
        sleep_until(survivor.killed + patience).await;
        println!("{}", row(&survivor).await?);
    }
    Ok(())
}

async fn kill_again_and_again(peer: Peer, programs: &Programs) -> anyhow::Result<Survivor> {
    let stage = Stage::set(peer, programs, &REDIS, JOB)?;
    let jobs = JOBS_PER_SLOT * peer.concurrency;
    stage.produce("bulk", jobs).await?;
    let mut killed = Instant::now();
    let mut killed_ns = 0;
    for _ in 0..KILLS {
        let begun = stage.count()?;
        let worker = stage.work()?;
        if !stage.count_reaches(begun + 1, START).await? {
            bail!("{} does nothing: {}", peer.name, stage.log());
        }
        sleep(LIFE).await;
        worker.kill().await?;
        killed = Instant::now();
        killed_ns = stage
            .marks()?
            .iter()
            .map(|mark| mark.at_ns)
            .max()
            .unwrap_or_default();
    }
    Ok(Survivor {
        _worker: stage.work()?,
        stage,
        jobs,
        killed,
        killed_ns,
    })
}

async fn row(survivor: &Survivor) -> anyhow::Result<String> {
    let Survivor { stage, jobs, .. } = survivor;
    let marks = stage.marks()?;
    let (begun, done) = (times(&marks, Phase::Started), times(&marks, Phase::Ended));
    let once = done.values().filter(|&&times| times == 1).count();
    let last = marks.iter().map(|mark| mark.at_ns).max().unwrap_or_default();
    Ok(format!(
        "| {} | {jobs} | {once} | {} | {} | {} | {:.0} s | {} |",
        stage.peer.name,
        done.len() - once,
        begun.values().filter(|&&times| times > 1).count(),
        usize::try_from(*jobs)? - done.len(),
        Duration::from_nanos(last.saturating_sub(survivor.killed_ns)).as_secs_f64(),
        left(stage).await?,
    ))
}

/// How often each job left a mark of this phase.
fn times(marks: &[Mark], phase: Phase) -> HashMap<u32, u32> {
    let mut times = HashMap::new();
    for mark in marks.iter().filter(|mark| mark.is(phase)) {
        *times.entry(mark.number).or_default() += 1;
    }
    times
}

/// The largest collections that Redis still has, and their sizes: where jobs may lie that did not come back.
async fn left(stage: &Stage) -> anyhow::Result<String> {
    let mut redis = stage.connect().await?;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut redis).await?;
    let mut left = Vec::new();
    for key in keys {
        let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut redis).await?;
        let size = match kind.as_str() {
            "list" => "LLEN",
            "set" => "SCARD",
            "zset" => "ZCARD",
            _ => continue,
        };
        let size: u64 = redis::cmd(size).arg(&key).query_async(&mut redis).await?;
        left.push((size, key));
    }
    left.sort_unstable_by(|one, other| other.cmp(one));
    left.truncate(SHOWN);
    let left: Vec<String> = left.iter().map(|(size, key)| format!("{key} {size}")).collect();
    Ok(left.join(", "))
}
