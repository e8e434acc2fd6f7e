//! Watches WorkerPools, decides, applies.
//!
//! The way of a change: Redis tells of it → [`queues`] reads the queue and wakes the pool → [`reconcile`] observes, decides by
//! the law of the `scaling` crate, applies, and reports. Where to look:
//!
//! - [`config`]: the program's settings. `main` parses, wires and joins.
//! - [`controller`]: what is watched in Kubernetes, and the one place where results end up.
//! - [`watches`]: how far those have come, and what they wait for; [`decoding`]: objects that cannot be decoded.
//! - [`context`]: what reconciling is given, and what it remembers of each pool.
//! - [`reconcile`]: one pool, once: observe → decide → apply → report, on one screen; [`observe`] and [`apply`] are its ends.
//! - [`leader`]: of several operators, which one acts.
//! - [`queues`]: the watch on Redis.
//! - [`targets`]: what is scaled, of whichever kind.
//! - [`scale_down`]: which pods may go.
//! - [`pods`]: why pods are not ready.
//! - [`restore`]: what a target had, given back.
//! - [`jobs`]: Job resources, beside all that.
//! - [`drift`]: when what others changed in a pool's own Deployment is put back; pure.
//! - [`deployment`], [`status`], [`explanation`], [`policy`], [`demand`], [`bounds`], [`starts`], [`terms`]: pure; what is to be made of a pool.
//! - [`foreign`]: where an adopted target's pods are, whose workers may not be ours.
//! - [`source`], [`claims`], [`autoscalers`], [`refusal`]: what only the cluster can know of a pool.
//! - [`objects`]: Kubernetes objects as far as they are looked at; [`error`], [`events`], [`metrics`].
//!
//! `docs/operator.md` says the same for those who run it.

pub mod apply;
pub mod autoscalers;
pub mod bounds;
pub mod claims;
pub mod config;
pub mod context;
pub mod controller;
pub mod decoding;
pub mod demand;
pub mod deployment;
pub mod drift;
pub mod error;
pub mod events;
pub mod explanation;
pub mod foreign;
pub mod jobs;
pub mod leader;
pub mod metrics;
pub mod objects;
pub mod observe;
pub mod pods;
pub mod policy;
pub mod queues;
pub mod reconcile;
pub mod refusal;
pub mod restore;
pub mod scale_down;
mod schedule;
pub mod selector;
pub mod source;
pub mod starts;
pub mod status;
pub mod targets;
pub mod terms;
pub mod watches;

/// A pool by its namespace and name.
pub type PoolRef = kube::runtime::reflector::ObjectRef<crds::WorkerPool>;
