//! Kubernetes objects as far as the operator looks at them; those with replicas are [`crate::targets::Workload`]s.

use std::hash::{DefaultHasher, Hash, Hasher};

use crds::WorkerPool;
use k8s_openapi::{
    api::{
        apps::v1::ReplicaSet as FullReplicaSet,
        core::v1::{
            ConfigMapVolumeSource, ContainerState, PersistentVolumeClaimVolumeSource, Pod as FullPod,
            SecretVolumeSource,
        },
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{Resource, ResourceExt};
use serde::Deserialize;

/// Takes the managed fields away: half of an object's metadata, and nobody reads them.
pub fn prune(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
}

/// Hash of what a pool asks for: its spec (by the generation), its labels, which its Deployment gets, and its deletion. A write of
/// the status does not change it.
#[must_use]
pub fn request_hash(pool: &WorkerPool) -> u64 {
    let mut hasher = DefaultHasher::new();
    let is_deleted = pool.metadata.deletion_timestamp.is_some();
    (pool.metadata.generation, is_deleted, pool.labels()).hash(&mut hasher);
    hasher.finish()
}

/// Whether the object with this UID is the controller of this one. Labels do not say so: others may bear the same.
#[must_use]
pub fn is_controlled_by(object: &impl ResourceExt, uid: &str) -> bool {
    let mut owners = object.owner_references().iter();
    owners.any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

/// A ReplicaSet.
#[derive(Clone, Debug, Default, Deserialize, Resource)]
#[resource(inherit = FullReplicaSet)]
pub struct ReplicaSet {
    /// With its owner.
    pub metadata: ObjectMeta,
    /// What it should be.
    #[serde(default)]
    pub spec: ReplicaSetSpec,
    /// What its controller last saw.
    #[serde(default)]
    pub status: ReplicaSetStatus,
}

/// What a ReplicaSet should be.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ReplicaSetSpec {
    /// The count asked for.
    #[serde(default)]
    pub replicas: Option<i32>,
    /// Of its pods.
    #[serde(default)]
    pub template: PodTemplate,
}

/// What the pods of a ReplicaSet begin with.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PodTemplate {
    /// Their labels.
    #[serde(default)]
    pub metadata: ObjectMeta,
}

/// What the controller of a ReplicaSet last saw.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ReplicaSetStatus {
    /// Pods.
    pub replicas: i32,
    /// Those of them that still bear all labels of the template.
    pub fully_labeled_replicas: i32,
    /// The generation of the spec that it was.
    pub observed_generation: i64,
    /// Those of its pods that are ready.
    pub ready_replicas: i32,
    /// Among them ReplicaFailure, while the API server refuses its pods.
    pub conditions: Vec<ObjectCondition>,
}

/// A pod.
#[derive(Clone, Debug, Default, Deserialize, Resource)]
#[resource(inherit = FullPod)]
pub struct Pod {
    /// With its owner, its labels and its annotations.
    pub metadata: ObjectMeta,
    /// Where it runs.
    #[serde(default)]
    pub spec: PodSpec,
    /// How it is.
    #[serde(default)]
    pub status: PodStatus,
}

/// Where a pod runs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    /// Its node, once it has one.
    pub node_name: Option<String>,
    /// How long it may take to end.
    pub termination_grace_period_seconds: Option<i64>,
    /// Whether its address is its node's.
    pub host_network: bool,
    /// Volumes that its containers may mount.
    pub volumes: Vec<Volume>,
}

/// A volume of a pod, as far as it names another object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Volume {
    /// A Secret.
    pub secret: Option<SecretVolumeSource>,
    /// A ConfigMap.
    pub config_map: Option<ConfigMapVolumeSource>,
    /// A PersistentVolumeClaim.
    pub persistent_volume_claim: Option<PersistentVolumeClaimVolumeSource>,
}

/// How a pod is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStatus {
    /// Pending, Running, Succeeded, Failed, Unknown.
    pub phase: Option<String>,
    /// Its address, once it has one.
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    /// The reason for which it failed, as `Evicted`.
    pub reason: Option<String>,
    /// The same in a sentence.
    pub message: Option<String>,
    /// Among them, Ready.
    pub conditions: Vec<ObjectCondition>,
    /// Those that run before the others, and sidecars.
    pub init_container_statuses: Vec<ContainerStatus>,
    /// The others.
    pub container_statuses: Vec<ContainerStatus>,
}

/// A condition of a pod or a ReplicaSet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ObjectCondition {
    /// What.
    #[serde(rename = "type")]
    pub kind: String,
    /// True, False, Unknown.
    pub status: String,
    /// The reason, in one word.
    pub reason: Option<String>,
    /// The reason, in a sentence.
    pub message: Option<String>,
    /// Since when.
    pub last_transition_time: Option<Time>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerStatus {
    /// Its name.
    pub name: String,
    /// Its image, as in the spec until it has been pulled.
    pub image: String,
    /// It runs, and its probes pass.
    pub ready: bool,
    /// How it is.
    pub state: ContainerState,
    /// How it was before its last restart.
    pub last_state: ContainerState,
    /// How often it was restarted.
    pub restart_count: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_differs_after_change_by_user_and_not_after_status() {
        let mut pool = WorkerPool::new("hw7", crds::WorkerPoolSpec::default());
        let mut last = request_hash(&pool);
        let mut differs = |pool: &WorkerPool| {
            let before = std::mem::replace(&mut last, request_hash(pool));
            before != last
        };
        pool.metadata.resource_version = Some("2".to_owned());
        pool.status = Some(crds::status::WorkerPoolStatus::default());
        assert!(!differs(&pool), "the status");
        pool.metadata.generation = Some(2);
        assert!(differs(&pool), "the spec");
        pool.labels_mut().insert("team".to_owned(), "a".to_owned());
        assert!(differs(&pool), "a label");
        pool.labels_mut().clear();
        assert!(differs(&pool), "no label");
        pool.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        assert!(differs(&pool), "the deletion");
    }
}
