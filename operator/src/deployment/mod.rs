//! The Deployment of a pool that makes its own pods: the stock worker, or a template merged over it.
//!
//! `template` fills in what the pool's template leaves out, with `program` (which program the container `worker` runs, and
//! how ours gets into somebody else's image), `environment` (what it is told), `ending` (how long a pod may take to end) and
//! `restricted` (the security contexts).

mod ending;
mod environment;
mod program;
mod restricted;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crds::WorkerPool;
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentSpec},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference},
};
use kube::{Resource, ResourceExt};
use queue::{Queue, Server};

pub use self::ending::{GRACE_MAX, grace_seconds};
use crate::{
    scale_down::{LEAVING, STAYING},
    targets::Workload,
};

/// The hash of what was applied; as long as it is the same, nothing is applied again.
pub const APPLIED: &str = "workerpool.dev/applied";
/// The name of the pool, on its pods.
pub const POOL: &str = "workerpool.dev/pool";
/// What a pool's pods are told, beside its spec.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The image of the stock worker.
    pub image: &'a str,
    /// Where the pool's Redis is.
    pub server: &'a Server,
    /// Which queues there.
    pub queues: &'a [Queue],
}

/// The Deployment, without a count, and with the hash of everything in it as annotation.
#[must_use]
pub fn build_deployment(pool: &WorkerPool, inputs: Inputs<'_>) -> Deployment {
    let name = pool.name_any();
    let labels = labels(&name);
    let mut template = pool.spec.template.clone().unwrap_or_default();
    template::fill(&mut template, pool, inputs);
    let pod_labels = template
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default();
    pod_labels.extend(labels.clone());
    pod_labels.insert(LEAVING.to_owned(), STAYING.to_owned());
    let mut deployment = Deployment {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: pool.namespace(),
            labels: Some(labels),
            owner_references: Some(owner(pool).into_iter().collect()),
            ..ObjectMeta::default()
        },
        spec: Some(DeploymentSpec {
            selector: LabelSelector {
                match_labels: Some(selector(&name)),
                ..LabelSelector::default()
            },
            template,
            ..DeploymentSpec::default()
        }),
        status: None,
    };
    let hash = hash(&deployment);
    deployment.annotations_mut().insert(APPLIED.to_owned(), hash);
    deployment
}

/// Whether the pods that the pool makes run another program than our worker. `image` is that of the stock worker.
#[must_use]
pub fn runs_foreign_program(pool: &WorkerPool, image: &str) -> bool {
    pool.spec.scale_target_ref.is_none() && template::runs_foreign(pool, image)
}

/// What to do about a pool's Deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is not there, or not as it should be: apply it, with its count.
    Apply,
    /// It is as it should be, its count aside.
    Keep,
}

/// Compares what should be with what is.
#[must_use]
pub fn plan_deployment(wanted: &Deployment, found: Option<&Workload>) -> Plan {
    let applied = found.and_then(|found| found.annotations().get(APPLIED));
    if applied.is_some() && applied == wanted.annotations().get(APPLIED) {
        Plan::Keep
    } else {
        Plan::Apply
    }
}

/// The pool as the one controller of its Deployment, so that it goes with the pool. Without `blockOwnerDeletion`, which
/// would need the right to change a pool's finalizers.
fn owner(pool: &WorkerPool) -> Option<OwnerReference> {
    Some(OwnerReference {
        block_owner_deletion: None,
        ..pool.controller_owner_ref(&())?
    })
}

fn selector(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (
            "app.kubernetes.io/name".to_owned(),
            "workerpool-worker".to_owned(),
        ),
        (POOL.to_owned(), name.to_owned()),
    ])
}

fn labels(name: &str) -> BTreeMap<String, String> {
    let mut labels = selector(name);
    labels.insert(
        "app.kubernetes.io/managed-by".to_owned(),
        "workerpool-operator".to_owned(),
    );
    labels
}

/// FNV-1a (64 bits) of the JSON: stable over restarts and compilers, unlike the standard library's hasher.
fn hash(deployment: &Deployment) -> String {
    let json = serde_json::to_vec(deployment).unwrap_or_default();
    let hash = json.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}
