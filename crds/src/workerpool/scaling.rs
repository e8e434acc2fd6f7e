//! How many replicas for how much work. The names mean what they mean in a HorizontalPodAutoscaler.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::tolerance::Tolerance;

/// The policy; `docs/scaling.md` explains it with examples.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.minReplicas <= self.maxReplicas",
        "message": "minReplicas must not be greater than maxReplicas (which is 10 unless given)",
        "fieldPath": ".minReplicas",
    },
    {
        "rule": "!has(self.fallback) || self.fallback.replicas <= self.maxReplicas",
        "message": "fallback.replicas must not be greater than maxReplicas (which is 10 unless given)",
        "fieldPath": ".fallback",
    },
    {
        "rule": "!has(self.idleReplicas) || self.idleReplicas < self.minReplicas",
        "message": "idleReplicas must be less than minReplicas (which is 0 unless given)",
        "fieldPath": ".idleReplicas",
    },
    {
        "rule": "!has(self.schedules) || self.schedules.all(s, (has(s.minReplicas) ? s.minReplicas : self.minReplicas) <= (has(s.maxReplicas) ? s.maxReplicas : self.maxReplicas))",
        "message": "minReplicas must not be greater than maxReplicas while a schedule is in force; what it leaves out is that of the pool",
        "fieldPath": ".schedules",
    },
]))]
pub struct ScalingSpec {
    /// Never fewer replicas than this when following the queue.
    #[schemars(range(min = 0, max = 100_000))]
    pub min_replicas: i32,

    /// Never more replicas than this when following the queue.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_replicas: i32,

    /// Waiting and running jobs that one replica should have.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub jobs_per_replica: i32,

    /// A job should start within this time. Takes the place of jobsPerReplica as soon as it is known how long a job takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400))]
    pub target_wait_seconds: Option<i32>,

    /// How the demand of several queues becomes that of the pool.
    pub combine: Combine,

    /// The count while there is nothing to do, less than minReplicas, which then holds only while there is. Absent:
    /// minReplicas always.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub idle_replicas: Option<i32>,

    /// How long there must have been nothing to do before the pool goes to idleReplicas or to zero. Apart from the
    /// stabilization window, which holds for every step down.
    #[schemars(range(min = 0, max = 604_800))]
    pub cooldown_seconds: i32,

    /// As cooldownSeconds, counted from the pool's creation.
    #[schemars(range(min = 0, max = 604_800))]
    pub initial_cooldown_seconds: i32,

    /// A pool at zero (or at idleReplicas) leaves it only when more jobs than this wait.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub activation_threshold: i32,

    /// Times at which other bounds hold. Where several are open, all hold: the highest minReplicas and the lowest
    /// maxReplicas of them, and maxReplicas last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub schedules: Vec<Schedule>,

    /// How fast the count may follow. The defaults differ from a HorizontalPodAutoscaler's: up at once and in one step,
    /// down after 30 seconds.
    pub behavior: Behavior,

    /// What to do when the queue cannot be read. Absent: the count stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
}

impl Default for ScalingSpec {
    fn default() -> Self {
        Self {
            min_replicas: 0,
            max_replicas: 10,
            jobs_per_replica: 5,
            target_wait_seconds: None,
            combine: Combine::default(),
            idle_replicas: None,
            cooldown_seconds: 0,
            initial_cooldown_seconds: 0,
            activation_threshold: 0,
            schedules: Vec::new(),
            behavior: Behavior::default(),
            fallback: None,
        }
    }
}

/// How the demand of several queues becomes that of the pool.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum Combine {
    /// All of them together, as each job needs a worker's time.
    #[default]
    Sum,
    /// That of the queue that has most, for workers that take from all queues at once.
    Max,
}

/// A time at which other bounds hold: from each `start` until the next `end`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.minReplicas) || has(self.maxReplicas)",
        "message": "a schedule says minReplicas, maxReplicas or both",
    },
    {
        "rule": "self.start != self.end",
        "message": "a schedule's start and end must differ",
        "fieldPath": ".end",
    },
]))]
pub struct Schedule {
    /// What status and events call it.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// When it opens, as five fields of cron: minute, hour, day of month, month, day of week.
    #[schemars(schema_with = "cron")]
    pub start: String,
    /// When it closes, as five fields of cron.
    #[schemars(schema_with = "cron")]
    pub end: String,
    /// Where `start` and `end` are read off the clock, by its name in the IANA database. `UTC` unless given.
    #[serde(default = "default_time_zone")]
    #[schemars(length(min = 1, max = 63))]
    pub time_zone: String,
    /// Takes the place of the pool's minReplicas, and of its idleReplicas: so many are there even if there is nothing to
    /// do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub min_replicas: Option<i32>,
    /// Takes the place of the pool's maxReplicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub max_replicas: Option<i32>,
}

