//! The queues of a pool.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One queue, by name.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueSpec {
    /// The name that the producers use: `queue` is the list `hotqueue:queue`. Letters, digits, `.`, `_` and `-`.
    #[schemars(
        length(min = 1, max = 63),
        extend("x-kubernetes-validations" = [{
            "rule": "self.matches('^[A-Za-z0-9][A-Za-z0-9._-]*$')",
            "message": "a queue's name begins with a letter or digit and has only letters, digits, '.', '_' and '-'",
        }])
    )]
    pub name: String,
}

/// The original's queue.
pub(super) fn default_queues() -> Vec<QueueSpec> {
    vec![QueueSpec {
        name: "queue".to_owned(),
    }]
}
