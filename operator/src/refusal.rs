//! Why a pool is not served, in words for its owner. Only the cluster can know these; what the spec alone shows is refused
//! by the API server.

use std::fmt;

use crds::conditions;
use kube::api::ApiResource;

use crate::{
    source::CREDENTIALS_LABEL,
    targets::{Kind, TargetKey},
};

/// ClusterRoles with this label are added to the operator's rights.
const AGGREGATED: &str = "workerpool.dev/aggregate-to-operator";

/// Why a pool is not served as it is. Nothing is changed for it, and it is looked at again from time to time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It names a queue of another system, which the stock worker does not serve.
    NeedsScaleTarget,
    /// Another pool, an older one, has the queue.
    QueueTaken {
        /// `namespace/name` of the other.
        by: String,
    },
    /// Another pool, an older one, has the target.
    TargetTaken {
        /// `namespace/name` of the other.
        by: String,
        /// What it has.
        target: TargetKey,
    },
    /// A HorizontalPodAutoscaler or a ScaledObject scales the target.
    TargetAutoscaled {
        /// Its kind and name.
        by: String,
        /// What it scales.
        target: TargetKey,
    },
    /// The cluster has no such kind.
    TargetKindMissing(String),
    /// The kind has no `/scale`, or is no part of a namespace.
    TargetNotScalable(String),
    /// The operator has no right to scale this kind.
    TargetForbidden {
        /// The group of the kind.
        group: String,
        /// Its plural name, as in rules.
        resource: String,
    },
    /// Targets of this kind cannot be watched; why.
    TargetUnseen(String),
    /// The target is not there.
    TargetMissing(TargetKey),
    /// A Deployment of the pool's name is not the pool's.
    DeploymentNotOurs(String),
    /// The Secret is not there.
    SecretMissing(String),
    /// The Secret lacks the label by which its owner allows its use.
    SecretNotLabelled {
        /// Its namespace, which is the pool's.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The Secret lacks a key.
    SecretIncomplete {
        /// Its name.
        name: String,
        /// The key that is missing, or is no text.
        key: String,
        /// The field of the pool's spec that names the key.
        field: &'static str,
    },
    /// A schedule never opens or closes as it is written.
    Schedule {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A setting cannot be used.
    Settings(String),
}

impl Refusal {
    /// The operator has no right to scale this kind.
    #[must_use]
    pub fn forbidden(resource: &ApiResource) -> Self {
        Self::TargetForbidden {
            group: resource.group.clone(),
            resource: resource.plural.clone(),
        }
    }

    /// The reason in the conditions and events; never changing.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NeedsScaleTarget => "NeedsScaleTarget",
            Self::QueueTaken { .. } => "QueueTaken",
            Self::TargetTaken { .. } => "TargetTaken",
            Self::TargetAutoscaled { .. } => "TargetAutoscaled",
            Self::TargetKindMissing(_) => "TargetKindNotFound",
            Self::TargetNotScalable(_) => "TargetNotScalable",
            Self::TargetForbidden { .. } => "TargetForbidden",
            Self::TargetUnseen(_) => "TargetNotWatched",
            Self::TargetMissing(_) => "TargetNotFound",
            Self::DeploymentNotOurs(_) => "DeploymentNotOurs",
            Self::SecretMissing(_) => "SecretNotFound",
            Self::SecretNotLabelled { .. } => "SecretNotLabelled",
            Self::SecretIncomplete { .. } => "SecretIncomplete",
            Self::Schedule { .. } => "InvalidSchedule",
            Self::Settings(_) => "InvalidSettings",
        }
    }

    /// The condition that is false for it, besides Ready.
    #[must_use]
    pub fn condition(&self) -> &'static str {
        match self {
            Self::TargetMissing(_) | Self::TargetForbidden { .. } | Self::TargetUnseen(_) => {
                conditions::READY
            }
            Self::SecretMissing(_) | Self::SecretNotLabelled { .. } | Self::SecretIncomplete { .. } => {
                conditions::QUEUE_READABLE
            }
            _ => conditions::ACCEPTED,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedsScaleTarget => f.write_str(
                "queues with a source need workers of your own: name their Deployment in scaleTargetRef",
            ),
            Self::QueueTaken { by } => write!(f, "the older pool {by} follows this queue already"),
            Self::TargetTaken { by, target } => write!(f, "the older pool {by} scales the {target} already"),
            Self::TargetAutoscaled { by, target } => {
                write!(f, "the {by} scales the {target} already; delete it, or this pool")
            }
            Self::TargetKindMissing(kind) => write!(
                f,
                "this cluster has no {kind}; install its CustomResourceDefinition, or make a new pool with the apiVersion and \
                 kind that `kubectl api-resources` lists"
            ),
            Self::TargetNotScalable(kind) => write!(
                f,
                "{kind} has no /scale in a namespace; its CustomResourceDefinition needs subresources.scale"
            ),
            Self::TargetForbidden { group, resource } => write!(
                f,
                "the operator may not scale {resource}; make a ClusterRole with the label {AGGREGATED}: \"true\" and the rule \
                 {{apiGroups: [\"{group}\"], resources: [{resource}/scale], verbs: [get, patch]}}"
            ),
            Self::TargetUnseen(why) => f.write_str(why),
            Self::TargetMissing(target) => {
                write!(f, "there is no {target}")?;
                if target.watched_kind() == Some(Kind::ReplicaSet) {
                    f.write_str(" of its own; one that a Deployment keeps is scaled by that Deployment")?;
                }
                Ok(())
            }
            Self::DeploymentNotOurs(name) => write!(
                f,
                "a Deployment {name} exists that is not this pool's; rename one of them, or use scaleTargetRef"
            ),
            Self::SecretMissing(name) => write!(f, "there is no Secret {name}"),
            Self::SecretNotLabelled { namespace, name } => write!(
                f,
                "the Secret {name} may not be sent to the pool's Redis: who may create a pool could else have any Secret of the \
                 namespace sent to any address. Who may change the Secret allows it by `kubectl label secret {name} -n \
                 {namespace} {CREDENTIALS_LABEL}=true`"
            ),
            Self::SecretIncomplete { name, key, field } => write!(
                f,
                "the Secret {name} has no usable key {key}; spec.redis.{field} can name another"
            ),
            Self::Schedule { name, why } => write!(f, "the schedule {name}: {why}"),
            Self::Settings(what) => f.write_str(what),
        }
    }
}
