//! A real cluster, from a user's chair. One file a subject; each test has a namespace of its own, so all run side by side.
//!
//! `dev/test e2e` runs them; how to run one is in docs/testing.md. Without a cluster they fail, they are never skipped.

mod adopted;
mod attacked;
mod beside_python;
mod by_hand;
mod encrypted;
mod endings;
mod failover;
mod from_zero;
mod handlers;
mod jobs;
mod mid_run;
mod owned_deployment;
mod readme;
mod refused;
mod scale_down;
mod secret;
mod shown;

use std::time::Duration;

/// How long a handful of jobs of some seconds may take on a machine of two cores that runs all these tests at once.
const A_WHILE: Duration = Duration::from_secs(180);

/// The Deployments' own name: a pool's Deployment bears the pool's.
const HW7: &str = "hw7";
