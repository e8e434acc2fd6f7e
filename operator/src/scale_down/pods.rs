//! The pods of a workload, and their deletion costs.
//!
//! A pod that bears a cost of ours bears the label [`LEAVING`] too, with the term of leadership in which it was set: what a
//! term left behind is found by it, and never taken for what the present one sets.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::order::{self, DELETION_COST, Order};
use crate::{
    PoolRef,
    error::{self, Error},
    objects::{Pod, ReplicaSet, is_controlled_by},
    targets::{Kind, Workload},
};

/// Lower than anybody would choose for a pod of their own.
const LEAVING_COST: &str = "-1000000";
/// On pods whose cost is ours.
pub(crate) const LEAVING: &str = "workerpool.dev/leaving";
/// Its value on all others, if the template has it.
pub(crate) const STAYING: &str = "false";
/// Who writes to pods.
const FIELD_MANAGER: &str = "workerpool-operator/pods";
/// Pods that are written to at once.
const WRITES_AT_ONCE: usize = 8;
/// Pods that somebody else wrote to meanwhile are listed anew, so often.
const LEFTOVERS_TRIES: usize = 5;
/// Where the API server goes on refusing it, it is tried again this often.
const LEFTOVERS_LAST_RETRY: Duration = Duration::from_secs(300);

/// The pods of a workload.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Those that are active, in the order of their deletion.
    pub pods: Vec<Pod>,
    /// Of a Deployment: theirs, where it is the only one.
    set: Option<ReplicaSet>,
    /// In the middle of a Deployment's roll-out: its ReplicaSets should have so many pods, all together.
    pub rolling_out: Option<u32>,
}

impl Found {
    /// Whether the ReplicaSet controller is known to have seen all costs. Its watch tells it of pods in the order of their
    /// changes, and it counts those that bear the labels of the template: once that count lacks the leaving ones, it has seen
    /// their costs, which came by the same writes. Where the template lacks the label, as in a Deployment that is not ours, nothing
    /// is known.
    pub(super) fn costs_seen(&self) -> Option<bool> {
        let set = self.set.as_ref()?;
        let labels = set.spec.template.metadata.labels.as_ref()?;
        if labels.get(LEAVING).map(String::as_str) != Some(STAYING) {
            return None;
        }
        let (all, leaving) = (
            self.pods.len(),
            self.pods.iter().filter(|pod| is_leaving(pod)).count(),
        );
        let count = |pods: usize| i32::try_from(pods).unwrap_or(i32::MAX);
        Some(
            set.status.observed_generation >= set.metadata.generation.unwrap_or(0)
                && set.status.replicas == count(all)
                && set.status.fully_labeled_replicas == count(all - leaving),
        )
    }
}

/// Whether a pod bears a cost of ours.
pub(super) fn is_leaving(pod: &Pod) -> bool {
    pod.labels().get(LEAVING).is_some_and(|term| term != STAYING)
}

/// The active pods of a workload, of a Deployment those of all its ReplicaSets that should have some. By their owners: other pods
/// may bear the same labels. `None` while its controller has not seen the last change: it may be about to make or delete some.
pub(super) async fn of(
    client: &Client,
    kind: Kind,
    workload: &Workload,
    order: Order,
) -> Result<Option<Found>, Error> {
    if workload.status.observed_generation < workload.metadata.generation {
        return Ok(None);
    }
    let namespace = workload.namespace().ok_or(Error::Incomplete("namespace"))?;
    let labelled = ListParams::default().labels(&workload.selector());
    let mut sets = match kind {
        Kind::Deployment => revisions(client, &namespace, &labelled, workload).await?,
        Kind::ReplicaSet | Kind::StatefulSet => Vec::new(),
    };
    let owners: Vec<_> = match kind {
        Kind::Deployment => sets.iter().filter_map(ResourceExt::uid).collect(),
        Kind::ReplicaSet | Kind::StatefulSet => workload.uid().into_iter().collect(),
    };
    if owners.is_empty() {
        return Ok(Some(Found::default()));
    }
    let rolling_out = (sets.len() > 1).then(|| wanted(&sets));
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let mut pods = error::call("list pods", pods.list(&labelled)).await?.items;
    pods.retain(|pod| order::is_active(pod) && owners.iter().any(|uid| is_controlled_by(pod, uid)));
    order.sort(&mut pods);
    let set = if rolling_out.is_none() { sets.pop() } else { None };
    Ok(Some(Found {
        pods,
        set,
        rolling_out,
    }))
}

