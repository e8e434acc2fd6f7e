//! The queues of a pool.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One queue: workerpool's own, by its name, or somebody else's that is only read.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueSpec {
    /// The name that the producers use: `queue` is the list `hotqueue:queue`. Letters, digits, `.`, `_` and `-`. With a
    /// source it is what status calls the queue.
    #[schemars(
        length(min = 1, max = 63),
        extend("x-kubernetes-validations" = [{
            "rule": "self.matches('^[A-Za-z0-9][A-Za-z0-9._-]*$')",
            "message": "a queue's name begins with a letter or digit and has only letters, digits, '.', '_' and '-'",
        }])
    )]
    pub name: String,

    /// As how many jobs one job of this queue counts, where jobsPerReplica is asked. 1 unless given.
    #[serde(default = "default_weight", skip_serializing_if = "is_default_weight")]
    #[schemars(range(min = 1, max = 100))]
    pub weight: i32,

    /// Another system's queue, of which only the length is read; nothing is written for it. Absent: a queue of workerpool's
    /// own. Can be changed, but neither added nor removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceSpec>,

    /// How the queue's HotQueue programs write a job's id, as they pass it in `serializer=`. All forms are read; this is the
    /// form that workerpool writes. `Pickle` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serializer: Option<Serializer>,
}

/// How a HotQueue writes an id.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum Serializer {
    /// A pickled text, HotQueue's default.
    Pickle,
    /// A JSON string, `serializer=json`.
    Json,
    /// The bare id, `serializer=None`.
    None,
}

impl QueueSpec {
    /// A queue of workerpool's own.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            weight: default_weight(),
            source: None,
            serializer: None,
        }
    }
}

/// The keys in which another system keeps a queue. docs/sources.md has those of RQ, Celery, BullMQ, Sidekiq, asynq and
/// others.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceSpec {
    /// The database that holds the keys. 0 unless given.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9999))]
    pub db: i32,

    /// Where jobs wait. What the keys hold is added up; a key that does not exist holds nothing.
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "atomic"))]
    pub waiting: Vec<SourceKey>,

    /// Where jobs are while they run, if the system keeps them in a key: they count as demand too, and the pool does not
    /// shrink below what holds them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 4),
        extend(
            "x-kubernetes-list-type" = "atomic",
            "x-kubernetes-validations" = [{
                "rule": "self.all(k, !has(k.consumerGroup))",
                "message": "a consumer group belongs under waiting: what it has pending counts as running from there",
            }],
        )
    )]
    pub running: Vec<SourceKey>,
}

/// One key, and what it is.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.consumerGroup) || (has(self.type) && self.type == 'Stream')",
    "message": "consumerGroup goes with type Stream",
    "fieldPath": ".consumerGroup",
}]))]
pub struct SourceKey {
    /// What the key is. A key of another type is an error, not an empty queue.
    #[serde(rename = "type", default)]
    pub kind: SourceType,
    /// Its name in Redis.
    #[schemars(length(min = 1, max = 512))]
    pub key: String,
    /// Of a stream: the group that reads it. What it has not been given yet waits, and what it has pending runs. Absent: the
    /// whole stream waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub consumer_group: Option<String>,
}

/// What a key is; each counts as as many jobs as it has elements.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum SourceType {
    /// A list.
    #[default]
    List,
    /// A stream.
    Stream,
    /// A sorted set.
    SortedSet,
    /// A set.
    Set,
    /// A hash.
    Hash,
}

fn default_weight() -> i32 {
    1
}

/// The default of `spec.queues` is stored as a user would write it.
fn is_default_weight(weight: &i32) -> bool {
    *weight == default_weight()
}

/// The original's queue.
pub(super) fn default_queues() -> Vec<QueueSpec> {
    vec![QueueSpec::named("queue")]
}
