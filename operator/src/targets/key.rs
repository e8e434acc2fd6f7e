//! The names of what is scaled.

use std::fmt;

use crds::WorkerPool;
use kube::ResourceExt;

use super::Kind;

/// What is scaled, whatever its version: no two may scale the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetKey {
    /// Its namespace.
    pub namespace: String,
    /// The group of its kind; empty for the core.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl TargetKey {
    /// What a pool scales: its own Deployment, or its target.
    #[must_use]
    pub fn of(pool: &WorkerPool) -> Self {
        let namespace = pool.namespace().unwrap_or_default();
        match &pool.spec.scale_target_ref {
            Some(target) => Self {
                namespace,
                group: group_of(&target.api_version).to_owned(),
                kind: target.kind.clone(),
                name: target.name.clone(),
            },
            None => Self::known(Kind::Deployment, namespace, pool.name_any()),
        }
    }

    /// Of a kind that is watched.
    #[must_use]
    pub fn known(kind: Kind, namespace: String, name: String) -> Self {
        Self {
            namespace,
            group: "apps".to_owned(),
            kind: kind.name().to_owned(),
            name,
        }
    }

    /// Its kind, if that is watched.
    #[must_use]
    pub fn watched_kind(&self) -> Option<Kind> {
        Kind::of(&self.group, &self.kind)
    }
}

/// As in a sentence: kind and name.
impl fmt::Display for TargetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// The group of an API version; the core has none.
#[must_use]
pub fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_makes_no_other_target() {
        let pool = |version: &str| -> WorkerPool {
            let target =
                serde_json::json!({"scaleTargetRef": {"apiVersion": version, "kind": "Crew", "name": "a"}});
            WorkerPool::new("hw7", serde_json::from_value(target).unwrap())
        };
        let key = TargetKey::of(&pool("example.com/v1"));
        assert_eq!((key.group.as_str(), key.watched_kind()), ("example.com", None));
        assert_eq!(key, TargetKey::of(&pool("example.com/v2")));
        assert_eq!(TargetKey::of(&pool("v1")).group, "");
        assert_ne!(key, TargetKey::of(&pool("v1")));
    }
}
