//! What has replicas, as far as the operator looks at it.

use std::borrow::Cow;

use k8s_openapi::{
    api::autoscaling::v1::Scale,
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
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
    /// How a Deployment replaces its pods.
    #[serde(default)]
    pub strategy: Strategy,
}

/// How a Deployment replaces its pods. The other kinds have no such field, and no pod of theirs may be missing.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Strategy {
    /// Absent for `Recreate`.
    pub rolling_update: Option<RollingUpdate>,
}

/// How many pods a roll-out may do without, or have beyond the count.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RollingUpdate {
    /// Pods that may be missing.
    pub max_unavailable: Share,
    /// Pods beyond the count.
    pub max_surge: Share,
}

/// A number of pods, or a percentage of the count.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(from = "IntOrString")]
pub enum Share {
    /// So many.
    Pods(u32),
    /// So many of a hundred.
    Percent(u32),
}

impl Default for Share {
    fn default() -> Self {
        Self::Percent(25)
    }
}

impl From<IntOrString> for Share {
    fn from(value: IntOrString) -> Self {
        match value {
            IntOrString::Int(pods) => Self::Pods(u32::try_from(pods).unwrap_or(0)),
            IntOrString::String(text) => Self::Percent(text.trim_end_matches('%').parse().unwrap_or(0)),
        }
    }
}

impl Share {
    /// Hundredths of pods.
    fn hundredths(self, replicas: u32) -> u64 {
        match self {
            Self::Pods(pods) => u64::from(pods) * 100,
            Self::Percent(percent) => u64::from(percent) * u64::from(replicas),
        }
    }
}

impl Strategy {
    /// The pods that may be missing of so many, as the Deployment controller reckons: the share that may be missing is rounded down,
    /// the one beyond the count up, and where both are 0 one may be missing.
    #[must_use]
    pub fn max_unavailable(&self, replicas: u32) -> u32 {
        let Some(rolling) = &self.rolling_update else {
            return 0;
        };
        let unavailable = rolling.max_unavailable.hundredths(replicas) / 100;
        let has_surge = rolling.max_surge.hundredths(replicas) > 0;
        let unavailable = if unavailable == 0 && !has_surge {
            1
        } else {
            unavailable
        };
        u32::try_from(unavailable).unwrap_or(u32::MAX).min(replicas)
    }
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

    /// Whether a Deployment is in the middle of a roll-out, by its status, which lags behind.
    #[must_use]
    pub fn is_rolling_out(&self) -> bool {
        self.status.observed_generation < self.metadata.generation
            || self.status.updated_replicas != self.status.replicas
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
    fn deployment_may_miss_as_many_pods_as_its_controller_says() {
        let may_miss = |strategy: serde_json::Value, replicas| {
            let workload = json!({"metadata": {}, "spec": {"strategy": strategy}});
            let workload: Workload = serde_json::from_value(workload).unwrap();
            workload.spec.strategy.max_unavailable(replicas)
        };
        let rolling = |unavailable, surge| json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}});
        let usual = || rolling(json!("25%"), json!("25%"));
        assert_eq!([1, 3, 4, 10].map(|count| may_miss(usual(), count)), [0, 0, 1, 2]);
        assert_eq!(may_miss(json!({"rollingUpdate": {}}), 10), 2, "25 % unless given");
        assert_eq!(may_miss(rolling(json!(3), json!(0)), 10), 3);
        assert_eq!(
            may_miss(rolling(json!(30), json!(0)), 10),
            10,
            "not more than there are"
        );
        assert_eq!(may_miss(rolling(json!(0), json!(0)), 10), 1);
        assert_eq!(may_miss(rolling(json!("1%"), json!(0)), 10), 1, "rounded to 0");
        assert_eq!(may_miss(json!({"type": "Recreate"}), 10), 0);
        assert_eq!(Strategy::default().max_unavailable(10), 0);
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
