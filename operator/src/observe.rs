//! What is: the queues as last read, the Deployment, its count; or why the pool is not served.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crds::WorkerPool;
use queue::Server;

use crate::{
    PoolRef,
    context::{Context, PoolState},
    error::Error,
    foreign,
    objects::request_hash,
    queues::{Chores, Source, View},
    refusal::Refusal,
    source,
    targets::{self, Place, Workload},
    terms::terms,
};

/// Secrets are read again after so long: a password that was changed is known by then.
pub const SECRETS_USABLE: Duration = Duration::from_secs(60);
/// And after so long when Redis refuses the login, or TLS fails.
pub const SECRETS_REFUSED: Duration = Duration::from_secs(5);

/// What is.
pub struct Observed {
    /// Where the queues are.
    pub source: Source,
    /// What is known of them.
    pub view: View,
    /// Where what is scaled is.
    pub place: Place,
    /// What is scaled, if it is there.
    pub deployment: Option<Arc<Workload>>,
    /// The count it asks for.
    pub current: u32,
    /// When to look again for where its workers are, or for its Secrets, though nothing is seen to change.
    pub again: Option<Duration>,
}

/// Looks.
///
/// # Errors
/// The outer one if Kubernetes cannot be asked; the inner one if the pool cannot be served as it is.
pub async fn observe(
    pool: &WorkerPool,
    pool_ref: &PoolRef,
    ctx: &Context,
    state: &mut PoolState,
) -> Result<Result<Observed, Refusal>, Error> {
    let taken = ctx.claims().check(pool_ref);
    if let Err(refusal) = taken {
        ctx.queues.forget(pool_ref);
        return Ok(Err(refusal));
    }
    let server = match server(pool, pool_ref, ctx, state).await? {
        Ok(server) => server,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let target = targets::find(pool, ctx, state).await?;
    // The operator that leads counts and acts; each is told when that changes.
    let leads = ctx.leadership.term().is_some();
    let may_be_foreign = foreign::possible(pool, &ctx.worker_image);
    let mut again = None;
    let foreign = match &target {
        Ok((Place::Watched(kind), Some(workload))) if leads && may_be_foreign => {
            let known = &mut state.foreign;
            let (addresses, look) = foreign::addresses(&ctx.client, *kind, workload, known).await;
            again = look;
            Some(addresses)
        }
        _ => None,
    };
    let found = source::queues(pool).and_then(|queues| {
        let ready = target
            .as_ref()
            .ok()
            .and_then(|(_, deployment)| deployment.as_ref());
        let served_by_us = pool.spec.scale_target_ref.is_none()
            && !may_be_foreign
            && ready.is_some_and(|deployment| deployment.status.ready_replicas > 0);
        let source = Source {
            server,
            queues,
            chores: (leads && !served_by_us).then(|| Chores {
                terms: terms(&pool.spec.worker),
                recover_foreign: pool.spec.worker.recover_foreign_jobs,
            }),
            foreign,
        };
        ctx.queues.follow(pool_ref, &source);
        Ok((source, target?))
    });
    let (source, (place, deployment)) = match found {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let current = current(pool, state, deployment.as_deref());
    let view = ctx.queues.view(pool_ref);
    if source::needs_secrets(pool) && is_refused(&view) {
        again = Some(again.map_or(SECRETS_REFUSED, |look| look.min(SECRETS_REFUSED)));
    }
    Ok(Ok(Observed {
        source,
        view,
        place,
        deployment,
        current,
        again,
    }))
}

/// Where Redis is. Secrets are read seldom: never on the way from a change to a count.
async fn server(
    pool: &WorkerPool,
    pool_ref: &PoolRef,
    ctx: &Context,
    state: &mut PoolState,
) -> Result<Result<Server, Refusal>, Error> {
    if !source::needs_secrets(pool) {
        return source::server(pool, &ctx.client).await;
    }
    let refused = || is_refused(&ctx.queues.view(pool_ref));
    let current = state
        .wanted
        .as_ref()
        .is_none_or(|wanted| wanted.request == request_hash(pool));
    if let Some((server, read_at)) = state.server.as_deref().filter(|_| current) {
        let age = read_at.elapsed();
        if age < SECRETS_REFUSED || (age < SECRETS_USABLE && !refused()) {
            return Ok(Ok(server.clone()));
        }
    }
    let server = source::server(pool, &ctx.client).await?;
    state.server = server
        .as_ref()
        .ok()
        .map(|server| Box::new((server.clone(), Instant::now())));
    Ok(server)
}

/// Whether other Secrets could help.
fn is_refused(view: &View) -> bool {
    matches!(view.error, Some(queue::Error::Auth(_) | queue::Error::Tls { .. }))
}

/// The count that the target asks for. The watch lags behind our own writes by milliseconds; a Deployment that was
/// deleted comes back with the count it had, and a new one begins with the least.
fn current(pool: &WorkerPool, state: &mut PoolState, deployment: Option<&Workload>) -> u32 {
    let Some(deployment) = deployment else {
        state.written = None;
        let least = u32::try_from(pool.spec.scaling.min_replicas).unwrap_or(0);
        return state.replicas.unwrap_or(least);
    };
    if let Some(written) = &state.written {
        let behind = deployment.version() < written.version.parse().ok();
        if behind {
            return written.replicas;
        }
        state.written = None;
    }
    deployment.replicas()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Written;

    fn deployment(version: &str, replicas: i32) -> Workload {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "hw7", "resourceVersion": version},
            "spec": {"replicas": replicas},
        }))
        .unwrap()
    }

    #[test]
    fn count_just_written_holds_until_the_watch_has_caught_up() {
        let pool = WorkerPool::new("hw7", crds::WorkerPoolSpec::default());
        let mut state = PoolState {
            written: Some(Written {
                replicas: 5,
                version: "101".to_owned(),
                applied: None,
            }),
            ..PoolState::default()
        };
        assert_eq!(current(&pool, &mut state, Some(&deployment("99", 2))), 5);
        assert_eq!(current(&pool, &mut state, Some(&deployment("101", 5))), 5);
        // Somebody edits it.
        assert_eq!(current(&pool, &mut state, Some(&deployment("102", 9))), 9);
    }

    #[test]
    fn deleted_deployment_comes_back_with_its_count() {
        let mut pool = WorkerPool::new("hw7", crds::WorkerPoolSpec::default());
        pool.spec.scaling.min_replicas = 1;
        let mut state = PoolState::default();
        assert_eq!(current(&pool, &mut state, None), 1);
        state.replicas = Some(4);
        assert_eq!(current(&pool, &mut state, None), 4);
    }
}
