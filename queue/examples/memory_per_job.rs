//! What a job costs in memory, by how far it is: `cargo run -p workerpool-queue --example memory_per_job`.
//!
//! Starts a redis-server of its own and brings 100,000 jobs into each state: what `used_memory` grows by, divided by
//! their number. So everything is in it: hash, item, index, record, and the tables that hold them. A payload and a result
//! have [`KIB`] bytes here.

use std::{io::Write, time::Duration};

use anyhow::{Context, Result, ensure};
use queue::{
    Consumer, Ended, Ending, Identity, JobResult, Nonce, Queue, Retry, Terms, test_server::RedisServer,
};

const JOBS: usize = 100_000;
const AT_ONCE: usize = 1_000;
const KIB: usize = 1_024;

const FILL: &str = include_str!("fill.lua");

#[tokio::main]
async fn main() -> Result<()> {
    let failed = || Ending::Failed {
        error: "exit status 1: No space left on device".to_owned(),
    };
    let later = Ending::Later {
        after: Duration::from_secs(3_600),
    };
    let gave = Ending::Complete {
        result: Some(JobResult::new("text/plain", vec![b'x'; KIB])?),
    };
    let states = [
        ("waiting", None),
        ("waiting with a payload", None),
        ("running", Some(None)),
        ("delayed", Some(Some(later))),
        ("delayed after a failure", Some(Some(failed()))),
        ("complete", Some(Some(Ending::Complete { result: None }))),
        ("complete with a payload and a result", Some(Some(gave))),
        ("cancelled", Some(Some(Ending::Cancelled))),
        ("dead", Some(Some(failed()))),
    ];
    let mut out = std::io::stdout();
    writeln!(out, "bytes of Redis' memory per job, over {JOBS} jobs")?;
    for (state, way) in states {
        let redis = RedisServer::start()?;
        let server = redis.server();
        let mut raw =
            redis::Client::open((server.address.host.as_str(), server.address.port))?.get_connection()?;
        let before = used(&mut raw)?;
        let payload = if state.contains("payload") { KIB } else { 0 };
        fill(&mut raw, payload)?;
        let max_attempts = if state == "dead" { 1 } else { 3 };
        if let Some(how) = way {
            let worker = worker(&redis, max_attempts)?;
            for _ in 0..JOBS / AT_ONCE {
                run(&worker, how.as_ref()).await?;
            }
        }
        let each = (used(&mut raw)? - before) / JOBS as f64;
        writeln!(out, "{state:<38} {each:>5.0}")?;
    }
    Ok(())
}

fn worker(redis: &RedisServer, max_attempts: u32) -> Result<Consumer> {
    let identity = Identity {
        nonce: Nonce::fresh(),
        pod_uid: Some("00000000-0000-4000-9000-000000000000".to_owned()),
        pod_name: None,
        ip: "10.0.0.7".to_owned(),
        host: None,
    };
    let terms = Terms {
        retry: Retry {
            max_attempts,
            ..Retry::default()
        },
        ..Terms::default()
    };
    Ok(Consumer::new(
        &redis.server(),
        Queue::new("queue".parse()?),
        identity,
        terms,
    )?)
}

/// Takes jobs, and ends their runs if they are to end.
async fn run(worker: &Consumer, how: Option<&Ending>) -> Result<()> {
    let claims = worker.claim(&Nonce::fresh(), AT_ONCE).await?;
    ensure!(claims.jobs.len() == AT_ONCE, "{} jobs claimed", claims.jobs.len());
    let Some(how) = how else { return Ok(()) };
    let ended: Vec<_> = claims
        .jobs
        .into_iter()
        .map(|claimed| Ended {
            id: claimed.job.id,
            token: claimed.token,
            how: how.clone(),
        })
        .collect();
    worker.finish(&ended).await?;
    Ok(())
}

/// Each job with a payload of so many bytes; with none if that is 0.
fn fill(raw: &mut redis::Connection, payload: usize) -> Result<()> {
    let payload = "1".repeat(payload);
    for filled in (0..JOBS).step_by(AT_ONCE) {
        redis::cmd("EVAL")
            .arg(FILL)
            .arg(4)
            .arg("hotqueue:queue")
            .arg(
                ["index", "records", "payloads"]
                    .map(|key| format!("workerpool:queue:{key}"))
                    .to_vec(),
            )
            .arg(AT_ONCE)
            .arg(filled)
            .arg(&payload)
            .query::<()>(raw)?;
    }
    Ok(())
}

fn used(raw: &mut redis::Connection) -> Result<f64> {
    let info: String = redis::cmd("INFO").arg("memory").query(raw)?;
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    Ok(used.context("no used_memory")?.trim().parse()?)
}
