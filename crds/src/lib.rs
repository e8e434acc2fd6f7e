//! The API types of workerpool.dev, and the CustomResourceDefinitions made from them.
//!
//! [`WorkerPool`] is the pool; its spec is spread over one file a subject: [`redis`], [`queues`], [`scaling`],
//! [`tolerance`], [`worker`], [`handler`], [`target`]; and [`status`] is what the operator says about it. [`Job`], in [`job`], is one piece
//! of work for a pool. What a resource must fulfil is written beside the fields, as OpenAPI and CEL, and is enforced by the API server; [`definition`] makes the
//! CustomResourceDefinition of it, and the `crdgen` program writes that to `crds/yaml/`.
//!
//! `docs/workerpool.md` and `docs/jobs.md` are the references for users.

pub mod conditions;
pub mod definition;
pub mod job;
mod template;
mod workerpool;

pub use job::{Job, JobSpec};
pub use workerpool::{
    WorkerPool, WorkerPoolSpec, handler, queues, redis, scaling, status, target, tolerance, worker,
};

/// The API group of all kinds.
pub const GROUP: &str = "workerpool.dev";
