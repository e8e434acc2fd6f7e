//! From the call that enqueues a job until its handler begins, on an idle warm worker.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::bail;
use workerpool_bench::marks::{Mark, Phase};

use crate::peer::{self, FOR_LATENCY, Peer, Programs};
use crate::stage::Stage;
use crate::stats::Spread;

const REDIS: [&str; 4] = ["--save", "", "--appendonly", "no"];

/// The first jobs of a run are not counted: connections and caches are still cold.
const WARM_UP: u32 = 30;

/// A worker that has not begun by then never will; far above what the slowest poll takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// Prints a row for each peer: `samples` jobs 20 ms apart in each of `rounds`, the peers in turns.
pub(crate) async fn measure(
    samples: u32,
    rounds: usize,
    only: Option<&str>,
    programs: &Programs,
) -> anyhow::Result<()> {
    let peers = peer::named(FOR_LATENCY, only);
    let mut runs: Vec<Vec<Spread>> = peers.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (peer, runs) in peers.iter().zip(&mut runs) {
            match run(*peer, programs, samples).await {
                Ok(run) => runs.push(run),
                Err(error) => println!("{}: no figure: {error:#}", peer.name),
            }
        }
    }
    println!(
        "enqueue call until the handler begins, {samples} jobs 20 ms apart: min / median / max of {rounds}"
    );
    println!("| | p50, ms | p99, ms |");
    println!("|---|---|---|");
    for (peer, runs) in peers.iter().zip(&runs) {
        let [p50, p99] = [50.0, 99.0]
            .map(|p| Spread::new(runs.iter().map(|run| run.percentile(p)).collect(), "").extremes());
        println!("| {} | {p50} | {p99} |", peer.name);
    }
    Ok(())
}

async fn run(peer: Peer, programs: &Programs, samples: u32) -> anyhow::Result<Spread> {
    let stage = Stage::set(peer, programs, &REDIS, Duration::ZERO)?;
    let worker = stage.work()?;
    stage.produce("bulk", 1).await?;
    if !stage.count_reaches(1, DEADLINE).await? {
        bail!("{} does no job: {}", peer.name, stage.log());
    }
    let jobs = WARM_UP + samples;
    stage.produce("paced", jobs).await?;
    // The first job's start, and two marks of each other.
    if !stage
        .count_reaches(1 + 2 * usize::try_from(jobs)?, DEADLINE)
        .await?
    {
        bail!("{} left jobs undone: {}", peer.name, stage.log());
    }
    let taken = taken(&stage.marks()?[1..]);
    worker.kill().await?;
    Ok(Spread::of_durations(&taken))
}

fn taken(marks: &[Mark]) -> Vec<Duration> {
    let enqueued: HashMap<u32, u64> = marks
        .iter()
        .filter(|mark| mark.is(Phase::Enqueued) && mark.number >= WARM_UP)
        .map(|mark| (mark.number, mark.at_ns))
        .collect();
    marks
        .iter()
        .filter(|mark| mark.is(Phase::Started))
        .filter_map(|mark| Some(mark.at_ns.saturating_sub(*enqueued.get(&mark.number)?)))
        .map(Duration::from_nanos)
        .collect()
}
