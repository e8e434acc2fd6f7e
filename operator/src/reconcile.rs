//! One pool, once: observe → decide → apply → report.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crds::{WorkerPool, status::WorkerPoolStatus};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Resource, ResourceExt,
    api::{PartialObjectMeta, Patch, PatchParams},
    runtime::controller::Action,
};
use scaling::{Decision, History, Observation, Reason, Startup};
use serde_json::json;
use telemetry::Panicked;

use crate::{
    PoolRef,
    apply::{Applied, CONFLICT_RETRY, apply, refresh_wanted},
    bounds::{InForce, Schedules},
    context::{Context, PoolState},
    demand::{Demand, demand},
    deployment::{applied_hash, check_listener},
    error::{self, Error},
    events::{self, Event},
    metrics::PoolGauges,
    observe::{Observed, SECRETS_USABLE, observe},
    pods::{self, Trouble, is_rolled_out_and_ready},
    policy::policy,
    refusal::Refusal,
    restore, source,
    status::{Findings, build_status, differs_in_depth_only, pods_not_ready, with_panic},
    targets::{self, Kind, TargetKey},
};

/// As the metric of panics names it.
const PANIC_PLACE: &str = "reconcile";
/// Who writes the status.
const STATUS_MANAGER: &str = "workerpool-operator/status";
/// A pool that is not served is looked at again after so long; most causes end with a change that wakes it sooner.
const REFUSED_RETRY: Duration = Duration::from_secs(30);
/// The depth of the queue is written no more often than this.
const DEPTH_APART: Duration = Duration::from_secs(5);
/// After a count the status waits so long: jobs often come in bursts, and the next count must not wait for the status of
/// the last one. By then most of what follows from the count is seen too, and one write tells it all.
const AFTER_SCALING: Duration = Duration::from_millis(100);

/// Reconciles a pool. Never waits for Redis: it takes what was last read. A panic is an error of this pool alone.
///
/// # Errors
/// What the API server answers; the pool is tried again after its backoff.
pub async fn reconcile(pool: Arc<WorkerPool>, ctx: Arc<Context>) -> Result<Action, Error> {
    let once = reconcile_once(Arc::clone(&pool), Arc::clone(&ctx));
    match telemetry::catch_panic(PANIC_PLACE, once).await {
        Ok(result) => result,
        Err(panicked) => {
            // The panic may have left the state half updated, and a count must not be lowered by that.
            ctx.memories.reset(&pool).await;
            let reported = report_panic(&pool, &ctx, &panicked);
            if let Ok(Err(error)) = telemetry::catch_panic(PANIC_PLACE, reported).await {
                tracing::warn!(pool = %PoolRef::from_obj(&*pool), %error, "cannot report the panic");
            }
            Err(panicked.into())
        }
    }
}

/// Reports in the pool's status that reconciling it panicked. All other fields keep their last values.
async fn report_panic(pool: &WorkerPool, ctx: &Context, panicked: &Panicked) -> Result<(), Error> {
    let Some(epoch) = ctx.leadership.epoch() else {
        return Ok(());
    };
    let state = ctx.memories.of(pool);
    let mut state = state.lock().await;
    state.begin_term(epoch, pool);
    let last = state.status.clone().unwrap_or_default();
    let message = Error::from(panicked.clone()).to_string();
    let new = with_panic(pool, &last, &message, Timestamp::now());
    if new != last {
        write_status(pool, ctx, &mut state, &last, new).await?;
    }
    Ok(())
}

async fn reconcile_once(pool: Arc<WorkerPool>, ctx: Arc<Context>) -> Result<Action, Error> {
    let started = Instant::now();
    let pool_ref = PoolRef::from_obj(&*pool);
    ctx.listed().await?;
    if let Some(wait) = ctx.memories.backoff(&pool, started) {
        return Ok(Action::requeue(wait));
    }
    let state = ctx.memories.of(&pool);
    let mut state = state.lock().await;
    let Some(epoch) = ctx.leadership.epoch() else {
        return stand_by(&pool, &pool_ref, &ctx, &mut state).await;
    };
    state.begin_term(epoch, &pool);
    if pool.metadata.deletion_timestamp.is_some() {
        return restore::give_back(&pool, &pool_ref, &ctx, &mut state).await;
    }
    let result = serve(&pool, &pool_ref, &ctx, &mut state).await;
    ctx.metrics.reconciled(started.elapsed());
    if result.is_ok() {
        ctx.memories.succeeded(&pool_ref);
    }
    result
}

