//! What is scaled, where the pool does not make its own pods.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something of the pool's namespace with a `/scale`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, Hash, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct ScaleTargetRef {
    /// Its API version; `apps/v1` unless given.
    #[serde(default = "default_api_version")]
    #[schemars(length(min = 1, max = 317))]
    pub api_version: String,
    /// Its kind; `Deployment` unless given.
    #[serde(default = "default_kind")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

fn default_api_version() -> String {
    "apps/v1".to_owned()
}

fn default_kind() -> String {
    "Deployment".to_owned()
}

/// What becomes of the count of the scale target when the pool is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum DeletionPolicy {
    /// The count stays what it was last.
    #[default]
    Retain,
    /// The count becomes what the pool found.
    Restore,
}
