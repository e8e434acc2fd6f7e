//! What is watched in Kubernetes, and the one place where results end up.

use std::{
    future::{pending, ready},
    sync::Arc,
};

use crds::WorkerPool;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, future::BoxFuture};
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        Controller, WatchStreamExt, controller, predicates,
        reflector::{self, Store, store::Writer},
        utils::PredicateConfig,
        watcher,
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    PoolRef,
    autoscalers::Autoscalers,
    claims::Thing,
    config::Config,
    context::{Context, Memories},
    error::Error,
    events::Events,
    jobs,
    leader::Leadership,
    metrics::Metrics,
    objects::{Autoscaler, Deployment, prune},
    queues::Queues,
    reconcile::{on_error, reconcile},
    scale_down,
    watches::{self, Watches},
};

/// How long a watch lasts before it is made anew. A connection that was cut unseen is noticed 5 s after that at the latest.
const WATCH_SECONDS: u32 = 120;

/// Events of pools that wait to be published.
const EVENTS: usize = 1000;

/// What the controller is made of.
pub struct Parts {
    /// To Kubernetes.
    pub client: Client,
    /// The watch on Redis.
    pub queues: Queues,
    /// Whether to act.
    pub leadership: Leadership,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How far the watches have come.
    pub watches: Watches,
}

/// Serves all pools until `stop` is cancelled and what is under way has ended. `wakes` names pools whose queue changed.
pub async fn run(
    parts: Parts,
    config: &Config,
    wakes: impl Stream<Item = PoolRef> + Send + 'static,
    stop: CancellationToken,
) {
    let Parts {
        client,
        queues,
        leadership,
        metrics,
        watches,
    } = parts;
    let (pools, pools_writer) = reflector::store();
    let (deployments, deployments_writer) = reflector::store();
    let ctx = Arc::new(Context {
        events: Events::start(client.clone(), Arc::clone(&metrics), &config.instance, EVENTS),
        client: client.clone(),
        pools: pools.clone(),
        deployments: deployments.clone(),
        watches,
        queues,
        leadership,
        claims: Default::default(),
        autoscalers: Autoscalers::default(),
        metrics: Arc::clone(&metrics),
        worker_image: config.worker_image.clone(),
        memories: Memories::default(),
    });
    let jobs = jobs::Parts {
        client: client.clone(),
        pools: pools.clone(),
        queues: ctx.queues.clone(),
        metrics: Arc::clone(&metrics),
        instance: config.instance.clone(),
    };
    let jobs = look_after_jobs(jobs, ctx.leadership.clone());
    let until_stopped = |task: BoxFuture<'static, ()>| stop.clone().run_until_cancelled_owned(task);
    tokio::spawn(until_stopped(tell_when_up_to_date(Arc::clone(&ctx)).boxed()));
    tokio::spawn(until_stopped(follow_autoscalers(Arc::clone(&ctx)).boxed()));
    tokio::spawn(until_stopped(follow_leadership(Arc::clone(&ctx)).boxed()));
    tokio::spawn(until_stopped(jobs.boxed()));

    let by_deployment = Arc::clone(&ctx);
    let sink = Arc::clone(&ctx);
    Controller::for_stream(pool_changes(Arc::clone(&ctx), pools_writer), pools)
        .watches_stream(
            deployment_changes(Arc::clone(&ctx), client, deployments_writer),
            move |deployment| by_deployment.claims().pools(&thing(&deployment)),
        )
        .reconcile_on(wakes)
        .with_config(controller::Config::default().concurrency(config.concurrency))
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, |pool, error, ctx| on_error(&pool, error, &ctx), ctx)
        .for_each(move |result| {
            take_in(result, &sink);
            ready(())
        })
        .await;
}

/// Wakes all pools whenever this operator begins to lead, or ends.
async fn follow_leadership(ctx: Arc<Context>) {
    let mut epoch = None;
    loop {
        epoch = ctx.leadership.changed_from(epoch).await;
        ctx.metrics.leads(epoch.is_some());
        match epoch {
            Some(epoch) => {
                tracing::info!(epoch, "leading");
                tokio::spawn(clear_leftovers(ctx.client.clone()));
            }
            None => tracing::info!("not leading any more"),
        }
        for pool in ctx.pools.state() {
            ctx.queues.wake(&PoolRef::from_obj(&*pool));
        }
    }
}

/// Looks after Jobs in each term anew: each step can be repeated, whoever did it before.
async fn look_after_jobs(parts: jobs::Parts, leadership: Leadership) {
    let mut epoch = leadership.epoch();
    loop {
        let term = async {
            if epoch.is_some() {
                jobs::run(parts.clone()).await;
            }
            pending().await
        };
        epoch = tokio::select! {
            now = leadership.changed_from(epoch) => now,
            now = term => now,
        };
    }
}

/// A scale-down that is under way by then looks again before it acts on a cost.
async fn clear_leftovers(client: Client) {
    match scale_down::clear_leftovers(&client).await {
        Ok(0) => {}
        Ok(pods) => tracing::info!(pods, "cleared deletion costs that were left behind"),
        Err(error) => tracing::warn!(%error, "deletion costs that were left behind may remain"),
    }
}

