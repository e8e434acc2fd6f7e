//! What the three programs share: logs, metrics, health, shutdown.
//!
//! A program's `main` uses the parts in this order:
//!
//! 1. [`TelemetryArgs`] (or [`LogArgs`] alone, where the endpoints share the program's own port) are
//!    flattened into its clap flags, and [`ignore_empty_variable`] makes empty variables absent; [`LogArgs::validate`] and
//!    [`Logs::init`] start the log.
//! 2. [`registry`] makes the metrics registry, into which each part of the program registers its metrics.
//! 3. [`Health`] collects the conditions that `/healthz` and `/readyz` report, and the [`Warnings`] that they only
//!    show.
//! 4. [`endpoints()`] turns both into an [`axum::Router`], to merge into a program's own or to [`serve`] alone, on a
//!    listener from [`bind`].
//! 5. [`Outage`] logs what many calls run into at once, without saying it as often.
//! 6. [`abort_on_panic`] ends a process that has lost one of its tasks, unless [`catch_panic`] is around the panic: then one
//!    pool, server, Job or request fails, and the others go on. [`log_panics`] is for programs that survive others,
//!    but for those of [`vital`] tasks.
//! 7. [`Shutdown`] tells everything when to stop: politely on the first signal, at once on the second.
//! 8. [`ended`] and [`refused`] turn errors into one line and an exit code.

mod args;
mod endpoints;
mod exit;
mod health;
mod listener;
mod logs;
mod metrics;
mod outage;
mod panics;
mod server;
mod settings;
mod shutdown;
mod warnings;

pub use args::TelemetryArgs;
pub use endpoints::endpoints;
pub use exit::{ended, refused};
pub use health::{Condition, Health};
pub use listener::{BindError, bind};
pub use logs::{InvalidLogFilter, LogArgs, LogFormat, Logs};
pub use metrics::registry;
pub use outage::Outage;
pub use panics::{Panicked, abort_on_panic, catch_panic, catch_panic_now, log_panics, vital};
pub use server::{Limits, serve};
pub use settings::ignore_empty_variable;
pub use shutdown::Shutdown;
pub use warnings::Warnings;
