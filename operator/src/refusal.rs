//! Why a pool is not served, in words for its owner. Only the cluster can know these; what the spec alone shows is refused
//! by the API server.

use std::fmt;

use crds::conditions;

/// Why a pool is not served as it is. Nothing is changed for it, and it is looked at again from time to time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It names more than one queue.
    SeveralQueues,
    /// Another pool, an older one, has the queue.
    QueueTaken {
        /// `namespace/name` of the other.
        by: String,
    },
    /// Another pool, an older one, has the target.
    TargetTaken {
        /// `namespace/name` of the other.
        by: String,
    },
    /// A HorizontalPodAutoscaler scales the target.
    TargetAutoscaled {
        /// Its name.
        by: String,
    },
    /// The target is of a kind that cannot be scaled yet.
    TargetKind(String),
    /// The target is not there.
    TargetMissing(String),
    /// A Deployment of the pool's name is not the pool's.
    DeploymentNotOurs(String),
    /// The Secret is not there.
    SecretMissing(String),
    /// The Secret lacks the label by which its owner allows its use.
    SecretNotLabelled(String),
    /// The Secret lacks a key.
    SecretIncomplete {
        /// Its name.
        name: String,
        /// The key that is missing, or is no text.
        key: &'static str,
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
    /// The reason in the conditions and events; never changing.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::SeveralQueues => "SeveralQueues",
            Self::QueueTaken { .. } => "QueueTaken",
            Self::TargetTaken { .. } => "TargetTaken",
            Self::TargetAutoscaled { .. } => "TargetAutoscaled",
            Self::TargetKind(_) => "TargetKindNotSupported",
            Self::TargetMissing(_) => "TargetNotFound",
            Self::DeploymentNotOurs(_) => "DeploymentNotOurs",
            Self::SecretMissing(_) => "SecretNotFound",
            Self::SecretNotLabelled(_) => "SecretNotLabelled",
            Self::SecretIncomplete { .. } => "SecretIncomplete",
            Self::Schedule { .. } => "InvalidSchedule",
            Self::Settings(_) => "InvalidSettings",
        }
    }

    /// The condition that is false for it, besides Ready.
    #[must_use]
    pub fn condition(&self) -> &'static str {
        match self {
            Self::TargetMissing(_) => conditions::READY,
            Self::SecretMissing(_) | Self::SecretNotLabelled(_) | Self::SecretIncomplete { .. } => {
                conditions::QUEUE_READABLE
            }
            _ => conditions::ACCEPTED,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SeveralQueues => {
                f.write_str("a pool follows one queue in this version; make a pool for each")
            }
            Self::QueueTaken { by } => write!(f, "the older pool {by} follows this queue already"),
            Self::TargetTaken { by } => write!(f, "the older pool {by} scales this Deployment already"),
            Self::TargetAutoscaled { by } => {
                write!(
                    f,
                    "the HorizontalPodAutoscaler {by} scales this Deployment already"
                )
            }
            Self::TargetKind(kind) => write!(f, "{kind} cannot be scaled in this version; Deployments can"),
            Self::TargetMissing(name) => write!(f, "there is no Deployment {name}"),
            Self::DeploymentNotOurs(name) => write!(
                f,
                "a Deployment {name} exists that is not this pool's; rename one of them, or use scaleTargetRef"
            ),
            Self::SecretMissing(name) => write!(f, "there is no Secret {name}"),
            Self::SecretNotLabelled(name) => write!(
                f,
                "the Secret {name} lacks the label {}: \"true\"",
                crate::source::CREDENTIALS_LABEL
            ),
            Self::SecretIncomplete { name, key } => write!(f, "the Secret {name} has no usable {key}"),
            Self::Schedule { name, why } => write!(f, "the schedule {name}: {why}"),
            Self::Settings(what) => f.write_str(what),
        }
    }
}
