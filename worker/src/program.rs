//! A worker as a program: signals, logs, probes and metrics around a [`Worker`].

use std::time::Duration;

use anyhow::Context;
use telemetry::{Condition, Health, Limits, Shutdown};
use tokio_util::sync::CancellationToken;

use crate::{Handler, Metrics, Worker, config::Config, progress};

/// Names of the setting that chooses the endpoints' address.
const TELEMETRY_SETTING: &str = "WORKERPOOL_TELEMETRY_ADDRESS; of a WorkerPool: spec.worker.telemetryPort";

/// Works until SIGTERM or SIGINT, and then ends in order: see [`Worker::run`]. To be called once in a process,
/// within a tokio runtime that has its timers and its network enabled. On one thread jobs start sooner and more of them
/// pass per second; several are for handlers that compute.
///
/// # Errors
/// If it cannot start.
pub async fn run<H: Handler>(config: Config, handler: H) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals().context("cannot listen to signals")?;
    run_until(config, handler, shutdown).await
}

/// As [`run`], until `shutdown` is asked for.
///
/// # Errors
/// If it cannot start.
pub async fn run_until<H: Handler>(config: Config, handler: H, shutdown: Shutdown) -> anyhow::Result<()> {
    let Config {
        logs,
        telemetry_address: address,
        access,
        settings,
    } = config;
    logs.init();
    // A handler's panic is a failed attempt, and what it spawned may panic too; the worker's own tasks are vital.
    telemetry::log_panics();

    let mut registry = telemetry::registry("worker", env!("CARGO_PKG_VERSION"));
    let metrics = Metrics::register(&mut registry);
    handler.register(&mut registry);
    let worker = Worker::new(access.consumers()?, handler, settings, &metrics);

    let alive = Condition::passing();
    let health = Health::new()
        .live("progress", alive.check())
        .warns("redis", worker.risks().check())
        .warns("handler", worker.handler_warnings());
    let listener = telemetry::bind(address, TELEMETRY_SETTING).await?;
    let address = listener.local_addr()?;
    let endpoints = telemetry::endpoints(health, registry).merge(worker.progress_routes(address));
    tracing::info!(telemetry = %address, "started");

    // Both until the very end: a draining worker is still to be seen and scraped.
    let limits = Limits {
        drain_timeout: Duration::ZERO,
        ..Limits::default()
    };
    tokio::spawn(telemetry::vital(async move {
        telemetry::serve(listener, endpoints, &limits, CancellationToken::new()).await;
    }));
    let watch = progress::watch(worker.progress(), alive, move || {
        let access = access.clone();
        async move { access.ping().await }
    });
    tokio::spawn(telemetry::vital(watch));

    // A task like its handlers': the one that `main` waits in is not woken as fast.
    tokio::spawn(async move { worker.run(&shutdown).await })
        .await
        .context("the worker itself panicked")?;
    tracing::info!("stopped");
    Ok(())
}
