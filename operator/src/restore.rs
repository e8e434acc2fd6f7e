//! `deletionPolicy: Restore`: what a scale target had is kept on the pool, and given back when the pool is deleted.
//!
//! A finalizer keeps the pool for that long, and no longer than [`PATIENCE`]: a target that is gone, that another
//! scales by now, or that the API server does not let us write keeps no pool, and no namespace, from going.

use std::time::{Duration, Instant};

use crds::{WorkerPool, target::DeletionPolicy};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
    runtime::controller::Action,
};
use serde_json::json;

use crate::{
    PoolRef,
    apply::SCALE_MANAGER,
    context::{Context, PoolState},
    error::{self, Error},
    events::Event,
    observe::Observed,
    targets::{self, TargetKey},
};

/// Keeps a pool until its target has the count back.
const FINALIZER: &str = "workerpool.dev/restore";
/// The count that the target had when the pool was first served with this policy.
const FOUND: &str = "workerpool.dev/found-replicas";
/// Who writes both.
const FIELD_MANAGER: &str = "workerpool-operator/restore";
/// A count that cannot be given back is given up after so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the pool's metadata should become.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// They are right.
    Keep,
    /// Note the count, and wait with the deletion until it is given back.
    Note,
    /// There is nothing to give back any more.
    Release,
}

/// Notes the count that the target has, before it is changed for the first time; or takes that back. Answers whether it is so
/// by now, and the count may be changed.
///
/// # Errors
/// What the API server answers.
pub async fn note(
    pool: &WorkerPool,
    ctx: &Context,
    state: &mut PoolState,
    observed: &Observed,
) -> Result<bool, Error> {
    let plan = plan(pool);
    if plan == Plan::Keep || state.noted == Some(wants_restore(pool)) {
        return Ok(true);
    }
    let change = match plan {
        Plan::Note => json!({
            "finalizers": with_ours(pool),
            "annotations": {FOUND: found(pool).unwrap_or(observed.current).to_string()},
        }),
        _ => json!({"finalizers": without_ours(pool), "annotations": {FOUND: null}}),
    };
    match patch(pool, ctx, change).await {
        Ok(()) => {
            // Until the watch shows it.
            state.noted = Some(wants_restore(pool));
            Ok(true)
        }
        Err(error) if error.is_conflict() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives the count back to the target of a pool that is being deleted, and lets the pool go.
///
/// # Errors
/// What the API server answers; it is tried again, for a while.
pub async fn give_back(
    pool: &WorkerPool,
    pool_ref: &PoolRef,
    ctx: &Context,
    state: &mut PoolState,
) -> Result<Action, Error> {
    if !is_kept(pool) {
        return Ok(Action::await_change());
    }
    let since = *state.deleting_since.get_or_insert_with(Instant::now);
    let view = ctx.queues.view(pool_ref);
    let given_back = async {
        state
            .scale_down
            .abandon(&ctx.client, &ctx.queues, pool_ref, &view)
            .await?;
        write(pool, pool_ref, ctx).await
    };
    let event = match given_back.await {
        Ok(Some(count)) => Event::normal(
            "Restored",
            "Scale",
            format!("gave its target {count} replicas back"),
        ),
        Ok(None) => Event::normal("NotRestored", "Scale", "its target is gone, or another scales it"),
        Err(error) if since.elapsed() < PATIENCE => return Err(error),
        Err(error) => Event::warning("NotRestored", "Scale", error.to_string()),
    };
    match patch(pool, ctx, json!({"finalizers": without_ours(pool)})).await {
        Err(error) if !error.is_not_found() => return Err(error),
        _ => {}
    }
    tracing::info!(pool = %pool_ref, "{}", event.note);
    ctx.events.send(pool, &mut state.budget, event);
    Ok(Action::await_change())
}

/// The count that was written, if there is one and it is ours to write.
async fn write(pool: &WorkerPool, pool_ref: &PoolRef, ctx: &Context) -> Result<Option<u32>, Error> {
    let namespace = pool.namespace().ok_or(Error::Incomplete("namespace"))?;
    let target = TargetKey::of(pool);
    let ours = ctx.claims().check(pool_ref).is_ok() && ctx.autoscalers.of(&target).is_none();
    let (Some(count), Ok(place)) = (found(pool).filter(|_| ours), targets::place(pool, ctx).await?) else {
        return Ok(None);
    };
    let targets = place.api(ctx.client.clone(), &namespace);
    let change = Patch::Merge(json!({"spec": {"replicas": count}}));
    let params = manager(SCALE_MANAGER);
    match error::call(
        "give the count back",
        targets.patch_scale(&target.name, &params, &change),
    )
    .await
    {
        Err(error) if error.is_not_found() => Ok(None),
        answer => answer.map(|_| Some(count)),
    }
}

fn plan(pool: &WorkerPool) -> Plan {
    match (wants_restore(pool), is_kept(pool)) {
        (true, true) if found(pool).is_some() => Plan::Keep,
        (true, _) => Plan::Note,
        (false, true) => Plan::Release,
        (false, false) => Plan::Keep,
    }
}

fn wants_restore(pool: &WorkerPool) -> bool {
    pool.spec.deletion_policy == DeletionPolicy::Restore && pool.spec.scale_target_ref.is_some()
}

fn is_kept(pool: &WorkerPool) -> bool {
    pool.finalizers().iter().any(|name| name == FINALIZER)
}

fn found(pool: &WorkerPool) -> Option<u32> {
    pool.annotations().get(FOUND)?.parse().ok()
}

fn with_ours(pool: &WorkerPool) -> Vec<&str> {
    let mut finalizers = without_ours(pool);
    finalizers.push(FINALIZER);
    finalizers
}

fn without_ours(pool: &WorkerPool) -> Vec<&str> {
    let others = pool.finalizers().iter().map(String::as_str);
    others.filter(|name| *name != FINALIZER).collect()
}

/// Changes the pool's metadata, if nobody wrote since: a list of finalizers is written as a whole.
async fn patch(pool: &WorkerPool, ctx: &Context, mut metadata: serde_json::Value) -> Result<(), Error> {
    let namespace = pool.namespace().ok_or(Error::Incomplete("namespace"))?;
    let pools: Api<WorkerPool> = Api::namespaced(ctx.client.clone(), &namespace);
    metadata["resourceVersion"] = json!(pool.resource_version());
    let change = Patch::Merge(json!({"metadata": metadata}));
    let params = manager(FIELD_MANAGER);
    let name = pool.name_any();
    let request = pools.patch_metadata(&name, &params, &change);
    error::call("note what to restore", request).await.map(drop)
}

fn manager(name: &str) -> PatchParams {
    PatchParams {
        field_manager: Some(name.to_owned()),
        ..PatchParams::default()
    }
}
