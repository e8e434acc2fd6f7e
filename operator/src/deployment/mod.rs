//! The Deployment of a pool that makes its own pods: the stock worker, or a template merged over it.
//!
//! `template` fills in what the pool's template leaves out, with `program` (which program the container `worker` runs, and
//! how ours gets into somebody else's image), `environment` (its settings), `listener` (its port and probes), `secrets` (its
//! files), `ending` (how long a pod may take to end), `restricted` (the security contexts), `resources` (requests and limits) and
//! `names` (what the template has taken). `labels` are those of the Deployment and of its pods.

mod ending;
mod environment;
mod labels;
mod listener;
mod names;
mod program;
mod resources;
mod restricted;
mod secrets;
mod template;
#[cfg(test)]
mod tests;

use crds::WorkerPool;
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentSpec},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference},
};
use kube::{Resource, ResourceExt};
use queue::{Queue, Server};
use serde::Serialize;

pub use self::{
    ending::{GRACE_MAX, grace_seconds},
    labels::labels_not_taken,
    listener::check_listener,
    resources::{InvalidResources, WorkerResources},
};
use crate::targets::Workload;

/// The hash of what was applied; as long as it is the same, nothing is applied again.
pub const APPLIED: &str = "workerpool.dev/applied";
/// The name of the pool, on its pods.
pub const POOL: &str = "workerpool.dev/pool";
/// What a pool's pods are told, beside its spec.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The image of the stock worker.
    pub image: &'a str,
    /// Requests and limits of the containers of that image.
    pub resources: &'a WorkerResources,
    /// Where the pool's Redis is.
    pub server: &'a Server,
    /// Which queues there.
    pub queues: &'a [Queue],
    /// The selector of the pool's Deployment, where that exists: it cannot change.
    pub selector: Option<&'a LabelSelector>,
}

/// The Deployment, without a count, and with the hash of everything in it as annotation.
#[must_use]
pub fn build_deployment(pool: &WorkerPool, inputs: Inputs<'_>) -> Deployment {
    let name = pool.name_any();
    let selector = inputs
        .selector
        .cloned()
        .unwrap_or_else(|| labels::selector(&name));
    let mut template = pool.spec.template.as_deref().cloned().unwrap_or_default();
    template::fill(&mut template, pool, inputs);
    let metadata = template.metadata.get_or_insert_default();
    let pod_labels = metadata.labels.take().unwrap_or_default();
    metadata.labels = Some(labels::of_pods(&name, pod_labels, &selector));
    let mut deployment = Deployment {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: pool.namespace(),
            labels: Some(labels::of_deployment(pool)),
            owner_references: Some(owner(pool).into_iter().collect()),
            ..ObjectMeta::default()
        },
        spec: Some(DeploymentSpec {
            selector,
            template,
            ..DeploymentSpec::default()
        }),
        status: None,
    };
    let hash = hash(&deployment);
    deployment.annotations_mut().insert(APPLIED.to_owned(), hash);
    deployment
}

/// Whether a Deployment was built for the selector of the one that exists, or, where there is none, for that of a new one.
#[must_use]
pub fn selects_as(built: &Deployment, pool: &WorkerPool, found: Option<&Workload>) -> bool {
    let selector = built.spec.as_ref().map(|spec| &spec.selector);
    match found {
        Some(found) => selector == Some(&found.spec.selector),
        None => selector == Some(&labels::selector(&pool.name_any())),
    }
}

/// Whether the pods that the pool makes run another program than our worker. `image` is that of the stock worker.
#[must_use]
pub fn runs_foreign_program(pool: &WorkerPool, image: &str) -> bool {
    pool.spec.scale_target_ref.is_none() && template::runs_foreign(pool, image)
}

/// The hash of what was applied last, which a Deployment bears.
#[must_use]
pub fn applied_hash<K: Resource>(deployment: &K) -> Option<&str> {
    deployment.annotations().get(APPLIED).map(String::as_str)
}

/// The hash of its pods' template: a new one means new pods.
#[must_use]
pub fn template_hash(deployment: &Deployment) -> String {
    hash(&deployment.spec.as_ref().map(|spec| &spec.template))
}

/// The pool as the one controller of its Deployment, so that it goes with the pool. Without `blockOwnerDeletion`, which
/// would need the right to change a pool's finalizers.
fn owner(pool: &WorkerPool) -> Option<OwnerReference> {
    Some(OwnerReference {
        block_owner_deletion: None,
        ..pool.controller_owner_ref(&())?
    })
}

/// FNV-1a (64 bits) of the JSON: stable over restarts and compilers, unlike the standard library's hasher.
fn hash(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).unwrap_or_default();
    let hash = json.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}
