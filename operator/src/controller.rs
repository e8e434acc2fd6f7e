//! What is watched in Kubernetes, and the one place where results end up.

use std::{
    future::{pending, ready},
    sync::Arc,
    time::Duration,
};

use crds::WorkerPool;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, future::BoxFuture};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        Controller, WatchStreamExt, controller,
        reflector::{self, Store, store::Writer},
        utils::PredicateConfig,
        watcher,
    },
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    PoolRef,
    autoscalers::{Autoscaler, Autoscalers, ScaledObject, Scaler, slim},
    claims::Thing,
    config::Config,
    context::{Context, Memories},
    decoding::{Guarded, Undecodable, decoded},
    error::Error,
    events::Events,
    jobs,
    leader::Leadership,
    metrics::Metrics,
    objects::{prune, request_hash},
    pods::LookPacer,
    queues::Queues,
    reconcile::{is_overwritten, on_error, reconcile},
    scale_down,
    targets::{Kind, Kinds, TargetKey, Workload, Workloads},
    watches::{self, Watches},
};

/// How long a watch lasts before it is made anew. A connection that was cut unseen is noticed 5 s after that at the latest.
const WATCH_SECONDS: u32 = 120;
/// The same as a duration, for bounds of connections.
pub const WATCH_TIMEOUT: Duration = Duration::from_secs(WATCH_SECONDS as u64);

/// The count that the last term lowered may still be carried out, by the costs that it set.
const LEFTOVERS_AFTER: Duration = Duration::from_secs(10);

/// Events of pools that wait to be published.
const EVENTS: usize = 1000;

