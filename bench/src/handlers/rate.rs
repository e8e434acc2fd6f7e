//! Programs per second: a worker whose jobs are /bin/true, beside what a person runs many programs with.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use futures::future::try_join_all;
use queue::test_server::RedisServer;
use queue::{NewJob, Observer, Producer, Queue};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::process::{free_address, ours};
use crate::stats::Spread;

const PROGRAM: &str = "/bin/true";
const QUEUE: &str = "queue";
/// Jobs that are submitted together.
const BATCH: u32 = 1000;
/// Jobs that have not ended by then never will.
const DEADLINE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(10);

#[derive(Clone, Copy)]
enum Runner {
    Ours,
    Xargs,
    Parallel,
}

/// Which, with how many programs at once. More than cores, too: a program is not always on one.
const RUNNERS: [(Runner, u32); 8] = [
    (Runner::Ours, 2),
    (Runner::Ours, 4),
    (Runner::Ours, 16),
    (Runner::Xargs, 2),
    (Runner::Xargs, 4),
    (Runner::Xargs, 16),
    (Runner::Parallel, 2),
    (Runner::Parallel, 4),
];

/// Prints a row for each.
pub(super) async fn measure(count: u32, rounds: usize) -> anyhow::Result<()> {
    let mut rates = vec![Vec::new(); RUNNERS.len()];
    let has_parallel = is_there("parallel").await;
    for _ in 0..rounds {
        for ((runner, at_once), rates) in RUNNERS.into_iter().zip(&mut rates) {
            let taken = match runner {
                Runner::Ours => worker(count, at_once).await?,
                Runner::Xargs => piped("xargs", &["-n1", &format!("-P{at_once}"), PROGRAM], count).await?,
                Runner::Parallel if has_parallel => {
                    piped("parallel", &[&format!("-j{at_once}"), PROGRAM], count).await?
                }
                Runner::Parallel => continue,
            };
            rates.push(f64::from(count) / taken.as_secs_f64());
        }
    }
    println!("{count} times {PROGRAM}, from the runner's start to the last one's end");
    println!("| min / median / max of {rounds} | programs/s |");
    println!("|---|---|");
    for ((runner, at_once), rates) in RUNNERS.into_iter().zip(rates) {
        let name = match runner {
            Runner::Ours => format!("**workerpool**, concurrency {at_once}, enqueued beforehand"),
            Runner::Xargs => format!("xargs -P{at_once} -n1"),
            Runner::Parallel => format!("parallel -j{at_once}"),
        };
        if rates.is_empty() {
            println!("| {name} | not measured: GNU parallel is not installed |");
        } else {
            println!("| {name} | {} |", Spread::new(rates, "").extremes());
        }
    }
    Ok(())
}

async fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

/// A program that runs another one for each line of its input.
async fn piped(program: &str, arguments: &[&str], count: u32) -> anyhow::Result<Duration> {
    let lines: String = (0..count).map(|number| format!("{number}\n")).collect();
    let begun = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    stdin.write_all(lines.as_bytes()).await?;
    drop(stdin);
    let status = child.wait().await?;
    if !status.success() {
        bail!("{program}: {status}");
    }
    Ok(begun.elapsed())
}

/// The stock worker, on a Redis of its own.
async fn worker(count: u32, at_once: u32) -> anyhow::Result<Duration> {
    let redis = RedisServer::start().context("redis-server")?;
    let queue = Queue::new(QUEUE.parse()?);
    let producer = Producer::new(&redis.server(), queue.clone())?;
    for _ in 0..count / BATCH {
        submit(&producer, BATCH).await?;
    }
    submit(&producer, count % BATCH).await?;
    let (observer, _changes) = Observer::new(&redis.server())?;
    let queues = [queue];
    observer.read(&queues).await;

    let begun = Instant::now();
    let mut worker = Command::new(ours("workerpool-worker")?)
        .args(["--", PROGRAM])
        .env("WORKERPOOL_REDIS_ADDRESS", format!("127.0.0.1:{}", redis.port()))
        .env("WORKERPOOL_TELEMETRY_ADDRESS", free_address()?.to_string())
        .env("WORKERPOOL_CONCURRENCY", at_once.to_string())
        .env("WORKER_IP", "127.0.0.1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the worker")?;
    loop {
        if let Some(Ok(reading)) = observer.read(&queues).await.pop()
            && reading.completed == u64::from(count)
        {
            break;
        }
        if begun.elapsed() > DEADLINE {
            bail!("not all of {count} jobs ended within {DEADLINE:?}");
        }
        sleep(LOOK_EVERY).await;
    }
    let taken = begun.elapsed();
    worker.kill().await?;
    Ok(taken)
}

async fn submit(producer: &Producer, count: u32) -> anyhow::Result<()> {
    try_join_all((0..count).map(|number| producer.submit(NewJob::new(number.to_string(), String::new()))))
        .await?;
    Ok(())
}
