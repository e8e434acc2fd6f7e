//! Job resources: thousands at once, and one until its program starts.
//!
//! `burst` creates many and watches them end; `until_start` creates one after another beside batch/v1's. The operator and the worker
//! run as processes beside this one, in the network of the cluster, so that their memory can be read.

mod burst;
mod control;
mod until_start;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use crds::{Job, JobSpec, WorkerPool};
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams};
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tokio::process::Child;

use crate::process::{free_address, ours, start};

/// The pool of the Jobs, and its queue.
const POOL: &str = "bench-jobs";

#[derive(Args)]
pub(crate) struct Settings {
    /// Where Redis is, as this program, the operator and pods reach it: HOST:PORT.
    #[arg(long)]
    redis: String,
    /// The namespace in which all is made; it must exist.
    #[arg(long)]
    namespace: String,
    /// Jobs created at once.
    #[arg(long, default_value_t = 5000)]
    count: usize,
    /// The payload of each, in bytes.
    #[arg(long, default_value_t = 1024)]
    payload: usize,
    /// Jobs that are started one after another.
    #[arg(long, default_value_t = 100)]
    samples: usize,
    /// Jobs of batch/v1 that are started one after another.
    #[arg(long, default_value_t = 20)]
    batch_samples: usize,
    /// The operator; the one beside this program unless given.
    #[arg(long)]
    operator: Option<PathBuf>,
    /// The worker; the one beside this program unless given.
    #[arg(long)]
    worker: Option<PathBuf>,
}

/// What both measurements need.
struct Stage {
    client: Client,
    settings: Settings,
    redis: MultiplexedConnection,
    operator: Child,
    operator_metrics: String,
}

/// Prints both tables.
pub(crate) async fn measure(settings: Settings) -> anyhow::Result<()> {
    let client = Client::try_default()
        .await
        .context("no cluster: run inside `dev/cluster exec`")?;
    let redis = redis::Client::open(format!("redis://{}/2", settings.redis))?;
    let redis = redis.get_multiplexed_async_connection().await?;
    let health = free_address()?;
    let operator = program(settings.operator.as_deref(), "workerpool-operator")?;
    let env = [("WORKERPOOL_TELEMETRY_ADDRESS", health.to_string())];
    let operator = start::<&str>(&operator, &[], &env, health).await?;
    let pools = Api::<WorkerPool>::namespaced(client.clone(), &settings.namespace);
    pools
        .create(&PostParams::default(), &pool(&settings.redis)?)
        .await
        .context("cannot create the pool")?;
    let mut stage = Stage {
        client,
        settings,
        redis,
        operator,
        operator_metrics: format!("http://{health}/metrics"),
    };
    let measured = async {
        until_start::measure(&mut stage).await?;
        burst::measure(&mut stage).await
    };
    let measured = measured.await;
    pools.delete(POOL, &DeleteParams::default()).await?;
    measured
}

impl Stage {
    fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.client.clone(), &self.settings.namespace)
    }

    /// Starts a worker of the pool's queue with this command for each job.
    async fn worker(&self, concurrency: usize, command: &[&str]) -> anyhow::Result<Child> {
        let health = free_address()?;
        let env = [
            ("WORKERPOOL_REDIS_ADDRESS", self.settings.redis.clone()),
            ("WORKERPOOL_TELEMETRY_ADDRESS", health.to_string()),
            ("WORKERPOOL_QUEUE", POOL.to_owned()),
            ("WORKERPOOL_CONCURRENCY", concurrency.to_string()),
            ("WORKERPOOL_SLEEP_SECONDS", "0".to_owned()),
            ("WORKER_IP", "127.0.0.1".to_owned()),
        ];
        let command: Vec<_> = std::iter::once("--").chain(command.iter().copied()).collect();
        let arguments = if command.len() > 1 {
            command.as_slice()
        } else {
            &[]
        };
        let worker = program(self.settings.worker.as_deref(), "workerpool-worker")?;
        start(&worker, arguments, &env, health).await
    }
}

fn program(given: Option<&Path>, name: &str) -> anyhow::Result<PathBuf> {
    given.map_or_else(|| ours(name), |path| Ok(path.to_owned()))
}

/// Its own pods are none: the worker is a process beside.
fn pool(redis: &str) -> anyhow::Result<WorkerPool> {
    let pool = json!({
        "apiVersion": "workerpool.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {"name": POOL},
        "spec": {"replicas": 0, "redis": {"address": redis}, "queues": [{"name": POOL}]},
    });
    serde_json::from_value(pool).context("the pool's shape")
}

fn job(name: &str, payload: Option<Value>) -> Job {
    let spec = JobSpec {
        pool_name: POOL.to_owned(),
        id: None,
        start: name.to_owned(),
        end: String::new(),
        payload,
        max_attempts: None,
        timeout_seconds: None,
        ttl_seconds_after_finished: None,
    };
    Job::new(name, spec)
}
