//! Lists the ReplicaSets and pods of a workload whose pods are not ready.
//!
//! In a task of its own, so that no queue waits for it: the pool is reconciled meanwhile as always.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crds::{WorkerPool, conditions, status::WorkerPoolStatus};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client, ResourceExt, api::ListParams};
use tokio::sync::oneshot;

use super::{
    PodCounts, Report, Trouble,
    diagnosis::{Seen, diagnose},
    tracker::{Earlier, Looked, RESULT_INTERVAL, Step},
};
use crate::{
    PoolRef,
    context::{Context, PoolState},
    deployment::applied_hash,
    error::{self, Error},
    objects::{Pod, ReplicaSet, is_controlled_by},
    targets::{Kind, Workload},
};

/// The most pods of one look. A pod has 8 KB; in one Deployment, most pods that fail do so for the same reason.
const PODS_MAX: u32 = 50;

/// Takes in the counts of the pool's pods that the watch shows, and begins a look at them when it is due. Answers when to call it again.
/// `workload`: `None` if it is not there, or is known by its `/scale` alone.
pub(crate) fn follow(
    pool: &WorkerPool,
    ctx: &Context,
    state: &mut PoolState,
    workload: Option<(Kind, &Arc<Workload>)>,
) -> Option<Duration> {
    let Some((kind, workload)) = workload else {
        state.pods.reset();
        return None;
    };
    let (now, generation) = (Instant::now(), pool.metadata.generation);
    let tracker = &mut state.pods;
    let status = state.status.as_ref();
    tracker.observe(counts(workload), generation, now, || {
        earlier(status?, generation, Timestamp::now())
    });
    match tracker.step(&ctx.look_pacer, now) {
        Step::Look => {
            let result = begin(pool, ctx, kind, Arc::clone(workload), tracker.next_page());
            tracker.begun(result);
            Some(RESULT_INTERVAL)
        }
        Step::Wait(wait) => Some(wait),
        Step::Rest => None,
    }
}

/// Begins a look, and answers the channel of its result.
fn begin(
    pool: &WorkerPool,
    ctx: &Context,
    kind: Kind,
    workload: Arc<Workload>,
    page: Option<String>,
) -> oneshot::Receiver<Looked> {
    let (sender, result) = oneshot::channel();
    let (client, metrics) = (ctx.client.clone(), Arc::clone(&ctx.metrics));
    let pool = PoolRef::from_obj(pool);
    tokio::spawn(async move {
        let looked = look(&client, kind, &workload, page).await;
        let looked = looked.inspect_err(|error| {
            metrics.failed(error.kind());
            tracing::warn!(%pool, %error, "cannot find out why pods are not ready");
        });
        // The receiver is gone where the pods became ready meanwhile.
        let _ = sender.send(looked.ok());
    });
    result
}

fn counts(workload: &Workload) -> PodCounts {
    PodCounts {
        asked: workload.replicas(),
        ready: u32::try_from(workload.status.ready_replicas).unwrap_or(0),
    }
}

/// The statement of a status about the pods of this generation.
fn earlier(status: &WorkerPoolStatus, generation: Option<i64>, now: Timestamp) -> Option<Earlier> {
    let mut conditions = status.conditions.iter();
    let said = conditions.find(|condition| condition.type_ == conditions::PODS_READY)?;
    if said.observed_generation != generation || said.status == "True" {
        return None;
    }
    let lasted = now.duration_since(said.last_transition_time.0);
    Some(Earlier {
        trouble: Trouble::of_reason(&said.reason).filter(|_| said.status == "False"),
        lasted: lasted.try_into().unwrap_or_default(),
    })
}

/// One list of the ReplicaSets, where the workload has some, and one page of the pods.
async fn look(
    client: &Client,
    kind: Kind,
    workload: &Workload,
    page: Option<String>,
) -> Result<(Report, Option<String>), Error> {
    let namespace = workload.namespace().ok_or(Error::Incomplete("namespace"))?;
    let labelled = ListParams::default().labels(&workload.selector());
    let sets = sets(client, &namespace, &labelled, kind, workload).await?;
    let goes_on = page.is_some();
    let page = ListParams {
        continue_token: page,
        ..labelled.limit(PODS_MAX)
    };
    let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let mut pods = error::call("list pods", api.list(&page)).await?;
    let owners: Vec<_> = match kind {
        Kind::Deployment => sets.iter().filter_map(ResourceExt::uid).collect(),
        Kind::StatefulSet | Kind::ReplicaSet => workload.uid().into_iter().collect(),
    };
    pods.items
        .retain(|pod| owners.iter().any(|uid| is_controlled_by(pod, uid)));
    // An empty token is that of the last page.
    let next_page = pods.metadata.continue_.filter(|token| !token.is_empty());
    let report = diagnose(&Seen {
        kind,
        name: &workload.name_any(),
        applied: applied_hash(workload)
            .filter(|_| workload.status.observed_generation >= workload.metadata.generation),
        asked: workload.replicas(),
        sets: &sets,
        pods: &pods.items,
        is_partial: goes_on || next_page.is_some(),
        now: Timestamp::now(),
    });
    Ok((report, next_page))
}

/// A Deployment's ReplicaSets, or the ReplicaSet itself.
async fn sets(
    client: &Client,
    namespace: &str,
    labelled: &ListParams,
    kind: Kind,
    workload: &Workload,
) -> Result<Vec<ReplicaSet>, Error> {
    let api: Api<ReplicaSet> = Api::namespaced(client.clone(), namespace);
    let uid = workload.uid().ok_or(Error::Incomplete("UID"))?;
    match kind {
        Kind::Deployment => {
            let mut sets = error::call("list ReplicaSets", api.list(labelled)).await?.items;
            sets.retain(|set| is_controlled_by(set, &uid));
            Ok(sets)
        }
        Kind::ReplicaSet => {
            // The operator may list ReplicaSets, not get one.
            let named = ListParams::default().fields(&format!("metadata.name={}", workload.name_any()));
            let mut sets = error::call("list ReplicaSets", api.list(&named)).await?.items;
            sets.retain(|set| set.uid().as_ref() == Some(&uid));
            Ok(sets)
        }
        Kind::StatefulSet => Ok(Vec::new()),
    }
}