/// After an error: try again, at growing intervals.
#[must_use]
pub fn on_error(pool: &WorkerPool, error: &Error, ctx: &Context) -> Action {
    if matches!(error, Error::NotLeading { .. }) {
        // The next term wakes every pool.
        return Action::await_change();
    }
    ctx.metrics.failed(error.kind());
    Action::requeue(ctx.memories.failed(pool, Instant::now()))
}

/// Follows the queue, so as to know it when this operator leads; no more.
async fn stand_by(
    pool: &WorkerPool,
    pool_ref: &PoolRef,
    ctx: &Context,
    state: &mut PoolState,
) -> Result<Action, Error> {
    ctx.metrics.forget(pool_ref);
    // What stands in the way of serving it, whoever leads tells.
    let _ = observe(pool, pool_ref, ctx, state).await?;
    Ok(source::needs_secrets(pool)
        .then_some(SECRETS_USABLE)
        .map_or_else(Action::await_change, Action::requeue))
}

async fn serve(
    pool: &WorkerPool,
    pool_ref: &PoolRef,
    ctx: &Context,
    state: &mut PoolState,
) -> Result<Action, Error> {
    let now = Instant::now();
    let observed = match observe(pool, pool_ref, ctx, state).await? {
        Ok(observed) => observed,
        Err(refusal) => return refuse(pool, pool_ref, ctx, state, &refusal).await,
    };
    if let Err(refusal) = check_listener(pool, &ctx.worker_image) {
        return refuse(pool, pool_ref, ctx, state, &refusal).await;
    }
    let wall_clock = Timestamp::now();
    let bounds = match bounds(pool, state, wall_clock) {
        Ok(bounds) => bounds,
        Err(refusal) => return refuse(pool, pool_ref, ctx, state, &refusal).await,
    };
    if !restore::note(pool, ctx, state, &observed).await? {
        return Ok(Action::requeue(CONFLICT_RETRY));
    }
    refresh_wanted(pool, ctx, state, &observed);
    let demand = demand(&pool.spec, &observed.view, state.starts.seconds());
    let decision = decide(pool, state, &observed, &demand, &bounds, now);
    ctx.metrics.decided(decision.reason);

    let result = apply(pool, pool_ref, ctx, state, &observed, &decision).await;
    let applied = result.as_ref().ok();
    if let Some(count) = applied.and_then(|applied| applied.scaled_to) {
        let decided_by = demand.decided_by;
        scaled(pool, ctx, state, &observed, &decision, decided_by, count);
    }
    let again = look_again(&decision, &bounds, now, wall_clock);
    let poll = targets::look_again(&observed.place);
    let kind = observed.place.kind();
    let pods = pods::follow(pool, ctx, state, kind.zip(observed.deployment.as_ref()));
    let pods = if observe_template(state, &observed) {
        Some(Duration::ZERO)
    } else {
        pods
    };
    if observed.view.is_unread()
        && let Ok(applied) = &result
    {
        // The first reading, or its failure, comes at once and wakes the pool. Until then the status that is there says more:
        // an operator that starts again would else write two for each pool.
        return Ok(next(pool, [again, poll, pods, observed.again], applied, None));
    }
    let proven_template = state.proof.proven().map(str::to_owned);
    let findings = Findings {
        error: result.as_ref().err(),
        view: Some(&observed.view),
        deployment: observed.deployment.as_deref(),
        decision: Some((&decision, &bounds)),
        decided_by: demand.decided_by,
        next_look: again.and_then(|after| wall_clock.checked_add(SignedDuration::try_from(after).ok()?).ok()),
        held_back: applied.and_then(|applied| applied.held_back.as_ref()),
        deployment_generation: state.drift.generation(),
        proven_template: proven_template.as_deref(),
        scaled_at: state.scaled.map(|(at, _)| at),
        ..Findings::default()
    };
    let reported = report(pool, pool_ref, ctx, state, kind, &findings).await;
    let applied = result?;
    Ok(next(
        pool,
        [again, poll, pods, observed.again],
        &applied,
        reported?,
    ))
}

