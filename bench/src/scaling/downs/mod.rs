//! Scale-downs under load, with real pods: how many jobs each system cuts.
//!
//! Pools side by side, each with a queue and a Deployment of stock workers of its own, the same for both systems. `load` submits
//! jobs of mixed length, so that counts go up and down among running jobs, and pins a lower count now and then; `service` is what
//! the jobs are, and sees each run that ends before its time; `target` is the Deployment and what is written for each system.
#![allow(clippy::print_stderr)] // When and where a job was cut is told beside the table.

mod load;
mod service;
mod target;

use std::time::{Duration, Instant};

use fastrand::Rng;
use futures::future::try_join_all;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::load::{Load, wait_until_done};
use self::service::{Ledger, Runs};
use self::target::{Target, pin};
use super::replicas::scale_downs;
use super::stage::Stage;
use super::system::System;

/// So that two runs have the same load.
const SEED: u64 = 7;
const READY_DEADLINE: Duration = Duration::from_secs(120);
/// How long the last jobs may take: they run again after a lease of 30 s if their worker was killed.
const ENDING: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How much of it there is.
pub(super) struct Amount {
    /// Pools side by side.
    pub(super) pools: usize,
    /// Scale-downs of ours that are waited for.
    pub(super) downs: usize,
    /// Of KEDA, whose come slowly.
    pub(super) downs_of_keda: usize,
    /// Whether ours scales Deployments that exist, as KEDA does.
    pub(super) is_adopted: bool,
    /// No longer than that.
    pub(super) bound: Duration,
}

/// What was counted.
struct Count {
    downs: usize,
    jobs: usize,
    /// Of the jobs.
    cut: usize,
    /// How often, for a job may be cut again and again.
    cuts: usize,
    lost: usize,
    twice: usize,
    taken: Duration,
}

/// Prints a row for each system.
pub(super) async fn measure(stage: &Stage, systems: &[System], amount: &Amount) -> anyhow::Result<()> {
    println!(
        "| | scale-downs | jobs | cut | per 1,000 jobs | per 100 scale-downs | runs cut | lost | run twice to the end | time |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for system in systems {
        stage.begin(*system).await?;
        let downs = match system {
            System::Workerpool => amount.downs,
            System::Keda => amount.downs_of_keda,
        };
        let count = count(stage, *system, downs, amount).await?;
        stage.remove_objects(*system).await?;
        stage.remove_targets().await?;
        print(*system, &count);
    }
    Ok(())
}

async fn count(stage: &Stage, system: System, downs: usize, amount: &Amount) -> anyhow::Result<Count> {
    let ledger = Ledger::default();
    let port = service::serve(ledger.clone()).await?;
    let kind = format!("{system:?}").to_lowercase();
    // Of this run alone: what an earlier one left in its queues is not counted.
    let run = std::process::id();
    let names: Vec<String> = (0..amount.pools)
        .map(|n| format!("downs-{kind}-{run}-{n}"))
        .collect();
    for name in &names {
        let target = Target {
            system,
            name,
            port,
            is_adopted: amount.is_adopted,
        };
        target::make(stage, target).await?;
    }
    let ready = stage.objects_are_ready(system, &names, READY_DEADLINE).await?;
    if let Err(count) = ready {
        anyhow::bail!("{count} of {} objects are ready", names.len());
    }
    let begun = Instant::now();
    let stop = CancellationToken::new();
    let loads = names.iter().zip(SEED..).map(|(name, seed)| {
        let load = Load {
            stage,
            system,
            name,
            ledger: &ledger,
            rng: Rng::with_seed(seed),
        };
        load.run(stop.clone())
    });
    let enough = async {
        while lowered(stage, &names) < downs && begun.elapsed() < amount.bound {
            sleep(LOOK_EVERY).await;
        }
        stop.cancel();
        anyhow::Ok(())
    };
    let (ids, ()) = tokio::try_join!(try_join_all(loads), enough)?;
    let (ids, taken) = (ids.concat(), begun.elapsed());
    let mut lost = wait_until_done(&ledger, &ids, ENDING).await;
    let downs = lowered(stage, &names);
    let tally = |holds: fn(Runs) -> bool| ids.iter().filter(|id| holds(ledger.of(id))).count();
    let cut = tally(Runs::is_cut);
    let cuts = ids.iter().map(|id| ledger.of(id).cuts()).sum();
    if lost > 0 {
        // Nobody is scaled up for a job in the hands of a worker that is no more: it is lost only if workers do not find it.
        one_worker_each(stage, system, &names).await?;
        lost = wait_until_done(&ledger, &ids, ENDING).await;
    }
    Ok(Count {
        downs,
        jobs: ids.len(),
        cut,
        cuts,
        lost,
        twice: tally(Runs::is_done_twice),
        taken,
    })
}

/// How often a count of these was lowered.
fn lowered(stage: &Stage, names: &[String]) -> usize {
    let of_one = |name: &String| scale_downs(&stage.replicas.history(name, None));
    names.iter().map(of_one).sum()
}

/// Where there is none.
async fn one_worker_each(stage: &Stage, system: System, names: &[String]) -> anyhow::Result<()> {
    let objects = stage.objects(system);
    let has_none = |name: &&String| {
        let last = stage.replicas.history(name, None).pop();
        last.is_none_or(|(_, count)| count == 0)
    };
    let pinned = names
        .iter()
        .filter(has_none)
        .map(|name| pin(&objects, system, name, Some(1)));
    try_join_all(pinned).await?;
    Ok(())
}

fn print(system: System, count: &Count) {
    let Count {
        downs,
        jobs,
        cut,
        cuts,
        lost,
        twice,
        taken,
    } = count;
    let of = |whole: usize, each: f64| *cut as f64 * each / whole.max(1) as f64;
    println!(
        "| {} | {downs} | {jobs} | {cut} | {:.1} | {:.1} | {cuts} | {lost} | {twice} | {:.0} min |",
        system.name(),
        of(*jobs, 1e3),
        of(*downs, 1e2),
        taken.as_secs_f64() / 60.0
    );
}
