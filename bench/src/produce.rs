//! The three ways in which every peer's producer enqueues, and ours.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::marks::{Marker, Phase};

/// How many jobs are given at once where a peer can take several.
const BATCH: u32 = 1_000;

/// From one job to the next when paced.
const PACE: Duration = Duration::from_millis(20);

/// A program's two arguments: `work CONCURRENCY`, or a mode of [`run`] and its amount.
///
/// # Errors
/// If they are not given.
pub fn arguments() -> anyhow::Result<(String, u32)> {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().context("give a mode and an amount")?;
    let amount = arguments.next().context("give an amount")?.parse()?;
    Ok((mode, amount))
}

/// Where Redis listens on this machine: `REDIS_PORT`.
///
/// # Errors
/// If the variable is not a port.
pub fn redis_port() -> anyhow::Result<u16> {
    let port = std::env::var("REDIS_PORT").context("REDIS_PORT")?;
    port.parse().with_context(|| format!("REDIS_PORT={port}"))
}

/// Puts jobs into a queue.
pub trait Put {
    /// Puts one in, and waits until that is done.
    fn put(&mut self, number: u32) -> impl Future<Output = anyhow::Result<()>>;

    /// Puts several in, in the way in which that is fastest.
    fn put_many(&mut self, numbers: Range<u32>) -> impl Future<Output = anyhow::Result<()>>;
}

/// Enqueues and prints "COUNT SECONDS". `mode` says what `amount` is: `one` (by one, for so many seconds), `bulk` (so many
/// jobs) or `paced` (so many jobs, 20 ms apart, each marked just before).
///
/// # Errors
/// Any of the queue's, or an unknown mode.
pub async fn run(mode: &str, amount: u32, queue: &mut impl Put) -> anyhow::Result<()> {
    let begun = Instant::now();
    let count = match mode {
        "one" => one(queue, Duration::from_secs(amount.into())).await?,
        "bulk" => bulk(queue, amount).await?,
        "paced" => paced(queue, amount).await?,
        _ => bail!("no mode {mode:?}"),
    };
    #[allow(clippy::print_stdout)] // The harness reads it.
    {
        println!("{count} {}", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

async fn one(queue: &mut impl Put, time: Duration) -> anyhow::Result<u32> {
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < time {
        queue.put(count).await?;
        count += 1;
    }
    Ok(count)
}

async fn bulk(queue: &mut impl Put, count: u32) -> anyhow::Result<u32> {
    for first in (0..count).step_by(BATCH as usize) {
        queue.put_many(first..count.min(first + BATCH)).await?;
    }
    Ok(count)
}

async fn paced(queue: &mut impl Put, count: u32) -> anyhow::Result<u32> {
    let marker = Marker::from_env()?;
    let begun = tokio::time::Instant::now();
    for number in 0..count {
        tokio::time::sleep_until(begun + PACE * number).await;
        marker.mark(number, Phase::Enqueued)?;
        queue.put(number).await?;
    }
    Ok(count)
}
