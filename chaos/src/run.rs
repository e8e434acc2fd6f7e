//! The life of a run: set the stage, submit and strike, heal, drain, count.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    clients::{self, Submissions},
    config::Args,
    drain::Jobs,
    faults::{Schedule, Terms},
    gather,
    ledger::Counts,
    leftovers::left_behind,
    namespace, python,
    stage::Stage,
    strike,
};

/// Faults go on until so many in a thousand of the jobs are left, so that the last ones meet them too.
const LEFT_WHEN_HEALED: u64 = 20;

const POLL: Duration = Duration::from_millis(500);

/// What a run says at its end.
#[derive(Debug)]
pub struct Report {
    /// What was counted.
    pub counts: Counts,
    /// How often each kind of fault has struck.
    pub struck: BTreeMap<&'static str, u32>,
    /// How many requests were repeated.
    pub retries: u64,
    /// How many worker processes there were.
    pub lives: u32,
    /// How long it took until nothing was left to do.
    pub took: Duration,
    /// Where side effects and logs are.
    pub folder: PathBuf,
}

/// Runs once.
///
/// # Errors
/// If a process cannot be started or its traces cannot be read: nothing can be said then.
pub async fn run(args: &Args, folder: PathBuf) -> anyhow::Result<Report> {
    namespace::check()?;
    let begun = Instant::now();
    let stage = Stage::set(args, folder).await?;
    let submissions = Arc::new(Submissions::default());
    let ends = tokio::spawn(strike::note_ends(Arc::clone(&stage.redis)));

    let heal = CancellationToken::new();
    let schedule = Schedule::new(Terms {
        seed: args.seed,
        kinds: args.kinds(),
        every: args.every_ms,
        workers: args.workers.into(),
        lease: args.lease_ms,
    });
    let work = async {
        clients::submit(args, stage.api_address, &submissions).await?;
        if !stage.python.is_empty() {
            wait_for_python(args, &stage).await?;
        }
        let all = acknowledged(&submissions, &stage.folder)?.into_keys().collect();
        let mut jobs = Jobs::new(all, stage.redis.port())?;
        jobs.wait_until_left(args.jobs * LEFT_WHEN_HEALED / 1_000).await;
        heal.cancel();
        jobs.wait_until_left(0).await;
        anyhow::Ok(())
    };
    let play = async { tokio::try_join!(work, strike::all(&stage, schedule, &heal)) };
    let ((), struck) = timeout(args.time_limit, play)
        .await
        .context("nothing can be said: the run was not done within its time limit")??;
    let took = begun.elapsed();
    if ends.is_finished() {
        ends.await??;
    } else {
        ends.abort();
    }

    let lives = stage.workers.iter().map(|worker| worker.starts()).sum();
    let (redis, folder) = stage.clear().await;
    let ledger = gather::ledger(
        acknowledged(&submissions, &folder)?,
        submissions.cancelled(),
        &redis,
        &folder,
    )?;
    let counts = Counts {
        left_behind: left_behind().await?,
        ..ledger.counts()
    };
    Ok(Report {
        counts,
        struck,
        retries: submissions.retries(),
        lives,
        took,
        folder,
    })
}

/// All that clients were told is queued, Python's included.
fn acknowledged(submissions: &Submissions, folder: &Path) -> anyhow::Result<HashMap<String, u64>> {
    let mut all = submissions.acknowledged();
    all.extend(python::acknowledged(folder)?);
    Ok(all)
}

/// Until its producer has put in all of its jobs.
async fn wait_for_python(args: &Args, stage: &Stage) -> anyhow::Result<()> {
    let wanted = python::share(args.jobs);
    while (python::acknowledged(&stage.folder)?.len() as u64) < wanted {
        sleep(POLL).await;
    }
    Ok(())
}
