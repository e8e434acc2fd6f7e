//! How jobs are run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::handler::Handler;

/// Told to the workers by their environment; the law needs `concurrency` even where no worker lives.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct WorkerSpec {
    /// What runs a job. Absent: the stock worker's own handler, which sleeps, or what a worker of one's own does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<Handler>,

    /// A larger result of a handler fails the attempt. Absent: 1 MiB, which is also the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub max_result_bytes: Option<i32>,

    /// How long a handler's command has to end after SIGTERM, when its job timed out or was cancelled or its pod ends, before
    /// SIGKILL. The pods' grace period has room for it.
    #[schemars(range(min = 0, max = 600))]
    pub kill_grace_seconds: i32,

    /// Jobs that one replica runs at once.
    #[schemars(range(min = 1, max = 1000))]
    pub concurrency: i32,

    /// A job that runs longer than this is stopped and has failed. Absent: no limit. The pods' grace period follows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub job_timeout_seconds: Option<i32>,

    /// A job whose worker has not been heard of for this long goes back into the queue.
    #[schemars(range(min = 3, max = 3600))]
    pub lease_seconds: i32,

    /// How often a job may fail, or run into its timeout, before it is dead.
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts: i32,

    /// How often a job may lose its worker before it is dead: it may be the job that kills it. Counted apart from failures.
    #[schemars(range(min = 1, max = 100))]
    pub max_lost: i32,

    /// How long a job waits, after it failed or lost its worker, before it is tried again.
    pub backoff: Backoff,

    /// How long a job that is complete or cancelled is kept, its hash included. 0: for ever.
    #[schemars(range(min = 0, max = 315_360_000))]
    pub retention_seconds: i32,

    /// How long a dead job is kept. 0: for ever.
    #[schemars(range(min = 0, max = 315_360_000))]
    pub dead_retention_seconds: i32,

    /// The TCP port on which the stock worker serves its probes and metrics; its container's port and probes follow. Absent:
    /// 8080. For pods in which another container has that port: the containers of a pod share their ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub telemetry_port: Option<i32>,

    /// Put back a job that a program other than ours took and lost, as far as Redis shows that its worker has gone. It may
    /// then run twice. Such jobs are counted either way.
    pub recover_foreign_jobs: bool,

    /// Words that other programs' workers write as the status of a job that has ended, besides `complete`, `failed` and
    /// `cancelled`. A job with another unknown status counts as ended after it has had it for 10 minutes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 64)),
        extend(
            "x-kubernetes-list-type" = "set",
            "x-kubernetes-validations" = [{
                "rule": "!self.exists(w, w in ['submitted', 'in progress', 'complete', 'failed', 'cancelled'])",
                "message": "submitted, in progress, complete, failed and cancelled are workerpool's own statuses: leave them out of foreignFinalStatuses",
            }, {
                "rule": r"self.all(w, w.matches('^[^\\s,\\p{Cc}]([^,\\p{Cc}]*[^\\s,\\p{Cc}])?$'))",
                "message": "each of foreignFinalStatuses is a word without commas and control characters, and without a space at either end",
            }],
        )
    )]
    pub foreign_final_statuses: Vec<String>,
}

impl Default for WorkerSpec {
    fn default() -> Self {
        Self {
            handler: None,
            max_result_bytes: None,
            kill_grace_seconds: 10,
            concurrency: 1,
            job_timeout_seconds: None,
            lease_seconds: 30,
            max_attempts: 3,
            max_lost: 3,
            backoff: Backoff::default(),
            retention_seconds: 7 * 86_400,
            dead_retention_seconds: 90 * 86_400,
            telemetry_port: None,
            recover_foreign_jobs: false,
            foreign_final_statuses: Vec::new(),
        }
    }
}

/// Exponential backoff with full jitter: after its nth failure a job waits a random time below
/// min(capSeconds, baseSeconds · 2ⁿ⁻¹), and likewise after its nth lost worker.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.baseSeconds <= self.capSeconds",
    "message": "backoff.baseSeconds must not be greater than backoff.capSeconds (which is 300 unless given)",
    "fieldPath": ".baseSeconds",
}]))]
pub struct Backoff {
    /// The bound of the first wait.
    #[schemars(range(min = 1, max = 3600))]
    pub base_seconds: i32,
    /// The bound of every wait.
    #[schemars(range(min = 1, max = 86_400))]
    pub cap_seconds: i32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base_seconds: 1,
            cap_seconds: 300,
        }
    }
}
