//! Whether the pod template in use is known to work, so that a wrong image name is not started a hundred times.
//!
//! A template is proven by one ready pod. One that never was, and of which a pod cannot start, limits the count
//! ([`scaling::Startup::Failing`]) until a pod of it is ready or the template changes.

use crds::{WorkerPool, conditions};
use k8s_openapi::api::apps::v1::Deployment as FullDeployment;
use kube::ResourceExt;
use scaling::{Reason, Startup};

use super::{Seen, pod};
use crate::{
    deployment::applied_hash,
    objects::{ReplicaSet, is_controlled_by},
    scale_down::order::is_active,
    targets::Workload,
};

/// The number of a Deployment's revision, on its ReplicaSets.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// Whether pods of a Deployment's template start, by one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateReport {
    /// The hash of the Deployment that was applied, whose template it is.
    pub applied: String,
    /// A pod of it was ready.
    pub is_ready: bool,
    /// A pod of it has a trouble of its template ([`super::Trouble::is_of_template`]).
    pub cannot_start: bool,
}

impl TemplateReport {
    /// Of the newest ReplicaSet: pods of earlier ones may be there still. `None` of a workload that is not the pool's own.
    pub(super) fn of(seen: &Seen<'_>) -> Option<Self> {
        let applied = seen.applied?.to_owned();
        let newest = seen.sets.iter().max_by_key(|set| revision(set))?;
        let uid = newest.metadata.uid.as_deref().unwrap_or_default();
        let pods = seen
            .pods
            .iter()
            .filter(|pod| is_active(pod) && is_controlled_by(*pod, uid));
        let mut troubles = pods.filter_map(|pod| pod::finding(pod, seen.now));
        Some(Self {
            applied,
            is_ready: newest.status.ready_replicas > 0,
            cannot_start: troubles.any(|finding| finding.trouble.is_of_template()),
        })
    }
}

fn revision(set: &ReplicaSet) -> Option<u64> {
    set.annotations().get(REVISION)?.parse().ok()
}

/// What is known of the templates of a pool's own Deployment.
#[derive(Clone, Debug, Default)]
pub struct TemplateProof {
    /// The hash of the template of which a pod was last ready.
    proven: Option<String>,
    failing: Failing,
}

/// The template of which no pod was ever ready, while one could not start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Failing {
    #[default]
    None,
    /// The one that is in use: an earlier operator reported so, but not its hash.
    InUse,
    /// The one with this hash.
    Template(String),
}

impl TemplateProof {
    /// What an earlier operator reported in the pool's status.
    #[must_use]
    pub fn restore(pool: &WorkerPool) -> Self {
        let Some(status) = &pool.status else {
            return Self::default();
        };
        let is_limited = status.conditions.iter().any(|condition| {
            condition.type_ == conditions::SCALING_ACTIVE
                && condition.reason == Reason::Unproven.as_str()
                && condition.observed_generation == pool.metadata.generation
        });
        Self {
            proven: status.proven_template.clone(),
            failing: if is_limited { Failing::InUse } else { Failing::None },
        }
    }

    /// Records what is seen of the template with this hash; answers whether [`Self::startup`] differs from now on.
    pub fn observe(&mut self, template: &str, is_ready: bool, cannot_start: bool) -> bool {
        let before = self.is_failing(template);
        if self.failing == Failing::InUse {
            self.failing = Failing::Template(template.to_owned());
        }
        if is_ready {
            if !self.is_proven(template) {
                self.proven = Some(template.to_owned());
            }
            self.failing = Failing::None;
        } else if cannot_start && !self.is_proven(template) && !before {
            self.failing = Failing::Template(template.to_owned());
        }
        before != self.is_failing(template)
    }

    /// Whether more replicas of this template can start, for a pool with this count and as many ready pods. Ready pods are of an
    /// earlier template: their work is not given up for a new one that fails.
    #[must_use]
    pub fn startup(&self, template: &str, current: u32, ready: i32) -> Startup {
        if !self.is_failing(template) {
            return Startup::Possible;
        }
        Startup::Failing {
            keep: if ready > 0 { current } else { 0 },
        }
    }

    /// The hash of the template of which a pod was last ready.
    #[must_use]
    pub fn proven(&self) -> Option<&str> {
        self.proven.as_deref()
    }

    fn is_proven(&self, template: &str) -> bool {
        self.proven.as_deref() == Some(template)
    }

