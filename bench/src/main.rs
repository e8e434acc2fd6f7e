//! Measured side by side with what people would use instead.
//!
//! Each subcommand makes one table of docs/benchmarks.md; `make bench-NAME` runs it with what it needs around it. A figure
//! is printed with its spread, and a peer is measured in the same run, because two runs on one machine differ by more than
//! most of what we would like to claim.
//!
//! `stats` turns samples into a row; `process` starts and stops what is measured; `peer` says who is compared and `stage`
//! runs one of them; the rest is one file a table.
#![allow(clippy::print_stdout)] // The tables are this program's answer.

mod handlers;
mod jobs;
mod latency;
mod losses;
mod noop;
mod peer;
mod process;
mod reaction;
mod rest;
mod scaling;
mod stage;
mod start;
mod stats;
mod submit;
mod throughput;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::peer::Programs;

/// Makes the tables of docs/benchmarks.md.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    table: Table,
}

#[derive(Subcommand)]
enum Table {
    /// A foreign RPUSH until the Deployment's new replica count is seen by an independent watch.
    Reaction {
        /// Samples of each change.
        #[arg(long, default_value_t = 100)]
        samples: usize,
        /// Where Redis is, as this program and the operator both reach it: HOST:PORT.
        #[arg(long)]
        redis: String,
        /// The namespace in which the pool is made; it must exist.
        #[arg(long)]
        namespace: String,
    },
    /// Job resources: thousands at once, and one until its program starts, beside batch/v1.
    Jobs(jobs::Settings),
    /// What the handlers `command` and `http` cost beyond the same done by hand; programs per second beside xargs and parallel.
    Handlers(handlers::Settings),
    /// The operator beside KEDA: reaction, what many objects cost, isolation.
    Scaling(scaling::Settings),
    /// POST /jobs until the job is `in progress` on an idle warm worker.
    Start {
        /// Jobs measured, after a tenth as many that warm up.
        #[arg(long, default_value_t = 1000)]
        samples: usize,
    },
    /// POST /jobs under wrk, beside a handler without Redis and the original's Flask program.
    Submit {
        /// Seconds of each run of wrk.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Runs of each server, taken in turns.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// The Python that has flask, hotqueue and redis.
        #[arg(long, env = "WORKERPOOL_PYTHON")]
        python: PathBuf,
        /// The original's API, with its Redis and its port as arguments.
        #[arg(long)]
        original: PathBuf,
    },
    /// Memory of the API and the worker at rest.
    Rest,
    /// No-op jobs per second of one worker process, and of one producer, beside other queues.
    Throughput {
        /// Runs of each, taken in turns.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        #[command(flatten)]
        peers: Peers,
    },
    /// Enqueue until the handler begins, on an idle warm worker, beside other queues.
    Latency {
        /// Jobs measured in each run.
        #[arg(long, default_value_t = 200)]
        samples: u32,
        /// Runs of each, taken in turns.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        #[command(flatten)]
        peers: Peers,
    },
    /// Jobs lost and done twice under kill -9 of the worker, beside other queues.
    Losses {
        /// Seconds in which jobs may still come back. Two of the peers take ten minutes.
        #[arg(long, default_value_t = 720)]
        patience: u64,
        #[command(flatten)]
        peers: Peers,
    },
    /// The handler without Redis, as a server: the ceiling that `submit` compares with.
    #[command(hide = true)]
    Noop { listen: SocketAddr },
}

#[derive(ClapArgs)]
struct Peers {
    /// Where bench/peers/install put the other queues.
    #[arg(long, value_name = "FOLDER")]
    peers: PathBuf,
    /// Only those whose name contains this.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

impl Peers {
    fn programs(&self) -> anyhow::Result<Programs> {
        let ours = process::ours("ours")?;
        Ok(Programs {
            peers: self.peers.clone(),
            ours: ours.parent().map(PathBuf::from).unwrap_or_default(),
        })
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Args::parse().table {
        Table::Reaction {
            samples,
            redis,
            namespace,
        } => reaction::measure(samples, &redis, &namespace).await,
        Table::Jobs(settings) => jobs::measure(settings).await,
        Table::Scaling(settings) => scaling::measure(settings).await,
        Table::Handlers(settings) => handlers::measure(&settings).await,
        Table::Start { samples } => start::measure(samples).await,
        Table::Submit {
            seconds,
            rounds,
            python,
            original,
        } => submit::measure(seconds, rounds, &python, &original).await,
        Table::Rest => rest::measure().await,
        Table::Throughput { rounds, peers } => {
            throughput::measure(rounds, peers.only.as_deref(), &peers.programs()?).await
        }
        Table::Latency {
            samples,
            rounds,
            peers,
        } => latency::measure(samples, rounds, peers.only.as_deref(), &peers.programs()?).await,
        Table::Losses { patience, peers } => {
            let patience = Duration::from_secs(patience);
            losses::measure(patience, peers.only.as_deref(), &peers.programs()?).await
        }
        Table::Noop { listen } => noop::serve(listen).await,
    }
}