/// The bounds in force. The schedules are read anew when the spec changes.
fn bounds(pool: &WorkerPool, state: &mut PoolState, now: Timestamp) -> Result<InForce, Refusal> {
    let (spec, generation) = (&pool.spec.scaling, pool.metadata.generation);
    let known = state.schedules.take().filter(|(of, _)| *of == generation);
    let schedules = match known {
        Some((_, schedules)) => schedules,
        None => Schedules::parse(spec, now)?,
    };
    let bounds = schedules.in_force(spec, now);
    state.schedules = Some((generation, schedules));
    Ok(bounds)
}

/// How long until the law could decide otherwise though nothing changes.
fn look_again(
    decision: &Decision,
    bounds: &InForce,
    now: Instant,
    wall_clock: Timestamp,
) -> Option<Duration> {
    let window = decision.not_before.map(|at| at.saturating_duration_since(now));
    let schedule = bounds.holds_for(wall_clock);
    window.into_iter().chain(schedule).min()
}

/// Asks the law, and keeps what it recommends.
fn decide(
    pool: &WorkerPool,
    state: &mut PoolState,
    observed: &Observed,
    demand: &Demand<'_>,
    bounds: &InForce,
    now: Instant,
) -> Decision {
    let policy = policy(&pool.spec, bounds);
    if let Some(deployment) = &observed.deployment {
        let ready = u32::try_from(deployment.status.ready_replicas).unwrap_or(0);
        state.starts.ready(ready, now);
    }
    let observation = Observation {
        current: observed.current,
        age: age(pool),
        queue: demand.queue,
        startup: startup(state, observed),
    };
    let run_id = observed.view.reading.as_ref().map(|reading| &reading.run_id);
    if run_id.is_some() && state.run_id.as_ref() != run_id {
        // A server that was restarted may have lost its data: the window starts anew, as after a restart of our own.
        state.run_id = run_id.cloned();
        state.history = None;
    }
    let history = state
        .history
        .get_or_insert_with(|| History::starting_at(observed.current));
    let decision = scaling::decide(&policy, &observation, history, now);
    history.record(&decision, now);
    state.replicas = Some(decision.replicas);
    decision
}

/// Whether pods of the present template can start. What somebody else makes is not limited.
fn startup(state: &PoolState, observed: &Observed) -> Startup {
    let (Some(wanted), Some(found)) = (&state.wanted, &observed.deployment) else {
        return Startup::Possible;
    };
    let ready = found.status.ready_replicas;
    state.proof.startup(&wanted.template, observed.current, ready)
}

/// Takes in whether the present template works; answers whether the next decision may differ for it.
fn observe_template(state: &mut PoolState, observed: &Observed) -> bool {
    let (Some(wanted), Some(found)) = (&state.wanted, &observed.deployment) else {
        return false;
    };
    let seen = state.pods.template(applied_hash(&wanted.deployment));
    let is_ready =
        is_rolled_out_and_ready(found, &wanted.deployment) || seen.is_some_and(|seen| seen.is_ready);
    let cannot_start = seen.is_some_and(|seen| seen.cannot_start);
    state.proof.observe(&wanted.template, is_ready, cannot_start)
}

/// Since the pool was created, by our clock.
fn age(pool: &WorkerPool) -> Duration {
    let created = pool.metadata.creation_timestamp.as_ref();
    created
        .and_then(|created| Timestamp::now().duration_since(created.0).try_into().ok())
        .unwrap_or_default()
}

