//! What pools scale: their own Deployments, and whatever else of their namespace has a `/scale`.
//!
//! Deployments, StatefulSets and ReplicaSets are watched, the latter two from when a pool first names one: what they say
//! costs nothing to look at, and their pods are chosen before they go. Of any other kind, its `/scale` is read when its
//! pool is reconciled, and nothing else is known.
//!
//! - [`TargetKey`]: which one.
//! - [`Workload`]: what is known of it.
//! - [`Kinds`]: where other kinds are at the API server.

mod discovery;
mod key;
mod workload;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crds::WorkerPool;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    runtime::reflector::{ObjectRef, Store, store::Writer},
};

pub use self::{
    discovery::Kinds,
    key::{TargetKey, group_of},
    workload::{Kind, Ordinals, Workload, WorkloadSpec, WorkloadStatus},
};
use crate::{
    context::{Context, PoolState},
    error::{self, Error},
    objects::is_controlled_by,
    refusal::Refusal,
};

/// A `/scale` that was read is good for so long: a lively queue reconciles its pool fifty times a second.
const SCALE_USABLE: Duration = Duration::from_secs(1);
/// Nobody tells of changes of what is not watched: it is looked at again after so long.
const SCALE_POLL: Duration = Duration::from_secs(30);
/// The first list of a kind takes no longer than this, or its pools are told that it is waited for.
const LIST_PATIENCE: Duration = Duration::from_secs(5);

/// All workloads that are watched.
#[derive(Debug)]
pub struct Workloads([Store<Workload>; 3]);

/// What fills [`Workloads`], in the order of [`Kind::ALL`].
pub type Writers = [Writer<Workload>; 3];

impl Workloads {
    /// None yet.
    #[must_use]
    pub fn new() -> (Self, Writers) {
        let writers = Kind::ALL.map(Writer::new);
        (Self(writers.each_ref().map(Writer::as_reader)), writers)
    }

    fn get(&self, kind: Kind, key: &TargetKey) -> Option<Arc<Workload>> {
        let object = ObjectRef::new_with(&key.name, kind).within(&key.namespace);
        self.0[kind as usize].get(&object)
    }
}

/// Where a target is at the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Watched.
    Watched(Kind),
    /// Known by its `/scale` alone.
    Scale(Arc<ApiResource>),
}

impl Place {
    /// Its kind, if that is watched.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Watched(kind) => Some(*kind),
            Self::Scale(_) => None,
        }
    }

    /// For its `/scale`.
    #[must_use]
    pub fn api(&self, client: Client, namespace: &str) -> Api<DynamicObject> {
        match self {
            Self::Watched(kind) => Api::namespaced_with(client, namespace, &kind.resource()),
            Self::Scale(resource) => Api::namespaced_with(client, namespace, &**resource),
        }
    }
}

/// Where the pool's target is.
///
/// # Errors
/// What the API server answers; the inner one if it has no such kind to scale.
pub async fn place(pool: &WorkerPool, ctx: &Context) -> Result<Result<Place, Refusal>, Error> {
    let Some(target) = &pool.spec.scale_target_ref else {
        return Ok(Ok(Place::Watched(Kind::Deployment)));
    };
    if let Some(kind) = Kind::of(group_of(&target.api_version), &target.kind) {
        return Ok(Ok(Place::Watched(kind)));
    }
    let found = ctx.kinds.find(&ctx.client, target).await?;
    Ok(found.map(Place::Scale))
}

/// What the pool scales, and where that is; nothing if it is the pool's own Deployment and is not there.
///
/// # Errors
/// The outer one if Kubernetes cannot be asked; the inner one if the pool cannot have it.
pub async fn find(
    pool: &WorkerPool,
    ctx: &Context,
    state: &mut PoolState,
) -> Result<Result<(Place, Option<Arc<Workload>>), Refusal>, Error> {
    let key = TargetKey::of(pool);
    if let Some(by) = ctx.autoscalers.of(&key) {
        return Ok(Err(Refusal::TargetAutoscaled { by, target: key }));
    }
    let place = match place(pool, ctx).await? {
        Ok(place) => place,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let found = match &place {
        Place::Watched(kind) => watched(pool, ctx, *kind, key).await,
        Place::Scale(resource) => match scale(ctx, state, resource, key).await? {
            Ok(workload) => Ok(Some(workload)),
            Err(refusal) => Err(refusal),
        },
    };
    Ok(found.map(|workload| (place, workload)))
}

/// The pool's workload as its watch shows it, also of a pool that is not served. A Deployment of the pool's name is the pool's own, or it
/// is not answered.
#[must_use]
pub fn known(pool: &WorkerPool, ctx: &Context) -> Option<Arc<Workload>> {
    let key = TargetKey::of(pool);
    let workload = ctx.workloads.get(key.watched_kind()?, &key)?;
    let may_be_scaled = pool.spec.scale_target_ref.is_some() || is_own(&workload, pool);
    may_be_scaled.then_some(workload)
}

async fn watched(
    pool: &WorkerPool,
    ctx: &Context,
    kind: Kind,
    key: TargetKey,
) -> Result<Option<Arc<Workload>>, Refusal> {
    if let Err(why) = ctx.watches.listed_soon(kind.names(), LIST_PATIENCE).await {
        return Err(Refusal::TargetUnseen(why));
    }
    let found = ctx.workloads.get(kind, &key);
    match (&pool.spec.scale_target_ref, found) {
        (Some(_), None) => Err(Refusal::TargetMissing(key)),
        (None, Some(found)) if !is_own(&found, pool) => Err(Refusal::DeploymentNotOurs(key.name)),
        (_, found) => Ok(found),
    }
}

fn is_own(deployment: &Workload, pool: &WorkerPool) -> bool {
    let uid = pool.metadata.uid.as_deref();
    uid.is_some_and(|uid| is_controlled_by(deployment, uid))
}

async fn scale(
    ctx: &Context,
    state: &mut PoolState,
    resource: &ApiResource,
    key: TargetKey,
) -> Result<Result<Arc<Workload>, Refusal>, Error> {
    if let Some((workload, read_at)) = &state.scale
        && read_at.elapsed() < SCALE_USABLE
    {
        return Ok(Ok(Arc::clone(workload)));
    }
    let api: Api<DynamicObject> = Api::namespaced_with(ctx.client.clone(), &key.namespace, resource);
    let read_at = Instant::now();
    match error::call("read the target's scale", api.get_scale(&key.name)).await {
        Ok(scale) => {
            let workload = Arc::new(Workload::from(scale));
            state.scale = Some((Arc::clone(&workload), read_at));
            Ok(Ok(workload))
        }
        Err(error) if error.is_not_found() => Ok(Err(Refusal::TargetMissing(key))),
        Err(error) if error.is_forbidden() => Ok(Err(Refusal::forbidden(resource))),
        Err(error) => Err(error),
    }
}

/// When to look at the target again though nobody tells of a change.
#[must_use]
pub fn look_again(place: &Place) -> Option<Duration> {
    place.kind().is_none().then_some(SCALE_POLL)
}
