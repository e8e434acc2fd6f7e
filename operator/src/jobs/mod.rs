//! Job resources: submitted once, mirrored from their queue, cancelled when they are deleted.
//!
//! Pools and Jobs share nothing but the watch on Redis: Jobs have a task and a connection to the API server of their own, and
//! few calls under way at once, so that thousands of them delay a pool little.
//!
//! - `objects`: Jobs as far as they are looked at.
//! - `entry`: what is known of one; `access`: whether its pool's queue can be reached.
//! - `plan`, `status`, `story`: pure; the next step for one, what is said about it, what of that is worth an event.
//! - `calls`: from a step to Kubernetes and Redis.
//! - `link`: the way to one pool's queue; `slots`: how much is under way at once.
//! - `desk`: the task, with its lines and bounds.

mod access;
mod calls;
mod desk;
mod entry;
mod link;
mod metrics;
mod objects;
mod plan;
mod slots;
mod status;
mod story;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use crds::WorkerPool;
use futures::{StreamExt, TryStreamExt, future::ready};
use kube::{
    Api, Client,
    api::{ListParams, PartialObjectMeta},
    runtime::{WatchStreamExt, reflector::Store, watcher},
};

pub use self::metrics::JobMetrics;
use self::{
    desk::{Desk, Tools},
    objects::WatchedJob,
};
use crate::{
    decoding::{Guarded, UndecodableObjects},
    error,
    events::Events,
    metrics::Metrics,
    objects::prune,
    queues::Queues,
};

/// How long a watch lasts before it is made anew.
const WATCH_SECONDS: u32 = 120;
/// Jobs of one page of a list. Each may have 64 KiB of payload, and a page is in memory several times over while it is read.
const PAGE: u32 = 25;
/// Between two looks for the CustomResourceDefinition.
const CRD_RETRY: Duration = Duration::from_secs(30);
/// Between two looks whether all pools are known.
const LISTED_RETRY: Duration = Duration::from_millis(200);
/// Events of Jobs that wait to be published. In a burst most are dropped, rather than that they delay what the burst is for.
const EVENTS: usize = 100;

/// The wait after a panic; it doubles with each.
const FIRST_RESTART: Duration = Duration::from_secs(1);
/// The longest wait.
const LAST_RESTART: Duration = Duration::from_secs(300);

/// What looking after Jobs takes.
#[derive(Clone)]
pub struct Parts {
    /// To Kubernetes.
    pub client: Client,
    /// All pools.
    pub pools: Store<WorkerPool>,
    /// The watch on Redis.
    pub queues: Queues,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Objects that cannot be decoded.
    pub undecodable: UndecodableObjects,
    /// The name of this operator among its replicas.
    pub instance: String,
}

/// Looks after all Jobs. What is cut off when this is dropped is begun anew the next time: each step can be repeated. A step that
/// panics fails for its Job alone; any other panic here restarts all of it, and pools go on.
pub async fn run(parts: Parts) {
    let mut wait = FIRST_RESTART;
    while let Err(panicked) = telemetry::catch_panic("jobs", run_once(parts.clone())).await {
        tracing::error!(%panicked, ?wait, "the controller of Jobs panicked and is restarted");
        tokio::time::sleep(wait).await;
        wait = (2 * wait).min(LAST_RESTART);
    }
}

async fn run_once(parts: Parts) {
    wait_for_definition(&parts.client).await;
    if !are_listed(&parts.pools).await {
        // Nobody watches pools any more: the program ends.
        return;
    }
    let news = parts.queues.news();
    let watch = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
    let events = Events::start(
        parts.client.clone(),
        Arc::clone(&parts.metrics),
        &parts.instance,
        EVENTS,
    );
    let metrics = Arc::clone(&parts.metrics);
    let (reports, counts) = (events.clone(), Arc::clone(&parts.metrics));
    let undecodable = parts.undecodable;
    let jobs = watcher(Api::<Guarded<WatchedJob>>::all(parts.client.clone()), watch)
        .default_backoff()
        .modify(|job| match &mut job.0 {
            Ok(job) => job.prune(),
            Err(undecodable) => prune(&mut undecodable.metadata),
        })
        .inspect_ok(move |event| {
            if undecodable.on_event(event, &counts) {
                undecodable.report(&reports);
            }
        })
        .inspect_err(move |error| {
            metrics.failed("watch");
            let error = error::watch_in_words(error);
            tracing::warn!(%error, "cannot watch Jobs; trying again");
        })
        .filter_map(|event| ready(event.ok()));
    let tools = Tools {
        events,
        client: parts.client,
        pools: parts.pools,
        queues: parts.queues,
        metrics: parts.metrics,
    };
    Desk::new(tools).run(jobs, news).await;
}

/// Waits until all pools are known; answers whether they ever will be. A store wakes the last of those who wait for it and no
/// other, so this asks again.
async fn are_listed(pools: &Store<WorkerPool>) -> bool {
    loop {
        if let Ok(ready) = tokio::time::timeout(LISTED_RETRY, pools.wait_until_ready()).await {
            return ready.is_ok();
        }
    }
}

/// Waits until the API server knows what a Job is. Pools do without.
async fn wait_for_definition(client: &Client) {
    let jobs: Api<PartialObjectMeta<crds::Job>> = Api::all(client.clone());
    while let Err(error) = error::call("list Jobs", jobs.list(&ListParams::default().limit(1))).await {
        if error.is_not_found() {
            tracing::warn!(
                "no Job is served: the CustomResourceDefinition jobs.workerpool.dev is missing; install it with \
                 kubectl apply -f crds/yaml"
            );
        } else {
            tracing::warn!("no Job is served yet: {error}");
        }
        tokio::time::sleep(CRD_RETRY).await;
    }
}
