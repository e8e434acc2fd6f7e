//! From a decision to Kubernetes.

use std::{
    cmp::Ordering,
    time::{Duration, Instant},
};

use crds::WorkerPool;
use k8s_openapi::api::apps::v1::Deployment as FullDeployment;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams},
};
use queue::Mark;
use scaling::{Decision, Mode};
use serde_json::json;

use crate::{
    PoolRef,
    context::{Context, PoolState, Wanted, Written},
    deployment::{Inputs, applied_hash, build_deployment, selects_as, template_hash},
    drift::{self, Plan, Shown},
    error::{self, Error},
    events::Event,
    objects::request_hash,
    observe::Observed,
    refusal::Refusal,
    scale_down::{HeldBack, Order, Progress, Target},
    targets::{Kind, Place, TargetKey, Workload},
};

/// Who writes the owned Deployments.
const DEPLOYMENT_MANAGER: &str = "workerpool-operator/deployment";
/// Who writes counts.
pub(crate) const SCALE_MANAGER: &str = "workerpool-operator/scale";
/// After somebody else wrote in between, the watch shows it at once; this is only in case.
pub(crate) const CONFLICT_RETRY: Duration = Duration::from_millis(200);

/// A count is tried to be raised so often, while others write to the Deployment.
const RAISES: usize = 3;

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The count that was written, if one was.
    pub scaled_to: Option<u32>,
    /// Why the count could not be lowered.
    pub held_back: Option<HeldBack>,
    /// When to go on.
    pub again: Option<Duration>,
}

/// Does what was decided.
///
/// # Errors
/// What the API server answers.
pub async fn apply(
    pool: &WorkerPool,
    pool_ref: &PoolRef,
    ctx: &Context,
    state: &mut PoolState,
    observed: &Observed,
    decision: &Decision,
) -> Result<Applied, Error> {
    if decision.mode == Mode::Paused {
        state
            .scale_down
            .abandon(&ctx.client, &ctx.queues, pool_ref, &observed.view)
            .await?;
        return Ok(Applied::default());
    }
    let mut correction = None;
    if pool.spec.scale_target_ref.is_none() {
        match apply_deployment(pool, ctx, state, observed, decision).await? {
            Own::Applied(applied) => return Ok(applied),
            Own::AsItShouldBe(wait) => correction = wait,
        }
    }
    let Some(deployment) = observed.deployment.as_deref() else {
        return Ok(Applied::default());
    };
    let scaling = Scaling {
        pool,
        pool_ref,
        ctx,
        deployment,
        observed,
    };
    let applied = scaling.apply_count(state, decision).await?;
    Ok(Applied {
        again: applied.again.into_iter().chain(correction).min(),
        ..applied
    })
}

/// What became of a pool's own Deployment.
enum Own {
    /// It was applied, which is all for now: the watch shows what follows.
    Applied(Applied),
    /// Only its count may have to change now. What others changed is corrected in so long.
    AsItShouldBe(Option<Duration>),
}

/// Applies the pool's own Deployment, if it is not there, its template changed, or somebody else changed it. It always carries a
/// count: without one the API server would make it 1.
async fn apply_deployment(
    pool: &WorkerPool,
    ctx: &Context,
    state: &mut PoolState,
    observed: &Observed,
    decision: &Decision,
) -> Result<Own, Error> {
    let found = observed.deployment.as_deref();
    let last_applied = last_applied(state, found);
    let Some(wanted) = &state.wanted else {
        return Ok(Own::AsItShouldBe(None));
    };
    let shown = found.map(|found| Shown {
        generation: found.metadata.generation,
        applied: last_applied.as_deref(),
        behind: state.written.is_some(),
    });
    let plan = state
        .drift
        .plan(applied_hash(&wanted.deployment), shown, Instant::now());
    let replicas = match plan {
        Plan::Keep(wait) => return Ok(Own::AsItShouldBe(wait)),
        Plan::Create => decision.replicas,
        // Going down is not done by the way: pods are asked first.
        Plan::Update => decision.replicas.max(observed.current),
        Plan::Correct => observed.current,
    };
    let wanted = wanted.deployment.clone();
    let blame = match (plan, state.drift.generation()) {
        (Plan::Correct, Some(_)) => blame(pool, ctx, &wanted).await,
        _ => None,
    };
    let Some(generation) = patch_deployment(pool, ctx, state, found, wanted, replicas).await? else {
        return Ok(match plan {
            // The count does not wait for it.
            Plan::Correct => Own::AsItShouldBe(Some(CONFLICT_RETRY)),
            _ => Own::Applied(Applied::later()),
        });
    };
    let event = match plan {
        Plan::Correct => {
            let corrected = generation != found.and_then(|found| found.metadata.generation);
            state.drift.looked(corrected, Instant::now());
            if !corrected {
                return Ok(Own::AsItShouldBe(None));
            }
            Event::warning("DriftCorrected", "Apply", drift_note(pool, blame.as_deref()))
        }
        Plan::Create => Event::normal(
            "DeploymentCreated",
            "Apply",
            format!("made its Deployment, {replicas} replicas"),
        ),
        _ => Event::normal(
            "DeploymentUpdated",
            "Apply",
            format!("changed its pods, {replicas} replicas"),
        ),
    };
    ctx.events.send(pool, &mut state.budget, event);
    Ok(Own::Applied(Applied {
        scaled_to: (found.is_none() || replicas != observed.current).then_some(replicas),
        ..Applied::default()
    }))
}