    fn is_failing(&self, template: &str) -> bool {
        match &self.failing {
            Failing::None => false,
            Failing::InUse => true,
            Failing::Template(failing) => failing == template,
        }
    }
}

/// Whether a pod of the wanted template is ready, by the Deployment alone: it was applied, its controller has seen
/// it, and all pods are of it. In the middle of a roll-out the ready pods may be those of an earlier template.
#[must_use]
pub fn is_rolled_out_and_ready(found: &Workload, wanted: &FullDeployment) -> bool {
    let status = &found.status;
    applied_hash(found) == applied_hash(wanted)
        && status.observed_generation >= found.metadata.generation
        && status.updated_replicas == status.replicas
        && status.ready_replicas > 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FAILING: Startup = Startup::Failing { keep: 0 };

    #[test]
    fn template_is_limited_until_one_of_its_pods_is_ready() {
        let mut proof = TemplateProof::default();
        assert_eq!(proof.startup("a", 20, 0), Startup::Possible, "nothing is known");
        assert!(proof.observe("a", false, true));
        assert_eq!(proof.startup("a", 20, 0), FAILING);
        assert!(!proof.observe("a", false, false), "its pods were just replaced");
        assert_eq!(proof.startup("a", 3, 0), FAILING);
        assert!(proof.observe("a", true, false));
        assert_eq!(proof.startup("a", 3, 1), Startup::Possible);
        assert_eq!(proof.proven(), Some("a"));
        assert!(!proof.observe("a", false, true), "it worked once");
    }

    #[test]
    fn another_template_is_not_limited_and_ready_pods_are_kept() {
        let mut proof = TemplateProof::default();
        proof.observe("a", true, false);
        assert!(proof.observe("b", false, true));
        assert_eq!(proof.startup("b", 8, 6), Startup::Failing { keep: 8 });
        assert_eq!(proof.startup("c", 8, 6), Startup::Possible);
        assert_eq!(proof.startup("a", 8, 6), Startup::Possible);
        assert_eq!(proof.proven(), Some("a"));
    }

    fn reporting(reason: &str, generation: i64) -> WorkerPool {
        let mut pool = WorkerPool::new("hw7", crds::WorkerPoolSpec::default());
        pool.metadata.generation = Some(2);
        pool.status = serde_json::from_value(json!({"provenTemplate": "a", "conditions": [{
            "type": "ScalingActive", "status": "True", "reason": reason, "message": "", "observedGeneration": generation,
            "lastTransitionTime": "2026-11-24T08:00:00Z",
        }]}))
        .unwrap();
        pool
    }

    #[test]
    fn limit_outlives_operator() {
        let mut proof = TemplateProof::restore(&reporting("Unproven", 2));
        assert_eq!((proof.startup("b", 3, 0), proof.proven()), (FAILING, Some("a")));
        assert!(!proof.observe("b", false, false));
        assert_eq!(proof.startup("b", 3, 0), FAILING);
        assert_eq!(proof.startup("c", 3, 0), Startup::Possible);
        for other in [reporting("Unproven", 1), reporting("MaxReplicas", 2)] {
            let proof = TemplateProof::restore(&other);
            assert_eq!(proof.startup("b", 3, 0), Startup::Possible);
        }
    }

    #[test]
    fn deployment_proves_template_only_when_rolled_out() {
        let wanted = |hash: &str| -> FullDeployment {
            serde_json::from_value(json!({"metadata": {"annotations": {"workerpool.dev/applied": hash}}}))
                .unwrap()
        };
        let shows = |status: serde_json::Value| -> Workload {
            let metadata = json!({"annotations": {"workerpool.dev/applied": "b"}, "generation": 4});
            serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap()
        };
        let status = |seen: i64, all: i32, updated: i32, ready: i32| json!({"observedGeneration": seen, "replicas": all, "updatedReplicas": updated, "readyReplicas": ready});
        let proves = |status| is_rolled_out_and_ready(&shows(status), &wanted("b"));
        assert!(proves(status(4, 2, 2, 1)));
        assert!(!proves(status(4, 2, 2, 0)), "none is ready");
        assert!(!proves(status(4, 3, 1, 2)), "the ready ones may be old");
        assert!(!proves(status(3, 2, 2, 2)), "its controller has not seen it");
        assert!(
            !is_rolled_out_and_ready(&shows(status(4, 2, 2, 2)), &wanted("c")),
            "the watch is behind"
        );
    }
}
