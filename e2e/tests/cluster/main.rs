//! A real cluster, from a user's chair. One file a subject; each test has a namespace of its own, so all run side by side.
//!
//! `dev/test e2e` runs them; how to run one is in docs/testing.md. Without a cluster they fail, they are never skipped.

mod admission;
mod adopted;
mod attacked;
mod autoscaled;
mod beside_python;
mod by_hand;
mod encrypted;
mod endings;
mod failover;
mod from_zero;
mod handlers;
mod jobs;
mod owned_deployment;
mod readme;
mod redis_gone;
mod refused;
mod scale_down;
mod secret;
mod several;
mod shown;
mod targets;
mod troubles;
