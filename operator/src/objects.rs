//! Kubernetes objects as far as the operator looks at them.
//!
//! The whole Deployment of k8s-openapi takes 40 KB in memory, and every Deployment of the cluster is watched: any may be
//! somebody's scale target. So only these fields are kept.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment as FullDeployment, ReplicaSet as FullReplicaSet},
        autoscaling::v2::HorizontalPodAutoscaler as FullAutoscaler,
        core::v1::Pod as FullPod,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time},
};
use kube::Resource;
use serde::Deserialize;

/// A Deployment.
#[derive(Clone, Debug, Default, Deserialize, Resource)]
#[resource(inherit = FullDeployment)]
pub struct Deployment {
    /// Without managed fields, and with our own annotations alone.
    pub metadata: ObjectMeta,
    /// What it should be.
    #[serde(default)]
    pub spec: DeploymentSpec,
    /// What it is.
    #[serde(default)]
    pub status: DeploymentStatus,
}

/// What a Deployment should be.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct DeploymentSpec {
    /// The count asked for.
    #[serde(default)]
    pub replicas: Option<i32>,
    /// The labels of its pods.
    #[serde(default)]
    pub selector: LabelSelector,
}

/// What a Deployment is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DeploymentStatus {
    /// The generation that the rest is about.
    pub observed_generation: Option<i64>,
    /// Pods that exist; counted by their owner, not by their labels.
    pub replicas: i32,
    /// Pods that are ready.
    pub ready_replicas: i32,
}

impl Deployment {
    /// The count asked for. Absent is 1, as for the API server.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        self.spec.replicas.unwrap_or(1).try_into().unwrap_or(0)
    }

    /// Its resource version as a number; `None` if the API server numbers them otherwise.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.metadata.resource_version.as_ref()?.parse().ok()
    }

    /// Takes away what nobody reads.
    pub fn prune(&mut self) {
        prune(&mut self.metadata);
        if let Some(annotations) = &mut self.metadata.annotations {
            annotations.retain(|name, _| name.starts_with(crds::GROUP));
        }
        self.metadata.labels = None;
    }
}

/// Takes the managed fields away: half of an object's metadata, and nobody reads them.
pub fn prune(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
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
}

/// What a ReplicaSet should be.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ReplicaSetSpec {
    /// The count asked for.
    #[serde(default)]
    pub replicas: Option<i32>,
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
}

/// How a pod is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStatus {
    /// Pending, Running, Succeeded, Failed, Unknown.
    pub phase: Option<String>,
    /// Among them, Ready.
    pub conditions: Vec<PodCondition>,
    /// For their restarts.
    pub container_statuses: Vec<ContainerStatus>,
}

/// Something that holds of a pod or does not.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodCondition {
    /// What.
    #[serde(rename = "type")]
    pub kind: String,
    /// True, False, Unknown.
    pub status: String,
    /// Since when.
    pub last_transition_time: Option<Time>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerStatus {
    /// How often it was restarted.
    pub restart_count: i32,
}

/// A HorizontalPodAutoscaler.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = FullAutoscaler)]
pub struct Autoscaler {
    /// Its name.
    pub metadata: ObjectMeta,
    /// What it scales.
    pub spec: AutoscalerSpec,
}

/// What a HorizontalPodAutoscaler scales.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerSpec {
    /// The target.
    pub scale_target_ref: AutoscalerTarget,
}

/// The target of a HorizontalPodAutoscaler.
#[derive(Clone, Debug, Deserialize)]
pub struct AutoscalerTarget {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}
