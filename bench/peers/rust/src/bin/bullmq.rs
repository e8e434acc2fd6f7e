//! BullMQ's own port to Rust.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Context;
use bullmq::worker::{CancellationToken, ProcessorFn};
use bullmq::{BulkJob, Error, Job, Queue, QueueOptions, Worker, WorkerOptions};
use peers::marks::Marker;
use peers::produce::{self, Put};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (mode, amount) = produce::arguments()?;
    let url = format!("redis://127.0.0.1:{}", produce::redis_port()?);
    if mode != "work" {
        let mut options = QueueOptions::default();
        options.connection.url = url;
        let queue = Queue::with_options("jobs", options).await?;
        return produce::run(&mode, amount, &mut Jobs(queue)).await;
    }
    let marker = Arc::new(Marker::from_env()?);
    let job: ProcessorFn = Arc::new(move |job: Job, _stop: CancellationToken| {
        let marker = Arc::clone(&marker);
        Box::pin(async move {
            let number = serde_json::from_value(job.data().clone())?;
            marker
                .job(number)
                .await
                .map_err(|error| Error::ProcessingError(error.to_string()))?;
            Ok(serde_json::Value::Null)
        })
    });
    let mut options = WorkerOptions::default();
    options.connection.url = url;
    options.concurrency = usize::try_from(amount)?;
    let _worker = Worker::with_options("jobs", job, options).await?;
    std::future::pending().await
}

struct Jobs(Queue);

impl Put for Jobs {
    async fn put(&mut self, number: u32) -> anyhow::Result<()> {
        self.0.add("job", number).await.context("add")?;
        Ok(())
    }

    async fn put_many(&mut self, numbers: Range<u32>) -> anyhow::Result<()> {
        let jobs = numbers.map(|number| BulkJob::new("job", number)).collect();
        self.0.add_bulk(jobs).await.context("add_bulk")?;
        Ok(())
    }
}
