//! What `command` and `http` cost beyond the same done by hand, and how many programs a second a worker runs.

mod overhead;
mod rate;

use clap::Args;

#[derive(Args)]
pub(crate) struct Settings {
    /// Jobs of each kind of handler that are timed one after another.
    #[arg(long, default_value_t = 500)]
    samples: u32,
    /// Jobs of each run of many programs.
    #[arg(long, default_value_t = 5000)]
    count: u32,
    /// Runs of many programs by each, taken in turns.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// Prints both tables.
pub(crate) async fn measure(settings: &Settings) -> anyhow::Result<()> {
    overhead::measure(settings.samples).await?;
    rate::measure(settings.count, settings.rounds).await
}
