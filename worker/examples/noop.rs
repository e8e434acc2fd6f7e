//! A worker whose jobs are done at once: the least that a worker of your own has, and what `bench/` measures.
//!
//!     cargo run --release --example noop -- --redis-address localhost --concurrency 1000

use clap::Parser;
use worker::{Context, Outcome, config::WorkerArgs, program};

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    worker: WorkerArgs,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let config = Args::parse().worker.validate()?;
    program::run(config, |_: Context| async { Outcome::Done }).await
}
