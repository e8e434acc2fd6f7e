//! Takes jobs, runs them, gives results back.
//!
//! Without settings it is the original's worker: it takes an id, writes `in progress` and its IP, sleeps 15 s,
//! writes `complete`. Around that it keeps leases, so that a job whose worker dies is run by another one, and a
//! worker that was thought dead cannot write any more. docs/worker.md says what a user needs to know.
//!
//! A worker with work of your own is a [`Handler`] and a `main`: `examples/noop.rs`.
//!
//! Where to look: `main` (the stock worker), [`program`] (wire, join), [`config`], [`handler`] (what is done with a
//! job), `run` (the life of a worker), `slots` (room for jobs), `claim` (takes jobs), `attempt` (runs a handler), `endings` (tells Redis how
//! it ended), `drain` (the end), `held` (what this worker holds), `chores` (leases, registry, ticks), `risks` (is
//! Redis set up to keep jobs?), [`progress`] (liveness), `outage` (what is logged when Redis is away), `metrics`.

mod attempt;
mod callback;
mod chores;
mod claim;
pub mod config;
pub mod copy;
mod drain;
mod endings;
pub mod handler;
mod held;
mod metrics;
mod outage;
pub mod program;
pub mod progress;
mod reports;
mod risks;
mod run;
mod slots;

pub use handler::{Context, Handler, Outcome, STOP_PATIENCE, StopReason};
pub use metrics::Metrics;
pub use run::{Settings, Worker};
