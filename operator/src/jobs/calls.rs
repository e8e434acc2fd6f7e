//! From a step to Kubernetes and Redis. Each call can be repeated: what was done already stays done.

use std::time::Duration;

use crds::job::status::JobStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, PartialObjectMeta, Patch, PatchParams, Preconditions, Request},
};
use queue::{JobId, JobOptions, NewJob, Payload, Producer};
use serde_json::json;

use super::{
    entry::{Entry, Rejection},
    objects::WholeJob,
};
use crate::error::{self, Error};

/// Who writes finalizers.
const MANAGER: &str = "workerpool-operator/jobs";
/// Who writes the status.
const STATUS_MANAGER: &str = "workerpool-operator/job-status";
/// The least that can be asked for of an object: its payload is not sent back with each answer.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// A Job by its name, its identity, and its version and finalizers as last seen.
pub(super) struct Target {
    namespace: String,
    name: String,
    uid: String,
    id: Option<JobId>,
    version: String,
}

impl Target {
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            namespace: entry.namespace.clone(),
            name: entry.name.clone(),
            uid: entry.uid.to_string(),
            id: entry.id(),
            version: entry.version.clone(),
        }
    }

    /// Reads it.
    pub(super) async fn read(&self, client: &Client) -> Result<WholeJob, Error> {
        let jobs: Api<WholeJob> = Api::namespaced(client.clone(), &self.namespace);
        error::call("read a Job", jobs.get(&self.name)).await
    }

    /// Puts it under these finalizers and reads it, in one call, if nobody wrote it since it was last seen.
    pub(super) async fn keep(&self, client: &Client, finalizers: &[String]) -> Result<WholeJob, Error> {
        let jobs: Api<WholeJob> = Api::namespaced(client.clone(), &self.namespace);
        let patch = self.finalizers(finalizers);
        error::call(
            "put a Job under its finalizer",
            jobs.patch(&self.name, &manager(), &patch),
        )
        .await
    }

    /// Leaves it these finalizers, if nobody wrote it since it was last seen.
    pub(super) async fn release(&self, client: &Client, finalizers: &[String]) -> Result<ObjectMeta, Error> {
        let jobs: Api<WholeJob> = Api::namespaced(client.clone(), &self.namespace);
        let patch = self.finalizers(finalizers);
        let manager = manager();
        let call = jobs.patch_metadata(&self.name, &manager, &patch);
        Ok(error::call("take the finalizer off a Job", call).await?.metadata)
    }

    fn finalizers(&self, finalizers: &[String]) -> Patch<serde_json::Value> {
        Patch::Merge(json!({"metadata": {"resourceVersion": self.version, "finalizers": finalizers}}))
    }

    /// Writes the status.
    pub(super) async fn write(&self, client: &Client, status: &JobStatus) -> Result<ObjectMeta, Error> {
        let patch = Patch::Apply(json!({
            "apiVersion": crds::Job::api_version(&()),
            "kind": crds::Job::kind(&()),
            "metadata": {"uid": self.uid},
            "status": status,
        }));
        let url = crds::Job::url_path(&(), Some(&self.namespace));
        let params = PatchParams::apply(STATUS_MANAGER).force();
        let call = async {
            let request = Request::new(url).patch_subresource("status", &self.name, &params, &patch);
            let mut request = request.map_err(kube::Error::BuildRequest)?;
            let accept = http::HeaderValue::from_static(METADATA_ONLY);
            request.headers_mut().insert(http::header::ACCEPT, accept);
            client.request::<PartialObjectMeta<crds::Job>>(request).await
        };
        Ok(error::call("write the status of a Job", call).await?.metadata)
    }

    /// Deletes it.
    pub(super) async fn delete(&self, client: &Client) -> Result<(), Error> {
        let jobs: Api<PartialObjectMeta<crds::Job>> = Api::namespaced(client.clone(), &self.namespace);
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(self.uid.clone()),
                resource_version: None,
            }),
            ..DeleteParams::background()
        };
        error::call("delete a Job", jobs.delete(&self.name, &params)).await?;
        Ok(())
    }
}

fn manager() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// Why a Job was not submitted.
#[derive(Debug)]
pub(super) enum NotSubmitted {
    /// Kubernetes could not be asked for it.
    Unread(Error),
    /// It is being deleted, or is another of the same name: the watch tells.
    Gone,
    /// Redis did not take it; it may take it later.
    Untaken(queue::Error),
    /// It cannot be taken, ever.
    Rejected(Rejection),
}

/// Reads a Job, under these finalizers if it is not yet, and puts it into the queue. Answers the Job as it is then, as far as that
/// is known, and when it was submitted.
pub(super) async fn submit(
    client: &Client,
    producer: &Producer,
    target: &Target,
    finalizers: Option<&[String]>,
) -> (Option<ObjectMeta>, Result<Option<u64>, NotSubmitted>) {
    let read = match finalizers {
        Some(finalizers) => target.keep(client, finalizers).await,
        None => target.read(client).await,
    };
    let WholeJob { metadata, spec } = match read {
        Ok(job) => job,
        Err(error) => return (None, Err(NotSubmitted::Unread(error))),
    };
    if metadata.deletion_timestamp.is_some() || metadata.uid.as_deref() != Some(&target.uid) {
        return (None, Err(NotSubmitted::Gone));
    }
    let Some(id) = target.id.clone() else {
        return (None, Err(NotSubmitted::Gone));
    };
    let payload = spec
        .payload
        .map(|payload| Payload::new(String::from(Box::<str>::from(payload))));
    let payload = match payload.transpose() {
        Ok(payload) => payload,
        Err(error) => return (Some(metadata), Err(rejected(error))),
    };
    let job = NewJob {
        id,
        payload,
        options: JobOptions {
            max_attempts: spec.max_attempts,
            timeout: spec
                .timeout_seconds
                .map(|seconds| Duration::from_secs(seconds.into())),
            watched: true,
        },
        ..NewJob::new(spec.start, spec.end)
    };
    let answer = producer.submit(job).await;
    (
        Some(metadata),
        answer.map(|job| job.submitted_ms).map_err(rejected),
    )
}

fn rejected(error: queue::Error) -> NotSubmitted {
    let reason = match &error {
        queue::Error::TooLarge { .. } => "PayloadTooLarge",
        queue::Error::Malformed { .. } => "PayloadMalformed",
        queue::Error::Conflict(_) => "IdTaken",
        _ => return NotSubmitted::Untaken(error),
    };
    NotSubmitted::Rejected(Rejection {
        reason,
        message: error.to_string(),
    })
}
