//! What the operator says about a Job: what the queue knows of it.

use k8s_openapi::{
    ByteString,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most bytes of a result that stand in a status; longer ones are fetched from the API.
pub const INLINE_RESULT_MAX: usize = 4096;

/// What the queue knows of the job.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct JobStatus {
    /// How far the job is; absent until it is in the queue. A Job that ended under 0.1.0 has the queue's word here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<State>", extend("maxLength" = 64, "x-extensible-enum" = true))]
    pub state: Option<String>,
    /// The queue's own word for it: submitted, in progress, complete, failed, cancelled, or what a program that is not workerpool
    /// wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub queue_state: Option<String>,
    /// Runs begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i32>,
    /// Runs that failed or took too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<i32>,
    /// Runs whose worker was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<i32>,
    /// Who has it, or had it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<JobWorker>,
    /// When it came into the queue, by the clock of Redis, as all times here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submitted_time: Option<Time>,
    /// When its last run began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_time: Option<Time>,
    /// When it ended: complete, failed or cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_time: Option<Time>,
    /// When it is tried again, if it waits for a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,
    /// How far its program says it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<JobProgress>,
    /// What its program gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<JobResult>,
    /// The error of the last run that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub error: Option<String>,
    /// What holds and what does not: Accepted; Complete or Failed once it has ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

impl JobStatus {
    /// The queue's own word, also where 0.1.0 wrote the status: it had that word as `state`, and no `queueState`.
    #[must_use]
    pub fn queue_word(&self) -> Option<&str> {
        let state = self.state.as_deref();
        let before = state.filter(|word| !State::ALL.iter().any(|state| state.as_str() == *word));
        self.queue_state.as_deref().or(before)
    }
}

/// How far a job is. The field is text in the schema, not an enum: statuses that 0.1.0 wrote have other words, and stay writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum State {
    /// The job waits in the queue for a worker.
    Waiting,
    /// The job waits for its time, `nextAttemptTime`, after a run that failed or lost its worker.
    Scheduled,
    /// A worker has the job, or another program that took it.
    Running,
    /// The job was done.
    Complete,
    /// The job will not be done, for the reason of the condition Failed.
    Failed,
    /// The job was cancelled, and will not be done.
    Cancelled,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Waiting,
        Self::Scheduled,
        Self::Running,
        Self::Complete,
        Self::Failed,
        Self::Cancelled,
    ];

    /// As it stands in the status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::Scheduled => "Scheduled",
            Self::Running => "Running",
            Self::Complete => "Complete",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }
}

/// A worker.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct JobWorker {
    /// The IP that it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub ip: Option<String>,
    /// The name of its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub pod: Option<String>,
}

/// How far a program says it is.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct JobProgress {
    /// Of a hundred.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<i32>,
    /// In its own words.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// What a program gave: itself up to 4 KiB, or else where it is.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct JobResult {
    /// What it is, as in HTTP.
    #[schemars(length(max = 255))]
    pub content_type: String,
    /// How long it is.
    pub size_bytes: i64,
    /// All of it, if it is text of at most 4 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub text: Option<String>,
    /// All of it in base64, if it is no text and has at most 4 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 8192), extend("format" = "byte"))]
    pub data: Option<ByteString>,
    /// Where the API has it, if it is longer: a path under the API's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub path: Option<String>,
}
