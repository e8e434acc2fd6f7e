//! Thousands of Jobs created at once: until all are submitted, until all have ended and say so; the operator's requests and memory,
//! and how a pool reacts meanwhile.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt, stream};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use serde_json::json;
use tokio::time::sleep;

use super::{Stage, control, job};
use crate::process::resident_kib;
use crate::{reaction, stats::Spread};

/// Requests of the creating program under way at once.
const CREATING: usize = 16;
const DEADLINE: Duration = Duration::from_secs(600);
/// Jobs that the one worker runs at once.
const CONCURRENCY: usize = 64;

pub(super) async fn measure(stage: &mut Stage) -> anyhow::Result<()> {
    let count = stage.settings.count;
    let rest = stage.memory()?;
    let before = stage.requests().await?;
    let _worker = stage.worker(CONCURRENCY, &[]).await?;
    let begun = Instant::now();
    let created = create(stage, count);
    let ended = watch_until_ended(stage, count);
    let sampled = sample(stage);
    let mut reactions = Vec::new();
    let reacting = reaction::keep_measuring(&stage.settings.redis, &stage.settings.namespace, &mut reactions);
    let mut bare = control::Taken::default();
    let controlling = control::keep_measuring(&stage.settings.namespace, &mut bare);
    let (created, (submitted, ended)) = tokio::select! {
        both = async { tokio::try_join!(created, ended) } => both?,
        peak = sampled => bail!("the operator ended: {peak:?}"),
        broken = reacting => bail!("the reactions: {broken:?}"),
        broken = controlling => bail!("the control: {broken:?}"),
    };
    println!(
        "{count} Jobs of {} B payload created at once",
        stage.settings.payload
    );
    for (what, at) in [
        ("created", created),
        ("all submitted", submitted),
        ("all complete in their status", ended),
    ] {
        println!("  {what:<30} {:>7.1} s", at.duration_since(begun).as_secs_f64());
    }
    let peak = stage.peak()?;
    println!(
        "  operator: {:.1} MB at rest, {:.1} MB at the most",
        mb(rest),
        mb(peak)
    );
    for (call, requests) in stage.requests().await? {
        let earlier = before
            .iter()
            .find(|(name, _)| *name == call)
            .map_or(0, |(_, count)| *count);
        println!(
            "  operator's requests, {call:<8} {:>7}  ({:.2} a Job)",
            requests - earlier,
            (requests - earlier) as f64 / count as f64
        );
    }
    println!("  meanwhile, in the same seconds:");
    for (what, taken) in [
        ("a pool's reaction", &reactions),
        ("a bare PATCH of another count, until the same watch", &bare.seen),
        ("a bare PATCH of another count, until its answer", &bare.answered),
    ] {
        println!("    {what:<52} {}", Spread::of_durations(taken));
    }
    remove(stage, count).await
}

async fn create(stage: &Stage, count: usize) -> anyhow::Result<Instant> {
    let jobs = stage.jobs();
    let payload = json!({"text": "x".repeat(stage.settings.payload)});
    stream::iter(0..count)
        .map(|n| {
            let (jobs, job) = (jobs.clone(), job(&format!("burst-{n}"), Some(payload.clone())));
            async move { jobs.create(&PostParams::default(), &job).await }
        })
        .buffer_unordered(CREATING)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(Instant::now())
}

/// When all were submitted, and when all had ended, as their statuses say.
async fn watch_until_ended(stage: &Stage, count: usize) -> anyhow::Result<(Instant, Instant)> {
    let (mut submitted, mut ended) = (HashSet::new(), HashSet::new());
    let (mut all_submitted, deadline) = (None, Instant::now() + DEADLINE);
    let jobs = stage.jobs();
    while Instant::now() < deadline {
        let params = WatchParams::default().timeout(290);
        let events = jobs.watch(&params, "0").await?;
        let mut events = std::pin::pin!(events);
        while let Ok(Some(event)) = events.try_next().await {
            let (WatchEvent::Added(job) | WatchEvent::Modified(job)) = event else {
                continue;
            };
            let name = job.name_any();
            let Some(status) = job.status.filter(|_| name.starts_with("burst-")) else {
                continue;
            };
            if status.submitted_time.is_some() {
                submitted.insert(name.clone());
            }
            if status
                .conditions
                .iter()
                .any(|condition| condition.type_ == "Complete")
            {
                ended.insert(name);
            }
            if submitted.len() == count {
                all_submitted.get_or_insert_with(Instant::now);
            }
            if ended.len() == count {
                return Ok((
                    all_submitted.context("complete and not submitted")?,
                    Instant::now(),
                ));
            }
        }
    }
    bail!(
        "{} of {count} submitted and {} ended after {DEADLINE:?}",
        submitted.len(),
        ended.len()
    )
}

/// Looks at the operator's memory for as long as it can be seen.
async fn sample(stage: &Stage) -> anyhow::Result<()> {
    loop {
        stage.memory()?;
        sleep(Duration::from_secs(1)).await;
    }
}

async fn remove(stage: &Stage, count: usize) -> anyhow::Result<()> {
    let begun = Instant::now();
    let jobs = stage.jobs();
    jobs.delete_collection(&DeleteParams::background(), &ListParams::default())
        .await?;
    while !jobs
        .list_metadata(&ListParams::default().limit(1))
        .await?
        .items
        .is_empty()
    {
        if begun.elapsed() > DEADLINE {
            bail!("Jobs remain after {DEADLINE:?}");
        }
        sleep(Duration::from_millis(100)).await;
    }
    println!(
        "  {count} deleted at once are gone after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

impl Stage {
    fn pid(&self) -> anyhow::Result<u32> {
        self.operator.id().context("the operator ended")
    }

    fn memory(&self) -> anyhow::Result<u64> {
        resident_kib(self.pid()?)
    }

    /// The most that the operator ever had in memory, as the kernel has it.
    fn peak(&self) -> anyhow::Result<u64> {
        crate::process::peak_kib(self.pid()?)
    }

    /// What the operator says it asked the API server for about Jobs.
    async fn requests(&self) -> anyhow::Result<Vec<(String, u64)>> {
        let text = reqwest::get(&self.operator_metrics).await?.text().await?;
        let lines = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("workerpool_operator_job_requests_total{call=\"")?;
            let (call, value) = rest.split_once("\"} ")?;
            Some((call.to_owned(), value.parse().ok()?))
        });
        Ok(lines.collect())
    }
}

fn mb(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
