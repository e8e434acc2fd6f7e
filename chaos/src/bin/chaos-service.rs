//! A service that does what jobs tell it, for the worker's handler `http`.
//!
//! It leaves the end out of a job whose connection is closed: the worker wants it no more.

use std::{future::pending, net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context;
use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use chaos::{
    effects::{Effects, End},
    work::Work,
};
use clap::Parser;
use serde::Deserialize;
use telemetry::{Limits, Shutdown, serve};
use tokio::{net::TcpListener, time::sleep};

#[derive(Parser)]
struct Args {
    /// Where it listens
    #[arg(long)]
    address: SocketAddr,

    /// The file of this process's side effects
    #[arg(long)]
    effects: PathBuf,
}

#[derive(Deserialize)]
struct Job {
    id: String,
    start: String,
    attempt: u32,
}

async fn job(State(effects): State<Arc<Effects>>, Json(job): Json<Job>) -> StatusCode {
    let Ok(number) = effects.start(&job.id, job.attempt) else {
        return StatusCode::INTERNAL_SERVER_ERROR;
    };
    let end = work(&job).await;
    match (effects.end(number, &job.id, job.attempt, end), end) {
        (Ok(()), End::Done) => StatusCode::NO_CONTENT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn work(job: &Job) -> End {
    match job.start.parse() {
        Ok(Work::Sleep(time)) => sleep(time).await,
        Ok(Work::Fail(times, time)) => {
            sleep(time).await;
            if job.attempt <= times {
                return End::Failed;
            }
        }
        Ok(Work::Hang) => pending().await,
        Ok(Work::Poison) => std::process::abort(),
        Err(_) => return End::Failed,
    }
    End::Done
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let effects = Effects::open(&args.effects).with_context(|| args.effects.display().to_string())?;
    let app = Router::new()
        .route("/jobs", post(job))
        .with_state(Arc::new(effects));
    let shutdown = Shutdown::on_signals()?;
    let limits = Limits {
        connections: 10_000,
        ..Limits::default()
    };
    let listener = TcpListener::bind(args.address).await?;
    serve(listener, app, &limits, shutdown.requested().clone()).await;
    Ok(())
}
