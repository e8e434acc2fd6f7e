//! The law beside others on the same traces: how long jobs wait, and what that costs. See docs/scaling.md for what comes of it.
//!
//! - [`trace`]: when jobs come and how long each takes; seeded.
//! - [`fleet`]: the replicas.
//! - [`scaler`]: who decides; [`law`] as the operator does, [`keda`] as KEDA and a HorizontalPodAutoscaler do.
//! - [`run`]: one trace under one scaler, event by event.
//! - [`contest`]: who is compared, and on what; [`plot`] draws it.

pub mod contest;
pub mod fleet;
pub mod keda;
pub mod law;
pub mod plot;
pub mod run;
pub mod scaler;
pub mod trace;
