//! Jobs as far as they are looked at.

use crds::{Job, job::status::JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::objects::prune;

/// A Job as it is watched: without its payload and its result, of which five thousand would fill the memory.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Job)]
pub(super) struct WatchedJob {
    /// Without labels, annotations and managed fields; one of the annotations may be the whole Job.
    pub(super) metadata: ObjectMeta,
    pub(super) spec: WatchedSpec,
    #[serde(default)]
    pub(super) status: JobStatus,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WatchedSpec {
    pub(super) pool_name: String,
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) ttl_seconds_after_finished: Option<i32>,
}

impl WatchedJob {
    /// Takes away what nobody reads.
    pub(super) fn prune(&mut self) {
        prune(&mut self.metadata);
        self.metadata.labels = None;
        self.metadata.annotations = None;
        self.status.result = None;
    }
}

/// A Job as it is submitted: read once, and not kept.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Job)]
pub(super) struct WholeJob {
    pub(super) metadata: ObjectMeta,
    pub(super) spec: WholeSpec,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[derive(Default)]
pub(super) struct WholeSpec {
    pub(super) start: String,
    pub(super) end: String,
    /// As the API server wrote it, which is the same each time.
    pub(super) payload: Option<Box<RawValue>>,
    pub(super) max_attempts: Option<u32>,
    pub(super) timeout_seconds: Option<u32>,
}
