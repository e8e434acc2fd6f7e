//! The WorkerPool.

pub mod handler;
pub mod queues;
pub mod redis;
pub mod scaling;
pub mod status;
pub mod target;
pub mod tolerance;
pub mod worker;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use queues::QueueSpec;
use redis::RedisSpec;
use scaling::ScalingSpec;
use status::WorkerPoolStatus;
use target::{DeletionPolicy, ScaleTargetRef};
use worker::WorkerSpec;

// The category `workerpool` is WorkerPool's alone: with a second kind in it `kubectl scale workerpool NAME` would ask which of the
// two is meant.
/// What a pool should be. An empty spec is a useful one: it follows the queue `queue` in the Redis of the Service
/// `redis`, with 0 to 10 replicas of the stock worker.
#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, PartialEq, JsonSchema)]
#[kube(
    group = "workerpool.dev",
    version = "v1alpha1",
    kind = "WorkerPool",
    namespaced,
    shortname = "wp",
    category = "workerpool",
    category = "workerpools-all",
    status = "WorkerPoolStatus",
    derive = "PartialEq",
    doc = "A pool of workers that work off a queue in Redis: as many as the queue needs, or exactly as many as spec.replicas says.",
    validation = kube::core::Rule::new("self.metadata.name.size() <= 52")
        .message("metadata.name must have at most 52 characters: the names of the pods are made from it"),
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the pool does its work"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "OK, or why the pool is not ready"
    ),
    printcolumn(
        name = "Pods",
        type_ = "string",
        json_path = ".status.pods",
        description = "Ready pods of those desired"
    ),
    printcolumn(
        name = "Queue",
        type_ = "string",
        json_path = ".status.queueNames",
        description = "The first queue, and the number of the others"
    ),
    printcolumn(
        name = "Waiting",
        type_ = "integer",
        json_path = ".status.queue.waiting",
        description = "Jobs in line"
    ),
    printcolumn(
        name = "Running",
        type_ = "integer",
        json_path = ".status.queue.running",
        description = "Jobs that a worker holds"
    ),
    printcolumn(
        name = "Dead",
        type_ = "integer",
        json_path = ".status.queue.dead",
        description = "Jobs that were given up"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Mode",
        type_ = "string",
        json_path = ".status.mode",
        description = "Who decides the count: the queue, a person (Pinned), nobody (Paused), or the fallback",
        priority = 1
    ),
    printcolumn(
        name = "Min",
        type_ = "integer",
        json_path = ".spec.scaling.minReplicas",
        priority = 1
    ),
    printcolumn(
        name = "Max",
        type_ = "integer",
        json_path = ".spec.scaling.maxReplicas",
        priority = 1
    ),
    printcolumn(
        name = "Desired",
        type_ = "integer",
        json_path = ".status.desiredReplicas",
        description = "The count last decided",
        priority = 1
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"ScalingActive\")].reason",
        description = "The rule that had the last word on the count",
        priority = 1
    ),
    printcolumn(
        name = "Disabled",
        type_ = "string",
        json_path = ".status.decision.disabled",
        description = "The direction in which the count does not go by itself: selectPolicy is Disabled there",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!(has(self.template) && has(self.scaleTargetRef))",
        "message": "template and scaleTargetRef exclude each other: a pool makes its own pods or scales what exists",
    },
    {
        "rule": "has(self.scaleTargetRef) == has(oldSelf.scaleTargetRef) && (!has(self.scaleTargetRef) || (self.scaleTargetRef.name == oldSelf.scaleTargetRef.name && (has(self.scaleTargetRef.kind) ? self.scaleTargetRef.kind : 'Deployment') == (has(oldSelf.scaleTargetRef.kind) ? oldSelf.scaleTargetRef.kind : 'Deployment') && (has(self.scaleTargetRef.apiVersion) ? self.scaleTargetRef.apiVersion : 'apps/v1') == (has(oldSelf.scaleTargetRef.apiVersion) ? oldSelf.scaleTargetRef.apiVersion : 'apps/v1')))",
        "message": "scaleTargetRef cannot be changed, added or removed: make a new pool",
        "fieldPath": ".scaleTargetRef",
    },
    {
        "rule": "self.deletionPolicy != 'Restore' || has(self.scaleTargetRef)",
        "message": "deletionPolicy Restore needs a scaleTargetRef: the pods of a template go with their pool",
        "fieldPath": ".deletionPolicy",
    },
    {
        "rule": "!has(self.scaleTargetRef) || !has(self.worker.handler)",
        "message": "worker.handler and scaleTargetRef exclude each other: nothing of a scale target is changed but its count",
        "fieldPath": ".worker.handler",
    },
    {
        "rule": "!has(self.worker.handler) || !has(self.template) || !has(self.template.spec) || !has(self.template.spec.containers) || self.template.spec.containers.all(c, c.name != 'worker' || !(has(c.command) || has(c.args)))",
        "message": "the template's container worker must not have command or args beside worker.handler: the handler says what is run",
        "fieldPath": ".template.spec.containers",
    },
    {
        "rule": "!has(self.worker.handler) || !has(self.worker.handler.http) || !has(self.template) || !has(self.template.spec) || !has(self.template.spec.containers) || self.template.spec.containers.all(c, c.name != 'worker' || !has(c.image))",
        "message": "the template's container worker must not have an image beside worker.handler.http: it is the stock worker; give the service's container another name",
        "fieldPath": ".template.spec.containers",
    },
    {
        "rule": "has(self.scaleTargetRef) || self.queues.all(q, !has(q.source))",
        "message": "queues with a source need workers of your own: name their Deployment in scaleTargetRef",
        "fieldPath": ".queues",
    },
    {
        "rule": "!has(self.redis.cluster) || self.queues.all(q, has(q.source) && (!has(q.source.db) || q.source.db == 0))",
        "message": "a queue in a Redis Cluster needs a source, with db 0: one of workerpool's own is kept in two databases, and by scripts over keys of many slots",
        "fieldPath": ".queues",
    },
    {
        "rule": "!has(self.scaling.targetWaitSeconds) || (self.queues.size() <= 1 && self.queues.all(q, !has(q.source) && (!has(q.weight) || q.weight == 1)))",
        "message": "targetWaitSeconds needs one queue, without source and weight: how long a job takes is known of such a queue alone; use jobsPerReplica",
        "fieldPath": ".scaling.targetWaitSeconds",
    },
]))]
pub struct WorkerPoolSpec {
    /// Exactly this many replicas, whatever the queue says; `kubectl scale` sets it. Absent: follow the queue. It skips
    /// bounds, windows and policies, never the care for running jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: Option<i32>,

