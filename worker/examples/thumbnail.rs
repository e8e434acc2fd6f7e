//! A worker of your own: makes a picture as high as the job says, says how far it is, and stops when it must.
//!
//!     cargo run --example thumbnail -- --redis-address localhost --job-timeout-seconds 60

use clap::Parser;
use queue::JobResult;
use worker::{Context, Outcome, config::WorkerArgs, program};

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    worker: WorkerArgs,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    program::run(Args::parse().worker.validate()?, thumbnail).await
}

/// One row after the other.
pub(crate) async fn thumbnail(job: Context) -> Outcome {
    let rows: u64 = job.job.end.parse().unwrap_or(64);
    let mut picture = format!("P1\n1 {rows}\n");
    for row in 0..rows {
        job.progress(u8::try_from(row * 100 / rows).ok(), format!("row {row}"));
        if job
            .stop
            .run_until_cancelled(paint(&mut picture, row))
            .await
            .is_none()
        {
            return Outcome::Stopped; // It is past `job.deadline`, cancelled, or this worker ends: `job.stop_reason()`.
        }
    }
    JobResult::new("image/x-portable-bitmap", picture).into()
}

async fn paint(picture: &mut String, row: u64) {
    // The least that takes time: what computes for long goes to `tokio::task::spawn_blocking`.
    tokio::task::yield_now().await;
    picture.push_str(if row.is_multiple_of(2) { "0\n" } else { "1\n" });
}
