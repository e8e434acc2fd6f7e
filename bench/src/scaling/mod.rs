//! The operator beside KEDA, on one cluster: how fast a queue's length becomes a replica count, what many of them cost, whether
//! broken ones delay the others, and how many jobs scaling down cuts.
//!
//! `system` is who is compared, `stage` the cluster with its targets, `replicas` an independent watch of their counts, `cost` what
//! is used; then a file for each part. The two take turns: while one is measured the other's programs are not there.

mod cost;
mod downs;
mod isolation;
mod original;
mod reaction;
mod replicas;
mod size;
mod stage;
mod system;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use self::cost::Meter;
use self::downs::Amount;
use self::stage::Stage;
use self::system::System;

#[derive(Args)]
pub(crate) struct Settings {
    /// Where Redis is, as this program and pods reach it: IP:PORT.
    #[arg(long)]
    redis: String,
    /// The namespace in which all is made; it must exist.
    #[arg(long)]
    namespace: String,
    /// The cluster's name.
    #[arg(long)]
    cluster: String,
    /// This part only.
    #[arg(long)]
    only: Option<Part>,
    /// This system only.
    #[arg(long)]
    system: Option<Which>,
    /// Samples of each change where it takes milliseconds (100); scale-downs of ours (1000); the original's jobs (200).
    #[arg(long)]
    samples: Option<usize>,
    /// Samples of each change where it takes minutes (4); scale-downs of KEDA (100).
    #[arg(long)]
    few: Option<usize>,
    /// How many objects, one after another.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 1000])]
    sizes: Vec<usize>,
    /// Seconds in which so many objects may become ready.
    #[arg(long, default_value_t = 300)]
    patience: u64,
    /// Pools side by side that are scaled down.
    #[arg(long, default_value_t = 5)]
    pools: usize,
    /// Scale Deployments that exist, and not the pools' own.
    #[arg(long)]
    adopted: bool,
    /// Seconds after which no more scale-downs are waited for.
    #[arg(long, default_value_t = 3600)]
    bound: u64,
    /// Where to draw the plot.
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Reaction,
    Size,
    Isolation,
    Downs,
    Original,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Ours,
    Keda,
}

/// Prints a table for each part.
pub(crate) async fn measure(settings: Settings) -> anyhow::Result<()> {
    let systems: &[System] = match settings.system {
        None => &[System::Workerpool, System::Keda],
        Some(Which::Ours) => &[System::Workerpool],
        Some(Which::Keda) => &[System::Keda],
    };
    let only = settings.only;
    let (samples, few) = (settings.samples.unwrap_or(100), settings.few.unwrap_or(4));
    let stage = Stage::set(settings.redis, settings.namespace).await?;
    let is_wanted = |part| only.is_none_or(|only| only == part);
    if is_wanted(Part::Reaction) {
        reaction::measure(&stage, systems, samples, few, settings.plots.as_deref()).await?;
    }
    if is_wanted(Part::Isolation) {
        isolation::measure(&stage, systems, samples, few).await?;
    }
    if is_wanted(Part::Size) {
        let meter = Meter {
            client: stage.client.clone(),
            redis: stage.redis.clone(),
            cluster: settings.cluster,
        };
        let patience = Duration::from_secs(settings.patience);
        size::measure(&stage, &meter, systems, &settings.sizes, (samples, few), patience).await?;
    }
    if is_wanted(Part::Downs) {
        let amount = Amount {
            pools: settings.pools,
            downs: settings.samples.unwrap_or(1000),
            downs_of_keda: settings.few.unwrap_or(100),
            is_adopted: settings.adopted,
            bound: Duration::from_secs(settings.bound),
        };
        downs::measure(&stage, systems, &amount).await?;
    }
    if is_wanted(Part::Original) {
        original::measure(&stage, systems, settings.samples.unwrap_or(200)).await?;
    }
    Ok(())
}
