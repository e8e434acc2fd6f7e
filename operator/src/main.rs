//! `workerpool-operator`: see the library beside it.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use clap::Parser;
use kube::{Client, client::ClientBuilder};
use operator::{
    config::{Args, Config, ElectionConfig},
    controller::{self, Parts},
    leader::{self, Election, Guard, Leadership, Timing},
    metrics::{Metrics, PoolCollector},
    queues::Queues,
    watches::Watches,
};
use telemetry::{Health, Limits, Logs, Shutdown};
use tokio_util::sync::CancellationToken;

/// How much later than a watch ends its connection counts as dead.
const READ_TIMEOUT_MARGIN: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match Args::parse().validate() {
        Ok((config, logs)) => telemetry::ended(run(config, logs)),
        Err(error) => telemetry::refused(error),
    }
}

#[tokio::main]
async fn run(config: Config, logs: Logs) -> anyhow::Result<()> {
    logs.init();
    telemetry::abort_on_panic();
    let shutdown = Shutdown::on_signals().context("cannot listen to signals")?;

    let leadership = leadership(&config);
    let (queues, wakes) = Queues::new(leadership.clone());
    let mut registry = telemetry::registry("operator", env!("CARGO_PKG_VERSION"));
    let metrics = Arc::new(Metrics::register(&mut registry));
    registry.register_collector(Box::new(PoolCollector::new(Arc::clone(&metrics), queues.clone())));

    let watches = Watches::default();
    let health = Health::new()
        .ready("up to date", watches.check())
        .ready("leader", leadership.check())
        .warns("leader", leadership.note());
    let endpoints = telemetry::endpoints(health, registry);
    let listener = telemetry::bind(config.telemetry_address, "WORKERPOOL_TELEMETRY_ADDRESS").await?;
    tracing::info!(telemetry = %listener.local_addr()?, "started");
    tokio::spawn(async move {
        telemetry::serve(listener, endpoints, &Limits::default(), CancellationToken::new()).await;
    });

    let cluster = cluster().await?;
    let resign = CancellationToken::new();
    let election = match &config.election {
        Some(election) => {
            let candidate = candidate(&cluster, election, &config.instance, &leadership)?;
            Some(tokio::spawn(candidate.run(resign.clone())))
        }
        None => None,
    };
    let parts = Parts {
        client: guarded(&cluster, &leadership)?,
        jobs_client: guarded(&cluster, &leadership)?,
        queues,
        leadership,
        metrics,
        watches,
    };
    let serve = controller::run(parts, &config, wakes, shutdown.requested().clone());
    let finished = shutdown.forced().run_until_cancelled(serve).await;
    if finished.is_some() && !shutdown.requested().is_cancelled() {
        anyhow::bail!("the controller ended by itself");
    }
    // Only now, for the next one acts at once.
    resign.cancel();
    if let Some(election) = election {
        election.await.context("the election failed")?;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Where the API server is. A watch ends by itself before the read timeout, so what it cuts off is a server that vanished, also
/// while a list or the first answer of a watch is awaited, which kube does not bound.
async fn cluster() -> anyhow::Result<kube::Config> {
    let mut cluster = kube::Config::infer()
        .await
        .context("cannot find out where the API server is")?;
    cluster.read_timeout = Some(controller::WATCH_TIMEOUT + READ_TIMEOUT_MARGIN);
    // Counted from the request, not from when its connection was last used.
    cluster.reset_reader_on_write = true;
    Ok(cluster)
}

fn leadership(config: &Config) -> Leadership {
    if config.election.is_some() {
        Leadership::candidate()
    } else {
        Leadership::permanent(leader::term_by_clock())
    }
}

/// A connection on which nothing is written without leading.
fn guarded(cluster: &kube::Config, leadership: &Leadership) -> anyhow::Result<Client> {
    let client = ClientBuilder::try_from(cluster.clone());
    let client = client.context("cannot set up the connection to the API server")?;
    Ok(client.with_layer(&Guard::new(leadership.clone())).build())
}

/// By a connection of its own, on which nothing else holds it up.
fn candidate(
    cluster: &kube::Config,
    config: &ElectionConfig,
    instance: &str,
    leadership: &Leadership,
) -> anyhow::Result<Election> {
    let mut cluster = cluster.clone();
    // A renewal that is late is not worth sending any more: the next one is.
    cluster.default_retry = false;
    let namespace = config
        .namespace
        .clone()
        .unwrap_or_else(|| cluster.default_namespace.clone());
    let client = Client::try_from(cluster).context("cannot set up the connection to the API server")?;
    let timing = Timing {
        duration: config.duration,
    };
    Ok(Election::new(
        client,
        (&namespace, &config.name),
        instance,
        timing,
        leadership.clone(),
    ))
}
