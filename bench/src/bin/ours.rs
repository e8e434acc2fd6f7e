//! Our side of the comparisons: the producer and the worker's program, told what every peer's program is told.

use std::ops::Range;

use clap::Parser;
use futures::future::try_join_all;
use queue::{Address, NewJob, Producer, Queue, Server};
use worker::config::WorkerArgs;
use worker::{Context, Handler, Outcome, program};
use workerpool_bench::marks::Marker;
use workerpool_bench::produce::{self, Put};

#[derive(Parser)]
struct WorkerProgram {
    #[command(flatten)]
    worker: WorkerArgs,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (mode, amount) = produce::arguments()?;
    let port = produce::redis_port()?;
    if mode == "work" {
        return work(port, amount).await;
    }
    let server = Server::new(Address {
        host: "127.0.0.1".to_owned(),
        port,
    });
    let producer = Producer::new(&server, Queue::new("queue".parse()?))?;
    produce::run(&mode, amount, &mut Jobs(producer)).await
}

/// The whole program, probes and metrics included; as quiet as the peers are told to be.
async fn work(port: u16, concurrency: u32) -> anyhow::Result<()> {
    let redis = format!("--redis-address=127.0.0.1:{port}");
    let concurrency = format!("--concurrency={concurrency}");
    let flags = [
        "ours",
        &redis,
        &concurrency,
        "--telemetry-address=127.0.0.1:0",
        "--log=warn",
    ];
    let config = WorkerProgram::parse_from(flags).worker.validate()?;
    program::run(config, Marks(Marker::from_env()?)).await
}

struct Marks(Marker);

impl Handler for Marks {
    async fn handle(&self, context: Context) -> Outcome {
        let Ok(number) = context.job.start.parse() else {
            return Outcome::failed("the job has no number");
        };
        match self.0.job(number).await {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::failed(error),
        }
    }
}

struct Jobs(Producer);

impl Put for Jobs {
    async fn put(&mut self, number: u32) -> anyhow::Result<()> {
        self.0.submit(job(number)).await?;
        Ok(())
    }

    /// Submissions that arrive together share a script call.
    async fn put_many(&mut self, numbers: Range<u32>) -> anyhow::Result<()> {
        try_join_all(numbers.map(|number| self.0.submit(job(number)))).await?;
        Ok(())
    }
}

fn job(number: u32) -> NewJob {
    NewJob::new(number.to_string(), String::new())
}
