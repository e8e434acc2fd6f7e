//! The original's workers, as they are: how many of their jobs each system cuts.
//!
//! Their program takes a job by BLPOP, which leaves no trace, works for 15 s, and knows nothing of signals: as a container's first process
//! it does not hear SIGTERM, and is killed when its pod's 30 s of grace are over. A job that is cut is never done.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fastrand::Rng;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use queue::{NewJob, Producer, Queue, Server};
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::replicas::scale_downs;
use super::stage::{GONE_DEADLINE, Stage, wait_until_gone};
use super::system::{Settings, System, list};

/// The original's own Deployment, which `bench/run` has applied; what scales it is called the same.
const NAME: &str = "bradenp-hw7-worker-deployment";
/// By this label its pods are told from others.
const PODS: &str = "app=bradenp-hw7-worker";
/// The queue that the original has in its source.
const QUEUE: &str = "queue";
/// The most workers.
const MOST: usize = 10;
/// Between two jobs, at the mean: a job takes 15 s, so seven or eight workers are needed most of the time, and now more, now fewer.
const APART: Duration = Duration::from_secs(2);
/// So that two runs have the same load.
const SEED: u64 = 7;
/// When nothing has changed for so long, nothing will: a job takes 15 s, and a worker's last ones end with its grace time, 30 s.
const QUIET: Duration = Duration::from_secs(60);
const READY_DEADLINE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How the jobs are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    complete: usize,
    /// Taken, and not complete.
    taken: usize,
    waiting: usize,
}

/// Prints a row for each system.
pub(super) async fn measure(stage: &Stage, systems: &[System], jobs: usize) -> anyhow::Result<()> {
    println!("| | scale-downs | jobs | complete | cut | never taken | time |");
    println!("|---|---|---|---|---|---|---|");
    for system in systems {
        stage.begin(*system).await?;
        adopt(stage, *system).await?;
        let begun = Instant::now();
        let ids = submit(stage, jobs).await?;
        let tally = settle(stage, &ids).await?;
        let downs = scale_downs(&stage.replicas.history(NAME, Some(begun)));
        stage.remove_objects(*system).await?;
        stage.clear(QUEUE).await?;
        println!(
            "| {} | {downs} | {jobs} | {} | {} | {} | {:.0} min |",
            system.name(),
            tally.complete,
            tally.taken,
            tally.waiting,
            begun.elapsed().as_secs_f64() / 60.0
        );
    }
    Ok(())
}

/// Has a system scale the Deployment, from zero.
async fn adopt(stage: &Stage, system: System) -> anyhow::Result<()> {
    let none = Patch::Merge(json!({"spec": {"replicas": 0}}));
    let (deployments, params) = (stage.deployments(), PatchParams::default());
    let scaled = deployments.patch_scale(NAME, &params, &none).await;
    scaled.context("the original's Deployment")?;
    // Those that were there live on for 30 s, take jobs, and are nobody's.
    let (pods, theirs) = (stage.pods(), ListParams::default().labels(PODS));
    if !wait_until_gone(&pods, &theirs, GONE_DEADLINE).await? {
        bail!("former pods of the original's Deployment remain");
    }
    let mut object = system.object(NAME, &stage.redis_address, Settings::Best)?;
    let spec = &mut object.data["spec"];
    follow_queue(system, spec);
    system.follow_closely(spec, MOST);
    stage
        .objects(system)
        .create(&PostParams::default(), &object)
        .await?;
    let names = [NAME.to_owned()];
    let ready = stage.objects_are_ready(system, &names, READY_DEADLINE).await?;
    ready.ok().context("it is not ready")?;
    Ok(())
}

/// Of the queue, which is not called as the Deployment is.
fn follow_queue(system: System, spec: &mut Value) {
    match system {
        System::Workerpool => spec["queues"][0]["name"] = json!(QUEUE),
        System::Keda => spec["triggers"][0]["metadata"]["listName"] = json!(list(QUEUE)),
    }
}

/// Submits jobs at random moments; their ids.
async fn submit(stage: &Stage, jobs: usize) -> anyhow::Result<Vec<String>> {
    let server = Server::new(stage.redis_address.parse()?);
    let producer = Producer::new(&server, Queue::new(QUEUE.parse()?))?;
    let mut rng = Rng::with_seed(SEED);
    let mut ids = Vec::new();
    for _ in 0..jobs {
        let job = NewJob::new("go!", "stop!");
        ids.push(producer.submit(job).await.context("a job")?.id.to_string());
        sleep(APART.mul_f64(-(1.0 - rng.f64()).ln())).await;
    }
    Ok(ids)
}

/// Waits until all jobs are complete, or nothing changes any more.
async fn settle(stage: &Stage, ids: &[String]) -> anyhow::Result<Tally> {
    let client = redis::Client::open(format!("redis://{}/3", stage.redis_address))?;
    let mut redis = client.get_multiplexed_async_connection().await?;
    let (mut last, mut since) = (Tally::default(), Instant::now());
    while last.complete < ids.len() && since.elapsed() < QUIET {
        sleep(LOOK_EVERY).await;
        let now = tally(&mut redis, ids).await?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(last)
}

async fn tally(redis: &mut MultiplexedConnection, ids: &[String]) -> anyhow::Result<Tally> {
    let mut statuses = redis::pipe();
    for id in ids {
        statuses.hget(format!("job.{id}"), "status");
    }
    let statuses: Vec<String> = statuses.query_async(redis).await?;
    let count = |status| statuses.iter().filter(|one| *one == status).count();
    Ok(Tally {
        complete: count("complete"),
        taken: count("in progress"),
        waiting: count("submitted"),
    })
}
