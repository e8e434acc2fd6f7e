//! What the operator says about a pool.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is, and what was decided.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct WorkerPoolStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Who decides the count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Pods that exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Pods that are ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// The count last decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_replicas: Option<i32>,
    /// Ready pods of those desired, as `2/5`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub pods: Option<String>,
    /// The first queue, and the number of the others where there are several, as `mails,+2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub queue_names: Option<String>,
    /// The hash of the pod template of which a pod was last ready. While no pod of the present template was, and one of them
    /// cannot start, the count is limited (reason Unproven).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub proven_template: Option<String>,
    /// The generation of the pool's own Deployment that was last compared with what it should be. Another generation is
    /// somebody else's change, and is corrected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_generation: Option<i64>,
    /// The label selector of the pods, in the form that `kubectl get -l` takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub selector: Option<String>,
    /// What the last decision was made from; the reason is that of the condition ScalingActive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionStatus>,
    /// When the count was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_scale_time: Option<Time>,
    /// What the queue last said, all of them together where there are several; refreshed at most every 5 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueStatus>,
    /// What each queue last said, where there are several or one has a source; refreshed at most every 5 seconds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub queues: Vec<NamedQueueStatus>,
    /// What holds and what does not: Ready, Accepted, QueueReadable, ScalingActive, PodsReady, Available, DataSafe.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

/// What a decision was made from.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct DecisionStatus {
    /// The count that demand alone asks for, before bounds, windows and rates; absent where the queue was not asked.
    /// Refreshed at most every 5 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_replicas: Option<i64>,
    /// With combine Max: the queue that has most, and so decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub queue: Option<String>,
    /// The least in force now: the spec's, or that of an open schedule.
    pub min_replicas: i32,
    /// The most in force now: the spec's, or that of an open schedule.
    pub max_replicas: i32,
    /// The schedules that are open.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub open_schedules: Vec<String>,
    /// In which direction the count does not go by itself: selectPolicy is Disabled there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Disabled>,
    /// When the next decision is made though nothing changes: a window, a period or a schedule ends then. Absent: only when
    /// something changes. Refreshed at most every 5 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_look_time: Option<Time>,
}

/// Who decides the count.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum Mode {
    /// The queue.
    Queue,
    /// A person, by `spec.replicas`.
    Pinned,
    /// Nobody, and the count stays.
    Paused,
    /// The fallback, as the queue cannot be read.
    Fallback,
}

/// A direction in which the count does not go by itself.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum Disabled {
    /// The count does not rise.
    ScaleUp,
    /// The count does not fall.
    ScaleDown,
    /// The count neither rises nor falls.
    Both,
}

/// What the queue last said.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct QueueStatus {
    /// Jobs in line.
    pub waiting: i64,
    /// Jobs that a worker holds.
    pub running: i64,
    /// Jobs that wait for their time, after a failure or a lost worker.
    pub delayed: i64,
    /// Jobs, and other things found in the queue, that were given up; kept until somebody retries or deletes them.
    pub dead: i64,
    /// When the job at the head of the line was submitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_job_time: Option<Time>,
}

/// What one of several queues last said.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamedQueueStatus {
    /// Its name in the spec.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Jobs in line.
    #[serde(default)]
    pub waiting: i64,
    /// Jobs that a worker holds.
    #[serde(default)]
    pub running: i64,
    /// Why it cannot be read; the numbers are the last that could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub error: Option<String>,
}