/// Tells that a count was written.
fn scaled(
    pool: &WorkerPool,
    ctx: &Context,
    state: &mut PoolState,
    observed: &Observed,
    decision: &Decision,
    decided_by: Option<&str>,
    count: u32,
) {
    if let Some(changed_at) = observed.view.changed_at {
        ctx.metrics.reacted(changed_at.elapsed());
    }
    state.scaled = Some((
        Timestamp::now(),
        state.scaled.map_or_else(Instant::now, |(_, since)| since),
    ));
    let from = observed.deployment.as_ref().map_or(0, |_| observed.current);
    if from == count {
        return;
    }
    state.starts.asked(from, count, Instant::now());
    if let Some(history) = &mut state.history {
        history.scaled(from, count, Instant::now());
    }
    let note = scaling_note(from, count, observed, decision, decided_by);
    let reason = if count > from { "ScaledUp" } else { "ScaledDown" };
    tracing::info!(pool = %PoolRef::from_obj(pool), from, to = count, reason = %decision.reason, "scaled");
    ctx.events
        .send(pool, &mut state.budget, Event::normal(reason, "Scale", note));
}

/// The rule that decided comes first, as status and metrics name it; then what it was decided from.
fn scaling_note(
    from: u32,
    to: u32,
    observed: &Observed,
    decision: &Decision,
    decided_by: Option<&str>,
) -> String {
    let by = decided_by.map_or_else(String::new, |queue| format!(" by the queue {queue}"));
    let asked = decision.raw.filter(|raw| *raw != u64::from(to));
    let asked = asked.map_or_else(String::new, |raw| format!(", demand asks for {raw}"));
    let seen = match &observed.view.reading {
        Some(reading) => format!(" ({} waiting, {} running)", reading.ready(), reading.running),
        None if decision.reason == Reason::NotReadYet => {
            " (the queue has not been read yet; a new pool begins with minReplicas)".to_owned()
        }
        None => String::new(),
    };
    format!(
        "from {from} to {to} replicas: {}{by}{asked}{seen}",
        decision.reason
    )
}

async fn refuse(
    pool: &WorkerPool,
    pool_ref: &PoolRef,
    ctx: &Context,
    state: &mut PoolState,
    refusal: &Refusal,
) -> Result<Action, Error> {
    let view = ctx.queues.view(pool_ref);
    state
        .scale_down
        .abandon(&ctx.client, &ctx.queues, pool_ref, &view)
        .await?;
    // Its pods run on.
    let kind = TargetKey::of(pool).watched_kind();
    let workload = targets::known(pool, ctx);
    let pods = pods::follow(pool, ctx, state, kind.zip(workload.as_ref()));
    let findings = Findings {
        refusal: Some(refusal),
        view: Some(&view),
        deployment: workload.as_deref(),
        ..Findings::default()
    };
    let status = report(pool, pool_ref, ctx, state, kind, &findings).await?;
    let again = status.unwrap_or(REFUSED_RETRY);
    Ok(Action::requeue(pods.map_or(again, |pods| pods.min(again))))
}

/// Writes the status if it changed, and tells what did. Answers when to write what is held back for a while.
async fn report(
    pool: &WorkerPool,
    pool_ref: &PoolRef,
    ctx: &Context,
    state: &mut PoolState,
    kind: Option<Kind>,
    findings: &Findings<'_>,
) -> Result<Option<Duration>, Error> {
    let last = state.status.clone().unwrap_or_default();
    let findings = Findings {
        readiness: kind.map(|_| state.pods.readiness(Instant::now())),
        ..*findings
    };
    let new = build_status(pool, &findings, &last, Timestamp::now());
    let not_ready = pods_not_ready(&findings, &new);
    ctx.metrics.show(pool_ref, gauges(&new, not_ready));
    if new == last && !is_overwritten(pool, state) {
        return Ok(None);
    }
    if let Some(wait) = held_back(state, &last, &new) {
        return Ok(Some(wait));
    }
    write_status(pool, ctx, state, &last, new).await
}

/// How long the status waits for what else will change.
fn held_back(state: &PoolState, last: &WorkerPoolStatus, new: &WorkerPoolStatus) -> Option<Duration> {
    let since = match state.scaled {
        Some((_, at)) => Some((at, AFTER_SCALING)),
        None => state
            .depth_written
            .filter(|_| differs_in_depth_only(last, new))
            .map(|at| (at, DEPTH_APART)),
    };
    since.and_then(|(at, apart)| apart.checked_sub(at.elapsed()))
}

