//! `workerpool-api`: see the library beside it.

use std::process::ExitCode;

use anyhow::Context;
use api::{
    app::app,
    config::{Args, Config},
};
use clap::Parser;
use queue::Producer;
use telemetry::Shutdown;

fn main() -> ExitCode {
    match Args::parse().validate() {
        Ok(config) => telemetry::ended(serve(config)),
        Err(error) => telemetry::refused(error),
    }
}

#[tokio::main]
async fn serve(config: Config) -> anyhow::Result<()> {
    config.logs.init();
    telemetry::abort_on_panic();
    let shutdown = Shutdown::on_signals().context("cannot listen to signals")?;

    let producer = Producer::new(&config.server, config.queue)?;
    let registry = telemetry::registry("api", env!("CARGO_PKG_VERSION"));
    let (router, watch) = app(producer, config.request, &shutdown, registry);

    let listener = telemetry::bind(config.listen_address, "WORKERPOOL_LISTEN_ADDRESS").await?;
    tracing::info!(address = %listener.local_addr()?, redis = %config.server.address, "listening");
    tokio::spawn(watch.run());

    let serve = telemetry::serve(listener, router, &config.limits, shutdown.requested().clone());
    let finished = shutdown.forced().run_until_cancelled(serve).await;
    tracing::info!(in_time = finished.is_some(), "stopped");
    Ok(())
}
