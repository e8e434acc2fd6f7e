//! POST /jobs until the job is `in progress`, on an idle warm worker.
//!
//! The moment comes from Redis' own keyspace notifications on the jobs db: the first `hset` of a job is its submission, the
//! second its claim. So nothing polls, and what is measured is not slowed by being looked at.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::StreamExt;
use queue::test_server::RedisServer;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::process::{free_address, ours, start};
use crate::stats::Spread;

/// Far above what a start should take; past it, something is broken and there is no figure.
const DEADLINE: Duration = Duration::from_secs(5);

/// Prints the spread of `samples` starts.
pub(crate) async fn measure(samples: usize) -> anyhow::Result<()> {
    let redis = RedisServer::start().context("redis-server")?;
    let address = free_address()?;
    let health = free_address()?;
    let env = [
        ("WORKERPOOL_REDIS_ADDRESS", format!("127.0.0.1:{}", redis.port())),
        ("WORKERPOOL_LISTEN_ADDRESS", address.to_string()),
        ("WORKERPOOL_TELEMETRY_ADDRESS", health.to_string()),
        ("WORKERPOOL_SLEEP_SECONDS", "0".into()),
        ("WORKER_IP", "127.0.0.1".into()),
    ];
    let _api = start::<&str>(&ours("workerpool-api")?, &[], &env, address).await?;
    let _worker = start::<&str>(&ours("workerpool-worker")?, &[], &env, health).await?;
    let mut claims = claims(&redis).await?;
    let http = reqwest::Client::new();
    let url = format!("http://{address}/jobs");

    let mut taken = Vec::with_capacity(samples);
    let warm_up = samples / 10;
    for n in 0..warm_up + samples {
        let posted = Instant::now();
        let request = http.post(&url).body(r#"{"start": "go!", "end": "stop!"}"#).send();
        let status = request.await?.status();
        if status != 200 {
            bail!("POST /jobs answered {status}");
        }
        let claimed = timeout(DEADLINE, claims.recv())
            .await
            .context("no worker took the job")?;
        let claimed = claimed.context("the subscription ended")?;
        if n >= warm_up {
            taken.push(claimed.duration_since(posted));
        }
        // The job ends at once; its last write must be past before the next begins.
        timeout(DEADLINE, claims.recv())
            .await
            .context("the job did not end")?;
    }
    println!("POST /jobs until `in progress`, one idle worker, jobs one after another");
    println!("  {}", Spread::of_durations(&taken));
    Ok(())
}

/// The moments at which a job's hash was written, but for its first write.
async fn claims(redis: &RedisServer) -> anyhow::Result<mpsc::Receiver<Instant>> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", redis.port()))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    redis::cmd("CONFIG")
        .arg("SET")
        .arg("notify-keyspace-events")
        .arg("Kh")
        .exec_async(&mut connection)
        .await?;
    let mut subscription = client.get_async_pubsub().await?;
    subscription.psubscribe("__keyspace@3__:job.*").await?;
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        let mut last_job = String::new();
        let mut messages = subscription.into_on_message();
        while let Some(message) = messages.next().await {
            let at = Instant::now();
            let job = message.get_channel_name().to_owned();
            if job == last_job {
                if sender.send(at).await.is_err() {
                    return;
                }
            } else {
                last_job = job;
            }
        }
    });
    Ok(receiver)
}