/// Writes the status, and then publishes events about what changed. Events before the write would be repeated with each try that fails.
async fn write_status(
    pool: &WorkerPool,
    ctx: &Context,
    state: &mut PoolState,
    last: &WorkerPoolStatus,
    new: WorkerPoolStatus,
) -> Result<Option<Duration>, Error> {
    let namespace = pool.namespace().ok_or(Error::Incomplete("namespace"))?;
    // The answer is not looked at: its metadata are the least that can be read of it.
    let pools: Api<PartialObjectMeta<WorkerPool>> = Api::namespaced(ctx.client.clone(), &namespace);
    let patch = Patch::Apply(json!({
        "apiVersion": WorkerPool::api_version(&()),
        "kind": WorkerPool::kind(&()),
        // Only if nobody wrote since: what arrives late of an operator that led before must not undo what the next one says.
        "metadata": version_known(pool, state).map_or(json!({}), |version| json!({"resourceVersion": version})),
        "status": new,
    }));
    let params = PatchParams::apply(STATUS_MANAGER).force();
    let name = pool.name_any();
    match error::call("write the status", pools.patch_status(&name, &params, &patch)).await {
        Ok(written) => {
            state.reported = written.resource_version();
            for event in events::between(last, &new) {
                ctx.events.send(pool, &mut state.budget, event);
            }
        }
        // The watch shows soon what somebody wrote.
        Err(error) if error.is_conflict() => return Ok(Some(CONFLICT_RETRY)),
        // The pool is gone, and its status with it.
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error),
    }
    state.status = Some(new);
    state.depth_written = Some(Instant::now());
    state.scaled = None;
    Ok(None)
}

/// Whether the pool's status is not what was written last: somebody else's, such as what arrived late of an operator that led before.
#[must_use]
pub fn is_overwritten(pool: &WorkerPool, state: &PoolState) -> bool {
    let number = |version: Option<&String>| version?.parse::<u64>().ok();
    let Some(seen) = number(pool.metadata.resource_version.as_ref()) else {
        return false;
    };
    // The watch lags behind our own writes.
    if number(state.reported.as_ref()).is_some_and(|reported| seen <= reported) {
        return false;
    }
    // As the API server keeps it: times without their fractions.
    let kept =
        |status: Option<&WorkerPoolStatus>| status.and_then(|status| serde_json::to_value(status).ok());
    state.status.is_some() && kept(state.status.as_ref()) != kept(pool.status.as_ref())
}

/// The latest version of the pool that is known: the watch lags behind our own writes. `None` if the API server numbers them
/// so that nobody can tell which is later.
fn version_known(pool: &WorkerPool, state: &PoolState) -> Option<String> {
    let number = |version: &String| version.parse::<u64>().ok();
    let seen = pool.metadata.resource_version.as_ref().and_then(number)?;
    let reported = state.reported.as_ref().and_then(number).unwrap_or(0);
    Some(seen.max(reported).to_string())
}

fn gauges(status: &WorkerPoolStatus, not_ready: Option<(Trouble, u32)>) -> PoolGauges {
    let queue = status.queue.clone().unwrap_or_default();
    PoolGauges {
        desired: status.desired_replicas.map(i64::from),
        ready: status.ready_replicas.unwrap_or(0).into(),
        waiting: queue.waiting,
        running: queue.running,
        delayed: queue.delayed,
        dead: queue.dead,
        mode: status.mode,
        disabled: status.decision.as_ref().and_then(|decision| decision.disabled),
        not_ready,
    }
}

/// When to look again though nothing is seen to change.
fn next(
    pool: &WorkerPool,
    others: [Option<Duration>; 4],
    applied: &Applied,
    status: Option<Duration>,
) -> Action {
    let secrets = source::needs_secrets(pool).then_some(SECRETS_USABLE);
    others
        .into_iter()
        .chain([applied.again, status, secrets])
        .flatten()
        .min()
        .map_or_else(Action::await_change, Action::requeue)
}
