//! The two that are compared: what a person writes for each, and where it runs.

use anyhow::Context;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

/// Jobs for each replica, in both.
pub(super) const JOBS_PER_REPLICA: usize = 5;
/// The most replicas, in both.
pub(super) const MOST: usize = 100;

/// Who scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum System {
    Workerpool,
    Keda,
}

/// How it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settings {
    /// Nothing is said but what must be: where the queue is, what is scaled, and its bounds.
    Default,
    /// What its documentation has for speed.
    Best,
}

impl System {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Workerpool => "**workerpool**",
            Self::Keda => "KEDA",
        }
    }

    /// What is special about its settings, for a table.
    pub(super) fn says(self, settings: Settings) -> &'static str {
        match (self, settings) {
            (_, Settings::Default) => "defaults",
            (Self::Workerpool, Settings::Best) => "no window down",
            (Self::Keda, Settings::Best) => "poll 1 s, no cooldown, no windows, up by 100 pods in 15 s",
        }
    }

    /// Where its programs run, and the Deployments that start them.
    pub(super) fn programs(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Workerpool => ("workerpool-system", &["workerpool-operator"]),
            Self::Keda => ("keda", &["keda-operator", "keda-metrics-apiserver"]),
        }
    }

    /// Its processes, as the kernel names them.
    pub(super) fn processes(self) -> &'static [&'static str] {
        match self {
            Self::Workerpool => &["workerpool-oper"],
            Self::Keda => &["keda", "keda-adapter"],
        }
    }

    pub(super) fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Self::Workerpool => ("workerpool.dev", "v1alpha1", "WorkerPool", "workerpools"),
            Self::Keda => ("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }

    /// Changes an object's spec: a replica for each job, `most` of them, and down as soon as may be.
    pub(super) fn follow_closely(self, spec: &mut Value, most: usize) {
        match self {
            Self::Workerpool => {
                spec["scaling"]["jobsPerReplica"] = json!(1);
                spec["scaling"]["maxReplicas"] = json!(most);
            }
            Self::Keda => {
                spec["triggers"][0]["metadata"]["listLength"] = json!("1");
                spec["maxReplicaCount"] = json!(most);
                spec["cooldownPeriod"] = json!(1);
            }
        }
    }

    /// What has the Deployment `name` follow the list of the same name on `redis`.
    pub(super) fn object(self, name: &str, redis: &str, settings: Settings) -> anyhow::Result<DynamicObject> {
        let resource = self.resource();
        let spec = match self {
            Self::Workerpool => pool(name, redis, settings),
            Self::Keda => scaled_object(name, redis, settings),
        };
        let object = json!({
            "apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, "spec": spec,
        });
        serde_json::from_value(object).context("the object's shape")
    }
}

/// The list on which foreign producers put the jobs of a queue.
pub(super) fn list(queue: &str) -> String {
    format!("hotqueue:{queue}")
}

fn pool(name: &str, redis: &str, settings: Settings) -> Value {
    let mut spec = json!({
        "redis": {"address": redis},
        "queues": [{"name": name}],
        "scaling": {"maxReplicas": MOST, "jobsPerReplica": JOBS_PER_REPLICA},
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
    });
    if settings == Settings::Best {
        spec["scaling"]["behavior"] = json!({"scaleDown": {"stabilizationWindowSeconds": 0}});
    }
    spec
}

fn scaled_object(name: &str, redis: &str, settings: Settings) -> Value {
    let mut spec = json!({
        "scaleTargetRef": {"name": name},
        "maxReplicaCount": MOST,
        "triggers": [{"type": "redis", "metadata": {
            "address": redis, "databaseIndex": "2",
            "listName": list(name), "listLength": JOBS_PER_REPLICA.to_string(),
        }}],
    });
    if settings == Settings::Best {
        let policy = json!([{"type": "Pods", "value": MOST, "periodSeconds": 15}]);
        spec["pollingInterval"] = json!(1);
        spec["cooldownPeriod"] = json!(0);
        spec["advanced"] = json!({"horizontalPodAutoscalerConfig": {"behavior": {
            "scaleUp": {"stabilizationWindowSeconds": 0, "policies": policy},
            "scaleDown": {"stabilizationWindowSeconds": 0},
        }}});
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_say_nothing_of_speed() {
        for system in [System::Workerpool, System::Keda] {
            let object = |settings| {
                system
                    .object("a", "redis:6379", settings)
                    .unwrap()
                    .data
                    .to_string()
            };
            for word in ["behavior", "pollingInterval", "cooldownPeriod"] {
                assert!(!object(Settings::Default).contains(word), "{word}");
            }
            assert!(object(Settings::Best).contains("behavior"));
        }
    }
}