/// The pods that ReplicaSets should have, all together. Absent is 1, as for the API server.
fn wanted(sets: &[ReplicaSet]) -> u32 {
    let counts = sets.iter().map(|set| set.spec.replicas.unwrap_or(1));
    counts.map(|count| u32::try_from(count).unwrap_or(0)).sum()
}

/// The ReplicaSets of a Deployment that should have pods: several in the middle of a roll-out.
async fn revisions(
    client: &Client,
    namespace: &str,
    labelled: &ListParams,
    deployment: &Workload,
) -> Result<Vec<ReplicaSet>, Error> {
    let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), namespace);
    let mut sets = error::call("list ReplicaSets", sets.list(labelled)).await?.items;
    let uid = deployment.uid().ok_or(Error::Incomplete("UID"))?;
    sets.retain(|set| set.spec.replicas != Some(0) && is_controlled_by(set, &uid));
    Ok(sets)
}

/// Lets pods go before others.
pub(super) async fn set_costs(
    client: &Client,
    pool: &PoolRef,
    epoch: u64,
    names: Vec<String>,
) -> Result<(), Error> {
    patch_all(client, pool, Some(epoch), names).await
}

/// Takes that back.
pub(super) async fn clear_costs(client: &Client, pool: &PoolRef, names: Vec<String>) -> Result<(), Error> {
    patch_all(client, pool, None, names).await
}

async fn patch_all(
    client: &Client,
    pool: &PoolRef,
    epoch: Option<u64>,
    names: Vec<String>,
) -> Result<(), Error> {
    let namespace = pool.namespace.as_deref();
    stream::iter(names)
        .map(|name| async move { patch(client, namespace, &name, epoch, None).await })
        .buffer_unordered(WRITES_AT_ONCE)
        .try_collect()
        .await
}

/// Clears the costs that terms before this one left behind, which ended in the middle of a scale-down: `after` so long, and then
/// until it is done, twice as late each time.
pub async fn clear_leftovers(client: Client, epoch: u64, after: Duration) {
    let mut wait = after;
    loop {
        tokio::time::sleep(wait).await;
        match clear_once(&client, epoch).await {
            Ok(pods) => {
                if pods > 0 {
                    tracing::info!(pods, "cleared deletion costs that were left behind");
                }
                return;
            }
            Err(error) => tracing::warn!(%error, "deletion costs that were left behind may remain for now"),
        }
        wait = (2 * wait).min(LEFTOVERS_LAST_RETRY);
    }
}

async fn clear_once(client: &Client, epoch: u64) -> Result<usize, Error> {
    let pods: Api<Pod> = Api::all(client.clone());
    let left = ListParams::default().labels(&format!("{LEAVING},{LEAVING} notin ({STAYING},{epoch})"));
    let mut cleared = 0;
    for _ in 0..LEFTOVERS_TRIES {
        let found = error::call("list pods", pods.list(&left)).await?.items;
        if found.is_empty() {
            break;
        }
        for pod in &found {
            // Only what was seen: by now the present term may have set a cost.
            let version = pod.resource_version();
            match patch(client, pod.namespace().as_deref(), &pod.name_any(), None, version).await {
                Err(error) if error.is_conflict() => {}
                answer => {
                    answer?;
                    cleared += 1;
                }
            }
        }
    }
    Ok(cleared)
}

/// Sets the cost in this term, or takes it away. A pod that is gone by now needs none.
async fn patch(
    client: &Client,
    namespace: Option<&str>,
    name: &str,
    epoch: Option<u64>,
    version: Option<String>,
) -> Result<(), Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace.ok_or(Error::Incomplete("namespace"))?);
    let mut patch = json!({"metadata": {
        "annotations": {DELETION_COST: epoch.map(|_| LEAVING_COST)},
        "labels": {LEAVING: epoch.map_or_else(|| STAYING.to_owned(), |epoch| epoch.to_string())},
    }});
    if let Some(version) = version {
        patch["metadata"]["resourceVersion"] = json!(version);
    }
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    match error::call(
        "set a pod's deletion cost",
        pods.patch(name, &params, &Patch::Merge(patch)),
    )
    .await
    {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
