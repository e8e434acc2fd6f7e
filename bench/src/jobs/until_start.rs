//! One Job until its program starts, on an idle warm worker, beside a Job of batch/v1 on the same cluster.
//!
//! The clock starts when the API server has accepted the object: when its creation is seen by a watch or answered, whichever comes
//! first. It ends when the program, redis-cli in both, has written to Redis.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::TryStreamExt;
use k8s_openapi::api::batch::v1::Job as BatchJob;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams, WatchEvent, WatchParams};
use redis::aio::MultiplexedConnection;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Stage, job};
use crate::stats::Spread;

const STARTED: &str = "bench-jobs:started";
/// A program that has not started by then never will.
const DEADLINE: Duration = Duration::from_secs(60);

pub(super) async fn measure(stage: &mut Stage) -> anyhow::Result<()> {
    let redis = stage.settings.redis.clone();
    let (host, port) = redis.rsplit_once(':').context("HOST:PORT")?;
    let program = [
        "redis-cli",
        "-h",
        host,
        "-p",
        port,
        "-n",
        "2",
        "RPUSH",
        STARTED,
        "1",
    ];
    redis::cmd("DEL")
        .arg(STARTED)
        .exec_async(&mut stage.redis)
        .await?;

    let worker = stage.worker(1, &program).await?;
    let (samples, batch_samples) = (stage.settings.samples, stage.settings.batch_samples);
    let ours = spread(stage, stage.jobs(), samples, |n| job(&format!("start-{n}"), None)).await?;
    drop(worker);
    let batch: Api<BatchJob> = Api::namespaced(stage.client.clone(), &stage.settings.namespace);
    let theirs = spread(stage, batch, batch_samples, |n| batch_job(n, &program)).await?;
    println!("a Job accepted by the API server until its program has written, one after another");
    println!("  jobs.workerpool.dev  {ours}");
    println!("  batch/v1             {theirs}");
    println!("  p50 of batch/v1 / ours: {:.0}", theirs.median() / ours.median());
    Ok(())
}

async fn spread<K>(
    stage: &Stage,
    api: Api<K>,
    samples: usize,
    build: impl Fn(usize) -> K,
) -> anyhow::Result<Spread>
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned
        + Send
        + 'static,
{
    let mut redis = stage.redis.clone();
    let mut created = watch_creations(api.clone());
    let warm_up = samples.div_ceil(10);
    let mut taken = Vec::with_capacity(samples);
    for n in 0..warm_up + samples {
        let object = build(n);
        let answered = async {
            api.create(&PostParams::default(), &object).await?;
            anyhow::Ok(Instant::now())
        };
        let name = object.name_any();
        let (answered, seen, started) =
            tokio::join!(answered, creation(&mut created, &name), start(&mut redis));
        let accepted = answered?.min(seen?);
        if n >= warm_up {
            taken.push(started?.saturating_duration_since(accepted));
        }
        api.delete(&name, &DeleteParams::background()).await?;
    }
    Ok(Spread::of_durations(&taken))
}

/// When the next program wrote.
async fn start(redis: &mut MultiplexedConnection) -> anyhow::Result<Instant> {
    let until = Instant::now() + DEADLINE;
    // Not a blocking command: redis-rs cuts those off after half a second.
    while Instant::now() < until {
        let started: Option<String> = redis::cmd("LPOP").arg(STARTED).query_async(redis).await?;
        if started.is_some() {
            return Ok(Instant::now());
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    bail!("no program started within {DEADLINE:?}")
}

async fn creation(
    created: &mut mpsc::UnboundedReceiver<(String, Instant)>,
    name: &str,
) -> anyhow::Result<Instant> {
    let found = async {
        loop {
            let (seen, at) = created.recv().await.context("the watch ended")?;
            if seen == name {
                return Ok(at);
            }
        }
    };
    timeout(DEADLINE, found)
        .await
        .context("the watch saw no creation")?
}

fn watch_creations<K>(api: Api<K>) -> mpsc::UnboundedReceiver<(String, Instant)>
where
    K: kube::Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let params = WatchParams::default().timeout(290);
        // An ended or refused watch begins anew; `creation` has the deadline.
        while !sender.is_closed() {
            let Ok(events) = api.watch(&params, "0").await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let mut events = std::pin::pin!(events);
            while let Ok(Some(event)) = events.try_next().await {
                if let WatchEvent::Added(object) = event {
                    // Who no longer waits has dropped the other end.
                    let _ = sender.send((object.name_any(), Instant::now()));
                }
            }
        }
    });
    receiver
}

fn batch_job(n: usize, program: &[&str]) -> BatchJob {
    let container =
        json!({"name": "main", "image": "redis:7", "imagePullPolicy": "IfNotPresent", "command": program});
    let job = json!({
        "metadata": {"name": format!("batch-{n}")},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    });
    serde_json::from_value(job).unwrap_or_default()
}