    /// Change nothing while true.
    #[serde(default)]
    pub paused: bool,

    /// The Redis that holds the queues.
    #[serde(default)]
    pub redis: RedisSpec,

    /// The queues that the workers take jobs from. Their names are immutable. Those with a source need a scaleTargetRef.
    #[serde(default = "queues::default_queues")]
    #[schemars(
        length(min = 1, max = 8),
        extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["name"],
            "x-kubernetes-validations" = [{
                "rule": "self.size() == oldSelf.size() && self.all(q, oldSelf.exists(o, o.name == q.name))",
                "message": "the names of the queues are immutable: make a new pool",
            }, {
                "rule": "self.all(q, oldSelf.all(o, o.name != q.name || has(o.source) == has(q.source)))",
                "message": "a source can neither be given to a queue nor taken away: make a new pool",
            }],
        )
    )]
    pub queues: Vec<QueueSpec>,

    /// How many replicas for how much work.
    #[serde(default)]
    pub scaling: ScalingSpec,

    /// How jobs are run.
    #[serde(default)]
    pub worker: WorkerSpec,

    /// The pods, merged over the stock worker: what the container named `worker` leaves out is filled in, the
    /// environment always, image, command and probes where it runs the stock worker. Absent: the stock worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::template::schema")]
    pub template: Option<Box<PodTemplateSpec>>,

    /// Scale something that exists, untouched but for its count, instead of making pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_target_ref: Option<ScaleTargetRef>,

    /// What becomes of the count of the scale target when the pool is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

impl Default for WorkerPoolSpec {
    /// What the API server makes of `spec: {}`.
    fn default() -> Self {
        Self {
            replicas: None,
            paused: false,
            redis: RedisSpec::default(),
            queues: queues::default_queues(),
            scaling: ScalingSpec::default(),
            worker: WorkerSpec::default(),
            template: None,
            scale_target_ref: None,
            deletion_policy: DeletionPolicy::default(),
        }
    }
}