/// Applies the Deployment; answers its generation then, or nothing where somebody else wrote since.
async fn patch_deployment(
    pool: &WorkerPool,
    ctx: &Context,
    state: &mut PoolState,
    found: Option<&Workload>,
    mut wanted: FullDeployment,
    replicas: u32,
) -> Result<Option<Option<i64>>, Error> {
    wanted.spec.get_or_insert_default().replicas = Some(to_i32(replicas));
    // Only if nobody wrote since: what arrives late of an operator that led before must not undo the next one's count.
    wanted.metadata.resource_version = found.and_then(|found| version_known(state, found));
    let deployments: Api<Workload> =
        Api::namespaced_with(ctx.client.clone(), &namespace(pool)?, &Kind::Deployment);
    let params = PatchParams::apply(DEPLOYMENT_MANAGER).force();
    let (name, patch) = (wanted.name_any(), Patch::Apply(&wanted));
    let request = deployments.patch(&name, &params, &patch);
    let answer = match error::call("apply the Deployment", request).await {
        Err(error) if error.is_conflict() => return Ok(None),
        answer => answer?,
    };
    let (hash, generation) = (applied_hash(&wanted), answer.metadata.generation);
    state.drift.applied(hash, generation);
    state.written = answer.resource_version().map(|version| Written {
        replicas,
        version,
        applied: hash.map(str::to_owned),
    });
    Ok(Some(generation))
}

/// Who changed what of the Deployment. Read before a correction, which takes the fields away from them. A list, as the operator has no
/// right to get a Deployment. `None` if it cannot be found out.
async fn blame(pool: &WorkerPool, ctx: &Context, wanted: &FullDeployment) -> Option<String> {
    let deployments: Api<Workload> =
        Api::namespaced_with(ctx.client.clone(), &pool.namespace()?, &Kind::Deployment);
    let named = ListParams::default().fields(&format!("metadata.name={}", pool.name_any()));
    let request = deployments.list_metadata(&named);
    let mut found = error::call("read who changed the Deployment", request)
        .await
        .ok()?;
    let managed = found.items.pop()?.metadata.managed_fields?;
    drift::blame(&managed, &serde_json::to_value(wanted).ok()?)
}

fn drift_note(pool: &WorkerPool, blame: Option<&str>) -> String {
    let what = blame.map_or_else(String::new, |blame| format!(" ({blame})"));
    format!(
        "somebody else changed the Deployment {}{what}; put back what the pool says. Change spec.template of the WorkerPool instead",
        pool.name_any()
    )
}

/// Builds the Deployment that a pool of its own pods should have, unless nothing changed that goes into it.
pub(crate) fn refresh_wanted(pool: &WorkerPool, ctx: &Context, state: &mut PoolState, observed: &Observed) {
    if pool.spec.scale_target_ref.is_some() {
        return;
    }
    let source = &observed.source;
    let request = request_hash(pool);
    let found = observed.deployment.as_deref();
    let up_to_date = state.wanted.take().filter(|wanted| {
        wanted.request == request
            && wanted.server == source.server
            && selects_as(&wanted.deployment, pool, found)
    });
    let build = || {
        let inputs = Inputs {
            image: &ctx.worker_image,
            resources: &ctx.worker_resources,
            server: &source.server,
            queues: &source.own().cloned().collect::<Vec<_>>(),
            selector: found.map(|found| &found.spec.selector),
        };
        let deployment = build_deployment(pool, inputs);
        Box::new(Wanted {
            request,
            server: source.server.clone(),
            template: template_hash(&deployment),
            deployment,
        })
    };
    state.wanted = Some(up_to_date.unwrap_or_else(build));
}

/// Something whose count may change.
struct Scaling<'a> {
    pool: &'a WorkerPool,
    pool_ref: &'a PoolRef,
    ctx: &'a Context,
    deployment: &'a Workload,
    observed: &'a Observed,
}

