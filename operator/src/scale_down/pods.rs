//! The pods of a workload, and their deletion costs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::order::{self, DELETION_COST, Order};
use crate::{
    PoolRef,
    error::{self, Error},
    objects::{Pod, ReplicaSet},
    targets::{Kind, Workload},
};

/// Lower than anybody would choose for a pod of their own.
const LEAVING_COST: &str = "-1000000";
/// On pods whose cost is ours, by which they are found after a restart.
const LEAVING: &str = "workerpool.dev/leaving";
/// Who writes to pods.
const FIELD_MANAGER: &str = "workerpool-operator/pods";

/// The active pods of a workload, in the order of their deletion; `None` in the middle of a roll-out. By their owners:
/// other pods may bear the same labels.
pub(super) async fn of(
    client: &Client,
    kind: Kind,
    workload: &Workload,
    order: Order,
) -> Result<Option<Vec<Pod>>, Error> {
    if workload.status.observed_generation < workload.metadata.generation {
        return Ok(None);
    }
    let namespace = workload.namespace().ok_or(Error::Incomplete("namespace"))?;
    let labelled = ListParams::default().labels(&workload.selector());
    let owner = match kind {
        Kind::Deployment => match revisions(client, &namespace, &labelled, workload)
            .await?
            .as_slice()
        {
            [] => return Ok(Some(Vec::new())),
            [set] => set.uid(),
            _ => return Ok(None),
        },
        Kind::ReplicaSet | Kind::StatefulSet => workload.uid(),
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let mut pods = error::call("list pods", pods.list(&labelled)).await?.items;
    pods.retain(|pod| order::is_active(pod) && is_owned(pod.owner_references(), owner.as_ref()));
    order.sort(&mut pods);
    Ok(Some(pods))
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
    let uid = deployment.uid();
    sets.retain(|set| set.spec.replicas != Some(0) && is_owned(set.owner_references(), uid.as_ref()));
    Ok(sets)
}

/// Lets a pod go before others.
pub(super) async fn set_cost(client: &Client, pool: &PoolRef, name: &str) -> Result<(), Error> {
    patch(client, pool.namespace.as_deref(), name, Some(LEAVING_COST)).await
}

/// Takes that back.
pub(super) async fn clear_cost(client: &Client, pool: &PoolRef, name: &str) -> Result<(), Error> {
    patch(client, pool.namespace.as_deref(), name, None).await
}

/// Clears the costs that an operator left behind that ended in the middle of a scale-down.
///
/// # Errors
/// What the API server answers.
pub async fn clear_leftovers(client: &Client) -> Result<usize, Error> {
    let pods: Api<Pod> = Api::all(client.clone());
    let leaving = ListParams::default().labels(LEAVING);
    let left = error::call("list pods", pods.list(&leaving)).await?.items;
    for pod in &left {
        patch(client, pod.namespace().as_deref(), &pod.name_any(), None).await?;
    }
    Ok(left.len())
}

/// A pod that is gone by now needs no cost.
async fn patch(
    client: &Client,
    namespace: Option<&str>,
    name: &str,
    cost: Option<&str>,
) -> Result<(), Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace.ok_or(Error::Incomplete("namespace"))?);
    let patch = json!({"metadata": {
        "annotations": {DELETION_COST: cost},
        "labels": {LEAVING: cost.map(|_| "true")},
    }});
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

fn is_owned(owners: &[OwnerReference], uid: Option<&String>) -> bool {
    owners
        .iter()
        .any(|owner| owner.controller == Some(true) && Some(&owner.uid) == uid)
}