async fn tell_when_up_to_date(ctx: Arc<Context>) {
    ctx.watches.listed().await;
    ctx.metrics.up_to_date();
}

/// Pools whose spec changed. Status is ours, and never wakes us.
fn pool_changes(
    ctx: Arc<Context>,
    writer: Writer<WorkerPool>,
) -> impl Stream<Item = watcher::Result<WorkerPool>> + Send + 'static {
    let pools = ctx.pools.clone();
    let told = Arc::clone(&ctx);
    let events = watcher(Api::<WorkerPool>::all(ctx.client.clone()), watch())
        .default_backoff()
        .modify(|pool| prune(&mut pool.metadata))
        .reflect(writer)
        .inspect_ok(move |event| take_in_claims(&ctx, &pools, event))
        .inspect(move |result| tell(&told, watches::POOLS, result))
        .applied_objects()
        .predicate_filter(predicates::generation, PredicateConfig::default());
    only_good(events)
}

/// Deployments that changed in any way or are gone: of each, who scales it wants to know.
fn deployment_changes(
    ctx: Arc<Context>,
    client: Client,
    writer: Writer<Deployment>,
) -> impl Stream<Item = watcher::Result<Deployment>> + Send + 'static {
    let events = watcher(Api::<Deployment>::all(client), watch())
        .default_backoff()
        .modify(Deployment::prune)
        .reflect(writer)
        .inspect(move |result| tell(&ctx, watches::DEPLOYMENTS, result))
        .touched_objects();
    only_good(events)
}

fn watch() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

fn tell<K>(ctx: &Context, kind: &'static str, result: &watcher::Result<watcher::Event<K>>) {
    if result.is_err() {
        ctx.metrics.failed("watch");
    }
    ctx.watches.heard(kind, result);
}

/// Takes a watch's errors out, once they are told: the watch backs off by itself, and the controller would back off from all
/// its triggers, Redis among them.
fn only_good<K: Send + 'static>(
    events: impl Stream<Item = watcher::Result<K>> + Send + 'static,
) -> impl Stream<Item = watcher::Result<K>> + Send + 'static {
    events.filter(|event| ready(event.is_ok()))
}

/// Keeps claims in step with pools, and wakes the pools for which that makes a difference.
fn take_in_claims(ctx: &Context, pools: &Store<WorkerPool>, event: &watcher::Event<WorkerPool>) {
    let affected = match event {
        watcher::Event::Apply(pool) | watcher::Event::InitApply(pool) => ctx.claims().set(pool),
        watcher::Event::Delete(pool) => gone(ctx, &PoolRef::from_obj(pool)),
        watcher::Event::InitDone => {
            let known = ctx.claims().all();
            let left = known.into_iter().filter(|pool| pools.get(pool).is_none());
            left.flat_map(|pool| gone(ctx, &pool)).collect()
        }
        watcher::Event::Init => Vec::new(),
    };
    for pool in affected {
        ctx.queues.wake(&pool);
    }
}

fn gone(ctx: &Context, pool: &PoolRef) -> Vec<PoolRef> {
    ctx.forget(pool);
    ctx.claims().remove(pool)
}

async fn follow_autoscalers(ctx: Arc<Context>) {
    let events = watcher(Api::<Autoscaler>::all(ctx.client.clone()), watch()).default_backoff();
    let changed = |namespace: &str, name: &str| {
        let thing = Thing::Deployment {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let pools = ctx.claims().pools(&thing);
        for pool in pools {
            ctx.queues.wake(&pool);
        }
    };
    ctx.autoscalers.clone().follow(events, changed).await;
}

fn thing(deployment: &Deployment) -> Thing {
    Thing::Deployment {
        namespace: deployment.namespace().unwrap_or_default(),
        name: deployment.name_any(),
    }
}

type Outcome = Result<(PoolRef, controller::Action), controller::Error<Error, watcher::Error>>;

/// Where every result ends up.
fn take_in(outcome: Outcome, ctx: &Context) {
    match outcome {
        // It went away while it was reconciled, and what was remembered meanwhile goes after it.
        Ok((pool, _)) if ctx.pools.get(&pool).is_none() => ctx.forget(&pool),
        Ok((pool, action)) => tracing::debug!(%pool, ?action, "reconciled"),
        // A wake-up that came after its pool was gone: everyday life.
        Err(controller::Error::ObjectNotFound(pool)) => tracing::debug!(%pool, "woken, but gone"),
        Err(controller::Error::ReconcilerFailed(error @ Error::NotLeading { .. }, pool)) => {
            tracing::debug!(%pool, %error, "left to the leader");
        }
        Err(controller::Error::ReconcilerFailed(error, pool)) => {
            tracing::warn!(%pool, kind = error.kind(), %error, "cannot reconcile; trying again");
        }
        Err(error) => {
            ctx.metrics.failed("controller");
            tracing::error!(%error, "the controller failed");
        }
    }
}
