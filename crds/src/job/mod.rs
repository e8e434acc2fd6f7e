//! The Job: one piece of work, as a resource.

pub mod conditions;
pub mod status;

use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use status::JobStatus;

/// Keeps a Job from going until it is cancelled in the queue. Only on Jobs that have something to cancel.
pub const FINALIZER: &str = "workerpool.dev/cancel";

/// A job for the workers of a pool. What is here never changes: another job is another resource.
#[allow(clippy::duplicated_attributes, reason = "each column has a type")]
#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, PartialEq, JsonSchema)]
#[kube(
    group = "workerpool.dev",
    version = "v1alpha1",
    kind = "Job",
    plural = "jobs",
    namespaced,
    shortname = "wj",
    shortname = "wpjob",
    category = "workerpools-all",
    status = "JobStatus",
    derive = "PartialEq",
    doc = "One job for the workers of a WorkerPool: submitted once to the pool's queue, cancelled when it is deleted. `kubectl get jobs` means batch/v1: write wj.",
    printcolumn(name = "Pool", type_ = "string", json_path = ".spec.poolName"),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.state",
        description = "Waiting, Scheduled, Running, Complete, Failed or Cancelled"
    ),
    printcolumn(
        name = "Attempts",
        type_ = "integer",
        json_path = ".status.attempts",
        description = "Runs begun"
    ),
    printcolumn(
        name = "Progress",
        type_ = "integer",
        json_path = ".status.progress.percent",
        description = "Percent, as its program tells"
    ),
    printcolumn(
        name = "Worker",
        type_ = "string",
        json_path = ".status.worker.pod",
        description = "The pod that has it, or had it last"
    ),
    printcolumn(
        name = "Started",
        type_ = "date",
        json_path = ".status.startedTime",
        description = "When its last run began"
    ),
    printcolumn(
        name = "Finished",
        type_ = "date",
        json_path = ".status.finishedTime",
        priority = 1
    ),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].reason",
        description = "Submitted, or what it waits for",
        priority = 1
    ),
    printcolumn(name = "Error", type_ = "string", json_path = ".status.error", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self == oldSelf",
    "message": "the spec of a Job is immutable: delete it, or make another one",
}]))]
pub struct JobSpec {
    /// The WorkerPool, in the Job's own namespace, whose workers do it. If there is none of this name yet, the Job waits for it.
    #[schemars(
        length(min = 1, max = 52),
        extend("x-kubernetes-validations" = [{
            "rule": "self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",
            "message": "poolName must be the name of a WorkerPool: lower-case letters, digits, '-' and '.'",
        }])
    )]
    pub pool_name: String,

    /// Its id in the queue, in the place of the resource's UID. A job of one id is run once for as long as the queue remembers it,
    /// so a Job that is created again under its id, by a GitOps tool or from a backup, has the end that it had. Absent: each Job that is
    /// created is another job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 128),
        extend("x-kubernetes-validations" = [{
            "rule": "self.matches('^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$')",
            "message": "id must be letters, digits, '-', '_' and '.', with a letter or a digit at both ends",
        }])
    )]
    pub id: Option<String>,

    /// Where it starts, in the words of its program: the program's `JOB_START`.
    #[serde(default)]
    #[schemars(length(max = 8192))]
    pub start: String,

    /// Where it ends, in the words of its program: the program's `JOB_END`.
    #[serde(default)]
    #[schemars(length(max = 8192))]
    pub end: String,

    /// Anything else that its program should know, as JSON of at most 64 KiB; the program reads it on its standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_json")]
    pub payload: Option<Value>,

    /// How often it is tried before it is given up. Absent: as the pool has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts: Option<i32>,

    /// How long one run may take. Absent: as the pool has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub timeout_seconds: Option<i32>,

    /// How long after its end, complete or not, the resource is deleted. Absent: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ttl_seconds_after_finished: Option<i32>,
}

/// Kept as it is, whatever it is.
fn any_json(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Anything else that its program should know, as JSON of at most 64 KiB; the program reads it on its \
                        standard input.",
        "x-kubernetes-preserve-unknown-fields": true,
    })
}