fn default_time_zone() -> String {
    "UTC".to_owned()
}

/// The names of days and months are checked by the operator, with the rest that no pattern of characters shows.
fn cron(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 9,
        "maxLength": 128,
        "x-kubernetes-validations": [{
            "rule": r"self.matches('^[0-9A-Za-z*,/#?-]+( [0-9A-Za-z*,/#?-]+){4}$')",
            "message": "must be five fields of cron, one blank apart: minute, hour, day of month, month, day of week",
        }],
    })
}

/// The rules of each direction.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Behavior {
    /// Rules for a rising count.
    pub scale_up: ScaleUpRules,
    /// Rules for a falling count.
    pub scale_down: ScaleDownRules,
}

/// The rules for a rising count.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ScaleUpRules {
    /// Demand that is for no more than this share more than the count is for raises nothing: "0.1" or
    /// "100m" is a tenth. A number is accepted too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Tolerance>,
    /// The count rises only as far as was asked for during all of this time.
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_window_seconds: i32,
    /// How much may be added in how long. Empty: no limit.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub policies: Vec<ScalingPolicy>,
    /// Which of several policies is the limit for a rising count.
    pub select_policy: SelectPolicy,
}

/// The rules for a falling count.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ScaleDownRules {
    /// Demand that is for no more than this share less than the count is for lowers nothing: "0.1" or
    /// "100m" is a tenth. A number is accepted too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Tolerance>,
    /// The count falls only as far as was asked for during all of this time.
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_window_seconds: i32,
    /// How much may be taken away in how long. Empty: no limit.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub policies: Vec<ScalingPolicy>,
    /// Which of several policies is the limit for a falling count.
    pub select_policy: SelectPolicy,
    /// How long the count may wait for busy workers before it falls all the same; their jobs then end within the grace time
    /// of their pods, or go back to the queue. Absent: as long as it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub drain_timeout_seconds: Option<i32>,
}

impl Default for ScaleDownRules {
    fn default() -> Self {
        Self {
            tolerance: None,
            stabilization_window_seconds: 30,
            policies: Vec::new(),
            select_policy: SelectPolicy::default(),
            drain_timeout_seconds: None,
        }
    }
}

/// At most so much change in so long.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingPolicy {
    /// What `value` counts.
    #[serde(rename = "type")]
    pub kind: ScalingPolicyType,
    /// Replicas, or percent of the replicas that the period began with.
    #[schemars(range(min = 1, max = 100_000))]
    pub value: i32,
    /// The period.
    #[schemars(range(min = 1, max = 1800))]
    pub period_seconds: i32,
}

/// What a policy's value counts.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum ScalingPolicyType {
    /// Replicas.
    Pods,
    /// Percent of the replicas that the period began with.
    Percent,
}

/// Which of several policies is the limit.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum SelectPolicy {
    /// The one that allows the most change.
    #[default]
    Max,
    /// The one that allows the least change.
    Min,
    /// The count never changes in this direction by itself.
    Disabled,
}

/// What to do when the queue cannot be read.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// After how many failed polls in a row.
    #[serde(default = "default_failure_threshold")]
    #[schemars(range(min = 1, max = 1000))]
    pub failure_threshold: i32,
    /// The count to fall back on.
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: i32,
    /// How `replicas` and the current count make one number.
    #[serde(default)]
    pub behavior: FallbackBehavior,
}

fn default_failure_threshold() -> i32 {
    3
}

/// How the fallback's count and the current one make one number.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum FallbackBehavior {
    /// The fallback's count, which may shrink a pool whose queue cannot be read.
    Static,
    /// The current count.
    CurrentReplicas,
    /// The higher of the two, which never shrinks the pool.
    #[default]
    CurrentReplicasIfHigher,
    /// The lower of the two, which may shrink a pool whose queue cannot be read.
    CurrentReplicasIfLower,
}