/// What the controller is made of.
pub struct Parts {
    /// To Kubernetes.
    pub client: Client,
    /// The same for Jobs, by a connection of its own: on a shared one thousands of them go before what a pool waits for.
    pub jobs_client: Client,
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
        jobs_client,
        queues,
        leadership,
        metrics,
        watches,
    } = parts;
    let (pools, pools_writer) = reflector::store();
    let (workloads, writers) = Workloads::new();
    let ctx = Arc::new(Context {
        events: Events::start(client.clone(), Arc::clone(&metrics), &config.instance, EVENTS),
        client: client.clone(),
        pools: pools.clone(),
        workloads,
        kinds: Kinds::default(),
        watches,
        queues,
        leadership,
        claims: Default::default(),
        autoscalers: Autoscalers::default(),
        metrics: Arc::clone(&metrics),
        worker_image: config.worker_image.clone(),
        look_pacer: LookPacer::default(),
        worker_resources: config.worker_resources.clone(),
        memories: Memories::default(),
    });
    let jobs = jobs::Parts {
        client: jobs_client,
        pools: pools.clone(),
        queues: ctx.queues.clone(),
        metrics: Arc::clone(&metrics),
        undecodable: ctx.watches.undecodable.clone(),
        instance: config.instance.clone(),
    };
    let jobs = look_after_jobs(jobs, ctx.leadership.clone());
    let until_stopped = |task: BoxFuture<'static, ()>| stop.clone().run_until_cancelled_owned(task);
    tokio::spawn(until_stopped(tell_when_up_to_date(Arc::clone(&ctx)).boxed()));
    let autoscalers = follow::<Autoscaler>(Arc::clone(&ctx), watches::AUTOSCALERS);
    tokio::spawn(until_stopped(autoscalers.boxed()));
    let scaled_objects = follow::<ScaledObject>(Arc::clone(&ctx), watches::SCALED_OBJECTS);
    tokio::spawn(until_stopped(scaled_objects.boxed()));
    tokio::spawn(until_stopped(follow_leadership(Arc::clone(&ctx)).boxed()));
    tokio::spawn(until_stopped(jobs.boxed()));

    let sink = Arc::clone(&ctx);
    let mut controller = Controller::for_stream(pool_changes(Arc::clone(&ctx), pools_writer), pools);
    for (kind, writer) in Kind::ALL.into_iter().zip(writers) {
        let claimed = Arc::clone(&ctx);
        let by_target = move |workload: Workload| claimed.claims().pools(&thing(kind, &workload));
        let changes = workload_changes(Arc::clone(&ctx), kind, writer);
        controller = controller.watches_stream_with(changes, by_target, kind);
    }
    controller
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
    let mut clearing = JoinSet::new();
    loop {
        epoch = ctx.leadership.changed_from(epoch).await;
        ctx.metrics.leads(epoch.is_some());
        clearing.shutdown().await;
        match epoch {
            Some(epoch) => {
                tracing::info!(epoch, "leading");
                let client = ctx.client.clone();
                clearing.spawn(scale_down::clear_leftovers(client, epoch, LEFTOVERS_AFTER));
                ctx.watches.undecodable.begin_term();
                ctx.watches.undecodable.report(&ctx.events);
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

async fn tell_when_up_to_date(ctx: Arc<Context>) {
    ctx.watches.listed().await;
    ctx.metrics.up_to_date();
}

/// Pools that a user changed. Status is ours, and never wakes us.
fn pool_changes(
    ctx: Arc<Context>,
    writer: Writer<WorkerPool>,
) -> impl Stream<Item = watcher::Result<WorkerPool>> + Send + 'static {
    let pools = ctx.pools.clone();
    let known = pools.clone();
    let told = Arc::clone(&ctx);
    let guarded = Arc::clone(&ctx);
    let events = watcher(Api::<Guarded<WorkerPool>>::all(ctx.client.clone()), watch())
        .default_backoff()
        .modify(|pool| prune(pool.meta_mut()))
        .inspect_ok(move |event| take_in_undecodable(&guarded, event))
        .try_filter_map(move |event| ready(Ok(decoded(event, |pool| with_last_spec(pool, &known)))))
        .reflect(writer)
        .inspect_ok(move |event| take_in_claims(&ctx, &pools, event))
        .inspect(move |result| tell(&told, watches::POOLS, result))
        .applied_objects()
        .predicate_filter(
            |pool: &WorkerPool| Some(request_hash(pool)),
            PredicateConfig::default(),
        );
    only_good(events)
}

/// Counts and reports objects that cannot be decoded.
fn take_in_undecodable<K: Resource<DynamicType = ()>>(ctx: &Context, event: &watcher::Event<Guarded<K>>) {
    if ctx.watches.undecodable.on_event(event, &ctx.metrics) && ctx.leadership.term().is_some() {
        ctx.watches.undecodable.report(&ctx.events);
    }
}

/// A pool that could be decoded before goes on with the spec and the status of then: its claims stay, and it may be deleted. The
/// generation is that of the spec.
fn with_last_spec(undecodable: Undecodable, pools: &Store<WorkerPool>) -> Option<WorkerPool> {
    let Undecodable { metadata, .. } = undecodable;
    let namespace = metadata.namespace.as_deref()?;
    let known = pools.get(&PoolRef::new(metadata.name.as_deref()?).within(namespace))?;
    if known.metadata.uid != metadata.uid {
        // It was deleted, and another has its name.
        return None;
    }
    let mut pool = WorkerPool::clone(&known);
    pool.metadata = ObjectMeta {
        generation: known.metadata.generation,
        ..metadata
    };
    Some(pool)
}

/// Workloads of a kind that changed in any way or are gone: of each, who scales it wants to know. Any Deployment may be a
/// pool's own; other kinds are watched from when a pool names one.
fn workload_changes(
    ctx: Arc<Context>,
    kind: Kind,
    writer: Writer<Workload>,
) -> impl Stream<Item = watcher::Result<Workload>> + Send + 'static {
    let watches = ctx.watches.clone();
    let wanted = async move { watches.wanted(kind.names()).await };
    let all = Api::<Workload>::all_with(ctx.client.clone(), &kind);
    let events = watcher(all, watch())
        .default_backoff()
        .modify(Workload::prune)
        .filter_map(move |event| ready(without_revisions(kind, event)))
        .reflect(writer)
        .inspect(move |result| {
            tell(&ctx, kind.names(), result);
            if kind != Kind::Deployment && matches!(result, Ok(watcher::Event::InitDone)) {
                wake(&ctx, |target| target.watched_kind() == Some(kind));
            }
        })
        .touched_objects();
    only_good(
        wanted
            .into_stream()
            .map(|()| None)
            .chain(events.map(Some))
            .filter_map(ready),
    )
}

/// Takes out the ReplicaSets that a Deployment keeps: they are many, and never a target.
fn without_revisions(
    kind: Kind,
    event: watcher::Result<watcher::Event<Workload>>,
) -> Option<watcher::Result<watcher::Event<Workload>>> {
    let is_revision = |set: &Workload| kind == Kind::ReplicaSet && set.is_controlled();
    match event {
        Ok(watcher::Event::InitApply(set)) if is_revision(&set) => None,
        // It may have been one of its own before.
        Ok(watcher::Event::Apply(set)) if is_revision(&set) => Some(Ok(watcher::Event::Delete(set))),
        event => Some(event),
    }
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
    if let watcher::Event::Apply(pool) = event {
        put_status_right(ctx, pool);
    }
    let affected = match event {
        watcher::Event::Apply(pool) | watcher::Event::InitApply(pool) => {
            if let Some(kind) = TargetKey::of(pool).watched_kind() {
                ctx.watches.want(kind.names());
            }
            ctx.claims().set(pool)
        }
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

/// Status never wakes us, but one that is not ours does: nothing else may change for days.
fn put_status_right(ctx: &Context, pool: &WorkerPool) {
    let leads = ctx.leadership.term().is_some();
    let state = ctx.memories.of(pool);
    // Who is reconciled just now writes upon a version that is no more, if at all, and sees this.
    let overwritten = state.try_lock().is_ok_and(|state| is_overwritten(pool, &state));
    if leads && overwritten {
        ctx.queues.wake(&PoolRef::from_obj(pool));
    }
}

fn gone(ctx: &Context, pool: &PoolRef) -> Vec<PoolRef> {
    ctx.forget(pool);
    ctx.claims().remove(pool)
}

/// Follows what others scale. A cluster without KEDA has no ScaledObjects, and is asked for them from time to time.
async fn follow<K: Scaler>(ctx: Arc<Context>, watch_name: &'static str) {
    let events = watcher(Api::<Guarded<K>>::all(ctx.client.clone()), watch())
        .default_backoff()
        .modify(slim)
        .inspect_ok(|event| take_in_undecodable(&ctx, event));
    let heard = |result: &watcher::Result<watcher::Event<Guarded<K>>>| ctx.watches.heard(watch_name, result);
    let changed = |changed: &TargetKey| wake(&ctx, |target| target == changed);
    ctx.autoscalers.clone().follow(events, heard, changed).await;
}

/// Wakes all pools whose targets are so.
fn wake(ctx: &Context, so: impl Fn(&TargetKey) -> bool) {
    let pools = ctx.claims().pools_with(so);
    for pool in pools {
        ctx.queues.wake(&pool);
    }
}

fn thing(kind: Kind, workload: &Workload) -> Thing {
    Thing::Target(TargetKey::known(
        kind,
        workload.namespace().unwrap_or_default(),
        workload.name_any(),
    ))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pool(uid: &str, version: &str, spec: &serde_json::Value) -> Guarded<WorkerPool> {
        let deleted = (version != "1").then_some("2026-01-02T00:00:00Z");
        let pool = json!({
            "metadata": {"name": "hw7", "namespace": "default", "uid": uid, "resourceVersion": version, "generation": 3,
                "labels": {"version": version}, "deletionTimestamp": deleted},
            "spec": spec,
        });
        serde_json::from_str(&pool.to_string()).unwrap()
    }

    #[test]
    fn pool_that_cannot_be_decoded_any_more_has_last_spec_and_metadata_of_now() {
        let (pools, mut writer) = reflector::store();
        let last = json!({"scaling": {"maxReplicas": 7}});
        let mut known = pool("a", "1", &last).0.unwrap();
        known.metadata.generation = Some(2);
        writer.apply_watcher_event(&watcher::Event::Apply(known.clone()));
        let undecodable = |uid| *pool(uid, "2", &json!({"scaling": 7})).0.unwrap_err();

        let kept = with_last_spec(undecodable("a"), &pools).unwrap();
        assert_eq!(kept.spec.scaling.max_replicas, 7);
        assert_eq!(kept.metadata.resource_version.as_deref(), Some("2"));
        assert_eq!(kept.labels()["version"], "2");
        assert_eq!(kept.metadata.generation, Some(2), "of the spec");
        assert_ne!(request_hash(&kept), request_hash(&known), "its deletion is seen");

        assert_eq!(
            with_last_spec(undecodable("b"), &pools),
            None,
            "another of its name"
        );
    }
}
