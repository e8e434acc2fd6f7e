//! What has replicas, as far as the operator looks at it.

use std::borrow::Cow;

use k8s_openapi::{
    api::autoscaling::v1::Scale,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use kube::{Resource, api::ApiResource, core::DynamicResourceScope};
use serde::Deserialize;

use crate::selector;

/// A kind that is watched, and whose pods are chosen before they go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Its pods go by their deletion cost, one ReplicaSet at a time.
    #[default]
    Deployment,
    /// Its pods go by their ordinals, the highest first.
    StatefulSet,
    /// Its pods go by their deletion cost.
    ReplicaSet,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Deployment, Self::StatefulSet, Self::ReplicaSet];

    /// The kind of this group and name; `None` for one that is known by its `/scale` alone.
    #[must_use]
    pub fn of(group: &str, kind: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| group == "apps" && known.name() == kind)
    }

    /// As in YAML.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::ReplicaSet => "ReplicaSet",
        }
    }

    /// As in a sentence about several.
    #[must_use]
    pub const fn names(self) -> &'static str {
        match self {
            Self::Deployment => "Deployments",
            Self::StatefulSet => "StatefulSets",
            Self::ReplicaSet => "ReplicaSets",
        }
    }

    const fn plural_name(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::ReplicaSet => "replicasets",
        }
    }

    /// Where it is at the API server.
    #[must_use]
    pub fn resource(self) -> ApiResource {
        ApiResource::erase::<Workload>(&self)
    }
}

/// Something with replicas. The whole Deployment of k8s-openapi takes 40 KB in memory, and every one of the cluster is
/// watched, as any may be somebody's scale target: so only these fields are kept.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Workload {
    /// Without managed fields, and with our own annotations alone.
    pub metadata: ObjectMeta,
    /// What it should be.
    #[serde(default)]
    pub spec: WorkloadSpec,
    /// What it is.
    #[serde(default)]
    pub status: WorkloadStatus,
    /// The labels of its pods as its `/scale` tells them, where that is all there is.
    #[serde(skip)]
    pub labels: Option<String>,
}

/// What a workload should be.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct WorkloadSpec {
    /// The count asked for.
    #[serde(default)]
    pub replicas: Option<i32>,
    /// The labels of its pods.
    #[serde(default)]
    pub selector: LabelSelector,
    /// How a StatefulSet numbers its pods.
    #[serde(default)]
    pub ordinals: Option<Ordinals>,
}

/// How a StatefulSet numbers its pods.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Ordinals {
    /// The number of the first.
    #[serde(default)]
    pub start: u32,
}

/// What a workload is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// The generation that the rest is about.
    pub observed_generation: Option<i64>,
    /// Pods that exist; counted by their owner, not by their labels.
    pub replicas: i32,
    /// Pods that are ready.
    pub ready_replicas: i32,
    /// Pods of the current template; fewer than `replicas` in the middle of a Deployment's roll-out.
    pub updated_replicas: i32,
}

impl Workload {
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

    /// The labels of its pods, as `kubectl get -l` takes them.
    #[must_use]
    pub fn selector(&self) -> String {
        let told = self.labels.clone();
        told.unwrap_or_else(|| selector::to_string(&self.spec.selector))
    }

    /// Whether something else made it and keeps it, as a Deployment its ReplicaSets.
    #[must_use]
    pub fn is_controlled(&self) -> bool {
        let mut owners = self.metadata.owner_references.iter().flatten();
        owners.any(|owner| owner.controller == Some(true))
    }

    /// Takes away what nobody reads.
    pub fn prune(&mut self) {
        crate::objects::prune(&mut self.metadata);
        if let Some(annotations) = &mut self.metadata.annotations {
            annotations.retain(|name, _| name.starts_with(crds::GROUP));
        }
        self.metadata.labels = None;
    }
}

/// Of a kind that is known by its `/scale` alone. That tells how many there are, not how many are ready.
impl From<Scale> for Workload {
    fn from(scale: Scale) -> Self {
        let status = scale.status.unwrap_or_default();
        Self {
            metadata: scale.metadata,
            spec: WorkloadSpec {
                // Absent is none here: the API server leaves a zero out.
                replicas: Some(scale.spec.and_then(|spec| spec.replicas).unwrap_or(0)),
                ..WorkloadSpec::default()
            },
            status: WorkloadStatus {
                observed_generation: None,
                replicas: status.replicas,
                ready_replicas: status.replicas,
                updated_replicas: status.replicas,
            },
            labels: Some(status.selector.unwrap_or_default()),
        }
    }
}

impl Resource for Workload {
    type DynamicType = Kind;
    type Scope = DynamicResourceScope;

    fn kind(kind: &Kind) -> Cow<'_, str> {
        kind.name().into()
    }

    fn group(_: &Kind) -> Cow<'_, str> {
        "apps".into()
    }

    fn version(_: &Kind) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural(kind: &Kind) -> Cow<'_, str> {
        kind.plural_name().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_kinds_of_apps_are_watched() {
        assert_eq!(Kind::of("apps", "StatefulSet"), Some(Kind::StatefulSet));
        assert_eq!(Kind::of("apps.kruise.io", "StatefulSet"), None);
        assert_eq!(Kind::of("apps", "DaemonSet"), None);
        assert_eq!(Kind::ReplicaSet.resource().plural, "replicasets");
    }

    #[test]
    fn scale_tells_the_count_and_the_labels() {
        let scale: Scale = serde_json::from_value(json!({
            "metadata": {"name": "web", "resourceVersion": "7"},
            "spec": {"replicas": 3},
            "status": {"replicas": 2, "selector": "app=web"},
        }))
        .unwrap();
        let workload = Workload::from(scale);
        assert_eq!((workload.replicas(), workload.version()), (3, Some(7)));
        assert_eq!(
            (workload.status.replicas, workload.selector()),
            (2, "app=web".to_owned())
        );
        assert_eq!(Workload::from(Scale::default()).replicas(), 0);
    }
}
