//! What it costs to give every delayed job its time again after the clock was put back: the longest call of a script, during
//! which the server does nothing else, and all calls together.
//!
//!     cargo run -p workerpool-queue --example guard_cost [-- DELAYED...]
//!
//! Starts a redis-server of its own, fills it, lets its last tick lie a minute ahead, and ticks until all are moved. The times
//! are the server's, from its slow log.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use queue::{Drainer, Queue, Terms, test_server::RedisServer};

const DELAYED: &str = "workerpool:queue:delayed";
const TICKS: &str = "workerpool:queue:ticks";
const STEP_MS: u64 = 60_000;
const DEADLINE: Duration = Duration::from_secs(300);

const FILL: &str = "
    for i = ARGV[1], ARGV[1] + ARGV[2] - 1 do
      redis.call('ZADD', KEYS[1], ARGV[3] + i, string.format('%08x-0000-4000-8000-%012d', (i * 2654435761) % 4294967296, i))
    end";

#[tokio::main]
async fn main() -> Result<()> {
    let mut out = std::io::stdout();
    let mut sizes = std::env::args()
        .skip(1)
        .map(|size| size.parse())
        .collect::<Result<Vec<u64>, _>>()?;
    if sizes.is_empty() {
        sizes = vec![10_000, 100_000, 1_000_000];
    }
    writeln!(
        out,
        "{:>9} {:>7} {:>6} {:>7} {:>13} {:>10} {:>10}",
        "delayed", "ticks", "failed", "calls", "longest (ms)", "sum (ms)", "took (s)"
    )?;
    for delayed in sizes {
        measure(delayed, &mut out).await?;
    }
    Ok(())
}

async fn measure(delayed: u64, out: &mut impl Write) -> Result<()> {
    let redis = RedisServer::start()?;
    let (drainer, queue) = (Drainer::new(&redis.server())?, Queue::new("queue".parse()?));
    let client = redis::Client::open(format!("redis://{}/2", redis.server().address))?;
    let mut raw = client.get_connection()?;
    let now = now_ms(&mut raw)?;
    let first_due = now + 3_600_000;
    const AT_ONCE: u64 = 10_000;
    for from in (0..delayed).step_by(AT_ONCE as usize) {
        redis::cmd("EVAL")
            .arg(FILL)
            .arg(1)
            .arg(DELAYED)
            .arg(from)
            .arg(AT_ONCE.min(delayed - from))
            .arg(first_due)
            .query::<()>(&mut raw)?;
    }
    drainer.tick(&queue, &Terms::default()).await?;
    // Without a limit a server that is held answers nothing, in the place of an error.
    for (setting, value) in [
        ("lua-time-limit", "0"),
        ("slowlog-max-len", "100000"),
        ("slowlog-log-slower-than", "0"),
    ] {
        redis::cmd("CONFIG")
            .arg(&["SET", setting, value])
            .query::<()>(&mut raw)?;
    }
    let ahead = now_ms(&mut raw)? + STEP_MS;
    redis::cmd("HSET")
        .arg(&[TICKS, "last", &ahead.to_string()])
        .query::<()>(&mut raw)?;
    redis::cmd("SLOWLOG").arg("RESET").query::<()>(&mut raw)?;

    let (begun, mut ticks, mut failed) = (Instant::now(), 0, 0);
    while last_due(&mut raw)? > first_due + delayed - STEP_MS / 2 {
        ensure!(
            begun.elapsed() < DEADLINE,
            "not all were moved within {DEADLINE:?}"
        );
        ticks += 1;
        failed += u64::from(drainer.tick(&queue, &Terms::default()).await.is_err());
    }
    let took = begun.elapsed();
    let calls = script_times(&mut raw)?;
    let longest = calls.iter().max().context("no script ran")?;
    let ms = |us: u64| us as f64 / 1_000.0;
    writeln!(
        out,
        "{delayed:>9} {ticks:>7} {failed:>6} {:>7} {:>13.1} {:>10.1} {:>10.2}",
        calls.len(),
        ms(*longest),
        ms(calls.iter().sum()),
        took.as_secs_f64()
    )?;
    Ok(())
}

fn now_ms(raw: &mut redis::Connection) -> Result<u64> {
    let time: Vec<u64> = redis::cmd("TIME").query(raw)?;
    Ok(time[0] * 1_000 + time[1] / 1_000)
}

fn last_due(raw: &mut redis::Connection) -> Result<u64> {
    let last: Vec<(String, f64)> = redis::cmd("ZRANGE")
        .arg(&[DELAYED, "-1", "-1", "WITHSCORES"])
        .query(raw)?;
    Ok(last.first().context("nothing is delayed")?.1 as u64)
}

/// How long each script held the server, in microseconds.
fn script_times(raw: &mut redis::Connection) -> Result<Vec<u64>> {
    type Entry = (u64, u64, u64, Vec<String>, String, String);
    let log: Vec<Entry> = redis::cmd("SLOWLOG").arg(&["GET", "-1"]).query(raw)?;
    let scripts = log
        .into_iter()
        .filter(|entry| entry.3[0].eq_ignore_ascii_case("EVALSHA"));
    Ok(scripts.map(|entry| entry.2).collect())
}
