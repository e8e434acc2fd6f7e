//! A foreign RPUSH until the Deployment's new replica count is seen by an independent watch.
//!
//! The pool's pods ask for a node that does not exist, so that what is timed is the operator and the API server and not the
//! starting of pods; the pushes come from a plain client that knows nothing of workerpool, as a Python program's would.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use crds::WorkerPool;
use futures::TryStreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, DeleteParams, PostParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use redis::aio::MultiplexedConnection;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::stats::Spread;

const POOL: &str = "bench-reaction";
/// A change that has not come by then has been missed; the slow poll behind the pushes would bring it within 30 s.
const DEADLINE: Duration = Duration::from_secs(40);
const JOBS_PER_REPLICA: usize = 5;
const CHANGES: [(usize, usize); 3] = [(0, 1), (0, 10), (5, 10)];

/// Prints a row for each change.
pub(crate) async fn measure(samples: usize, redis: &str, namespace: &str) -> anyhow::Result<()> {
    let client = cluster().await?;
    let (mut pushes, list) = empty_queue(redis).await?;
    let pools = create_pool(&client, redis, namespace).await?;
    let mut replicas = watch_replicas(Api::namespaced(client, namespace), POOL);

    let mut rows = Vec::new();
    for (from, to) in CHANGES {
        let mut taken = Vec::with_capacity(samples);
        for _ in 0..samples {
            push(&mut pushes, &list, from * JOBS_PER_REPLICA).await?;
            reaches(&mut replicas, from).await?;
            let pushed = Instant::now();
            push(&mut pushes, &list, (to - from) * JOBS_PER_REPLICA).await?;
            taken.push(reaches(&mut replicas, to).await?.duration_since(pushed));
            redis::cmd("DEL").arg(&list).exec_async(&mut pushes).await?;
            reaches(&mut replicas, 0).await?;
        }
        rows.push((from, to, Spread::of_durations(&taken)));
    }
    pools.delete(POOL, &DeleteParams::default()).await?;
    println!("foreign RPUSH until the Deployment's count is seen by an independent watch");
    for (from, to, spread) in rows {
        println!("  {from} → {to:<3} {spread}");
    }
    Ok(())
}

/// Makes a pool, and goes on measuring the change from 0 to 1 until it is dropped. The pool stays.
pub(crate) async fn keep_measuring(
    redis: &str,
    namespace: &str,
    taken: &mut Vec<Duration>,
) -> anyhow::Result<()> {
    let client = cluster().await?;
    let (mut pushes, list) = empty_queue(redis).await?;
    create_pool(&client, redis, namespace).await?;
    let mut replicas = watch_replicas(Api::namespaced(client, namespace), POOL);
    loop {
        reaches(&mut replicas, 0).await?;
        let pushed = Instant::now();
        push(&mut pushes, &list, JOBS_PER_REPLICA).await?;
        taken.push(reaches(&mut replicas, 1).await?.duration_since(pushed));
        redis::cmd("DEL").arg(&list).exec_async(&mut pushes).await?;
    }
}

pub(crate) async fn cluster() -> anyhow::Result<Client> {
    let client = Client::try_default().await;
    client.context("no cluster: run inside `dev/cluster exec`")
}

/// A foreign client's connection, and the pool's list, which is empty.
async fn empty_queue(redis: &str) -> anyhow::Result<(MultiplexedConnection, String)> {
    let mut pushes = redis::Client::open(format!("redis://{redis}/2"))?
        .get_multiplexed_async_connection()
        .await?;
    let list = format!("hotqueue:{POOL}");
    redis::cmd("DEL").arg(&list).exec_async(&mut pushes).await?;
    Ok((pushes, list))
}

async fn create_pool(client: &Client, redis: &str, namespace: &str) -> anyhow::Result<Api<WorkerPool>> {
    let pools = Api::namespaced(client.clone(), namespace);
    pools
        .create(&PostParams::default(), &pool(redis)?)
        .await
        .context("cannot create the pool")?;
    Ok(pools)
}

fn pool(redis: &str) -> anyhow::Result<WorkerPool> {
    let pool = json!({
        "apiVersion": "workerpool.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {"name": POOL},
        "spec": {
            "redis": {"address": redis},
            "queues": [{"name": POOL}],
            "scaling": {
                "minReplicas": 0,
                "maxReplicas": 10,
                "jobsPerReplica": JOBS_PER_REPLICA,
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            },
            "template": {"spec": {"nodeSelector": {"workerpool.dev/bench": "no-such-node"}}},
        },
    });
    serde_json::from_value(pool).context("the pool's shape")
}

/// Puts `jobs` items on the list with one command; none with 0.
async fn push(connection: &mut MultiplexedConnection, list: &str, jobs: usize) -> anyhow::Result<()> {
    if jobs > 0 {
        let items: Vec<String> = (0..jobs).map(|n| format!("bench-{n}")).collect();
        redis::cmd("RPUSH")
            .arg(list)
            .arg(items)
            .exec_async(connection)
            .await?;
    }
    Ok(())
}

/// Waits until the watch says `count`; the moment at which it said so.
pub(crate) async fn reaches(
    replicas: &mut watch::Receiver<(usize, Instant)>,
    count: usize,
) -> anyhow::Result<Instant> {
    if let Ok(seen) = timeout(DEADLINE, replicas.wait_for(|(replicas, _)| *replicas == count)).await {
        return Ok(seen.context("the watch ended")?.1);
    }
    let last = replicas.borrow().0;
    bail!("still {last} replicas, not {count}, after {DEADLINE:?}")
}

/// A Deployment's `spec.replicas` and when the API server told us of it.
pub(crate) fn watch_replicas(
    deployments: Api<Deployment>,
    name: &'static str,
) -> watch::Receiver<(usize, Instant)> {
    let (sender, receiver) = watch::channel((usize::MAX, Instant::now()));
    tokio::spawn(async move {
        let params = WatchParams::default()
            .fields(&format!("metadata.name={name}"))
            .timeout(280);
        while !sender.is_closed() {
            // An ended or refused watch begins anew; `reaches` has the deadline.
            let Ok(events) = deployments.watch(&params, "0").await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let mut events = std::pin::pin!(events);
            while let Ok(Some(event)) = events.try_next().await {
                if let WatchEvent::Added(deployment) | WatchEvent::Modified(deployment) = event
                    && deployment.name_any() == name
                {
                    let replicas = deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1);
                    sender.send_replace((usize::try_from(replicas).unwrap_or_default(), Instant::now()));
                }
            }
        }
    });
    receiver
}