impl Applied {
    /// Nothing, for somebody wrote in between.
    fn later() -> Self {
        Self {
            again: Some(CONFLICT_RETRY),
            ..Self::default()
        }
    }
}

impl Scaling<'_> {
    async fn apply_count(&self, state: &mut PoolState, decision: &Decision) -> Result<Applied, Error> {
        let falls = decision.desired < self.observed.current;
        let left = state.patience.left(falls, self.drain_timeout(), Instant::now());
        let blind = self.observed.view.failures > 0;
        if left.is_some_and(|left| left.is_zero()) && !blind {
            return self.cut(state, decision.desired).await;
        }
        let applied = self.spare_busy(state, decision).await?;
        Ok(Applied {
            again: applied.again.into_iter().chain(left).min(),
            ..applied
        })
    }

    fn drain_timeout(&self) -> Option<Duration> {
        let seconds = self.pool.spec.scaling.behavior.scale_down.drain_timeout_seconds?;
        Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }

    /// Lowers the count though workers are busy.
    async fn cut(&self, state: &mut PoolState, count: u32) -> Result<Applied, Error> {
        let applied = self.write_lower(state, count).await?;
        if applied.scaled_to.is_some() {
            let note = format!(
                "to {count} replicas though more were busy after drainTimeoutSeconds: their jobs end within their pods' grace time or go back to the queue",
            );
            let event = Event::warning("DrainTimeout", "Scale", note);
            self.ctx.events.send(self.pool, &mut state.budget, event);
        }
        Ok(applied)
    }

    async fn spare_busy(&self, state: &mut PoolState, decision: &Decision) -> Result<Applied, Error> {
        let current = self.observed.current;
        // Workers of another system's queues alone cannot be asked.
        let asks = self.observed.source.own().next().is_some();
        let kind = self.observed.place.kind().filter(|_| asks);
        let order = kind.map(|kind| (kind, Order::of(kind, self.deployment)));
        // A roll-out may be stuck forever. All pods go or none, so all are let become idle.
        let empties =
            kind == Some(Kind::Deployment) && self.deployment.is_rolling_out() && decision.desired == 0;
        // Where only certain pods can go, they are let become idle; elsewhere those that are, go.
        let mark = match order {
            Some((_, Order::Ordinals { .. })) => Mark::Drain,
            Some(_) if empties || self.pool.spec.worker.concurrency > 1 => Mark::Drain,
            _ => Mark::Quiet,
        };
        let blind = self.observed.view.failures > 0;
        // Busy pods that are drained may go down to what is desired; others only as far as some are idle.
        let to = if mark == Mark::Drain && !blind {
            decision.desired.min(decision.replicas)
        } else {
            decision.replicas
        };
        match to.cmp(&current) {
            Ordering::Less if blind => {
                // Decided without the queue: nobody can be asked.
                self.write(state, decision.replicas, None).await
            }
            Ordering::Less => match order {
                Some(chosen) => self.lower(state, to, chosen, mark).await,
                // Nobody knows which of its pods would go, or which are busy: never below as many as are, at least.
                None => self.write_if_unchanged(state, decision.replicas).await,
            },
            Ordering::Greater => {
                // First the count, which somebody waits for.
                let applied = self.raise(state, to).await?;
                self.abandon(state).await?;
                Ok(applied)
            }
            Ordering::Equal => {
                self.abandon(state).await?;
                let Some(chosen) = order else {
                    return Ok(Applied::default());
                };
                let target = self.lowering(state, to, chosen, mark);
                Ok(Applied {
                    again: state.scale_down.recall(target, Instant::now()).await?,
                    ..Applied::default()
                })
            }
        }
    }

    fn lowering(&self, state: &PoolState, to: u32, (kind, order): (Kind, Order), mark: Mark) -> Target<'_> {
        Target {
            client: &self.ctx.client,
            queues: &self.ctx.queues,
            pool: self.pool_ref,
            kind,
            workload: self.deployment,
            epoch: state.epoch.unwrap_or_default(),
            order,
            current: self.observed.current,
            to,
            mark,
        }
    }

    /// Writes a lower count, unless somebody wrote since it was decided. Where it was written, or may have been, the pods that go
    /// keep their marks until they have ended. Where it certainly was not, they work on.
    async fn write_lower(&self, state: &mut PoolState, count: u32) -> Result<Applied, Error> {
        let result = self.write_if_unchanged(state, count).await;
        match &result {
            // 409 Conflict: the next step checks again whether the marked pods may go.
            Ok(applied) if applied.scaled_to.is_none() => {}
            Err(error) if !error.may_have_been_applied() => {
                if let Err(error) = self.abandon(state).await {
                    // Tried again with the next step.
                    tracing::debug!(pool = %self.pool_ref, %error, "deletion costs remain for now");
                }
            }
            _ => state.scale_down.done(&self.ctx.queues, self.pool_ref, count),
        }
        result
    }

    async fn lower(
        &self,
        state: &mut PoolState,
        to: u32,
        chosen: (Kind, Order),
        mark: Mark,
    ) -> Result<Applied, Error> {
        let target = self.lowering(state, to, chosen, mark);
        match state
            .scale_down
            .step(target, &self.observed.view, Instant::now())
            .await?
        {
            Progress::Lower(count) => self.write_lower(state, count).await,
            Progress::Waiting(again) => Ok(Applied {
                again: Some(again),
                ..Applied::default()
            }),
            Progress::HeldBack(why, again) => Ok(Applied {
                held_back: Some(why),
                again: Some(again),
                ..Applied::default()
            }),
        }
    }

    /// Raises the count if it still is what it was. Others write to a Deployment whose pods come up all the time, but only
    /// its count matters here.
    async fn raise(&self, state: &mut PoolState, count: u32) -> Result<Applied, Error> {
        let (targets, name) = self.target()?;
        let mut version = version_known(state, self.deployment);
        for _ in 0..RAISES {
            match self.write(state, count, version).await {
                Err(error) if error.is_conflict() => {}
                applied => return applied,
            }
            let scale = error::call("read the replica count", targets.get_scale(&name)).await?;
            let found = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
            if u32::try_from(found) != Ok(self.observed.current) {
                break;
            }
            version = scale.metadata.resource_version;
        }
        state.scale = None;
        Ok(Applied::later())
    }

    async fn abandon(&self, state: &mut PoolState) -> Result<(), Error> {
        state
            .scale_down
            .abandon(
                &self.ctx.client,
                &self.ctx.queues,
                self.pool_ref,
                &self.observed.view,
            )
            .await
    }

    /// Writes the count, unless somebody wrote since it was decided.
    async fn write_if_unchanged(&self, state: &mut PoolState, count: u32) -> Result<Applied, Error> {
        let version = version_known(state, self.deployment);
        match self.write(state, count, version).await {
            Err(error) if error.is_conflict() => {
                state.scale = None;
                Ok(Applied::later())
            }
            applied => applied,
        }
    }

    fn target(&self) -> Result<(Api<DynamicObject>, String), Error> {
        let namespace = namespace(self.pool)?;
        let targets = self.observed.place.api(self.ctx.client.clone(), &namespace);
        Ok((targets, TargetKey::of(self.pool).name))
    }

    /// Of a kind that is not ours by default, how the right is given.
    fn forbidden(&self, error: Error) -> Error {
        match &self.observed.place {
            Place::Watched(_) => error,
            Place::Scale(resource) => Error::Forbidden(Box::new(Refusal::forbidden(resource))),
        }
    }

    /// Writes the count through /scale; with a version, only if nobody wrote since.
    async fn write(
        &self,
        state: &mut PoolState,
        count: u32,
        version: Option<String>,
    ) -> Result<Applied, Error> {
        let (targets, name) = self.target()?;
        // Without a version another write may have come first, and this one may change nothing.
        let changes = version.is_some() && count != self.observed.current;
        let patch = Patch::Merge(match version {
            Some(version) => json!({"metadata": {"resourceVersion": version}, "spec": {"replicas": count}}),
            None => json!({"spec": {"replicas": count}}),
        });
        let params = PatchParams {
            field_manager: Some(SCALE_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let request = targets.patch_scale(&name, &params, &patch);
        let answer = match error::call("write the replica count", request).await {
            Err(error) if error.is_forbidden() => return Err(self.forbidden(error)),
            answer => answer?,
        };
        if changes {
            state.drift.scaled();
        }
        state.scale = None;
        let applied = state.written.take().and_then(|written| written.applied);
        state.written = answer.metadata.resource_version.map(|version| Written {
            replicas: count,
            version,
            applied,
        });
        Ok(Applied {
            scaled_to: Some(count),
            ..Applied::default()
        })
    }
}

/// The latest version that we know of: the watch lags behind our own writes.
fn version_known(state: &PoolState, deployment: &Workload) -> Option<String> {
    match &state.written {
        Some(written) => Some(written.version.clone()),
        None => deployment.resource_version(),
    }
}

/// The hash of the Deployment that was applied last: the watch lags behind our own writes.
fn last_applied(state: &PoolState, found: Option<&Workload>) -> Option<String> {
    let found = found?;
    let written = state.written.as_ref();
    let written = written.and_then(|written| written.applied.as_deref());
    written.or_else(|| applied_hash(found)).map(str::to_owned)
}

fn namespace(pool: &WorkerPool) -> Result<String, Error> {
    pool.namespace().ok_or(Error::Incomplete("namespace"))
}

fn to_i32(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
