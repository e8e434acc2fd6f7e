//! The hands of the tests on a real cluster (`tests/cluster`, `tests/operator_dies.rs`, `tests/upgrade.rs`): they act as a user does (`kubectl`, `curl`, Python's redis-py and
//! HotQueue) and look at what a user can see (Kubernetes objects, HTTP answers, Redis).
//!
//! A test runs [`in_namespace`]: the product is installed once for the whole run ([`install`]), and each test gets a namespace of
//! its own with its own Redis and API, so that tests run side by side and can be repeated. [`wait::eventually`] is the one
//! way to wait: a condition, a deadline, and what was last seen when it fails. Two independent witnesses watch a run:
//! [`CountHistory`] records every replica count that a Deployment was given, [`Witness`] every status that a job was given.

mod api;
mod busy;
mod certificates;
mod counts;
mod data;
mod fixtures;
mod install;
mod manifest;
mod namespace;
mod operator;
mod pool;
mod process;
mod replica;
mod tally;
pub mod wait;
mod witness;

pub use api::Api;
pub use busy::{three_workers_busy_with_nine_jobs, waves_of_jobs};
pub use counts::CountHistory;
pub use data::{Data, Job};
pub use fixtures::{Fixtures, JobFate, StoredDeployment};
pub use install::established;
pub use manifest::{job, pool, sleeping, sleeping_without_grace};
pub use namespace::{Namespace, in_namespace};
pub use operator::{kill_leader_beside_a_standby, kill_operator, without_operator};
pub use pool::{Condition, Pool};
pub use process::Outcome;
pub use replica::{Replica, local_replica};
pub use tally::Tally;
pub use witness::{Transition, Witness};

use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a handful of jobs of some seconds may take on a machine of two cores that runs all these tests at once.
pub const A_WHILE: Duration = Duration::from_secs(180);

/// The pools' own name, and so their Deployments'.
pub const HW7: &str = "hw7";

/// The project's root folder: what a user applies lies below it.
#[must_use]
pub fn project() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
