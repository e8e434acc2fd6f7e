//! What others do to the queue rightly, beside the workers and whoever submits: as a foreign producer, and as the operator.

use std::time::Duration;

use queue::{Address, Drainer, JobId, Queue, Server, item};
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::{process::Target, stage::QUEUE};

/// How long a worker may take until it holds nothing; else it stays.
const PATIENCE: Duration = Duration::from_secs(3);

/// From when a worker holds nothing until it is taken away. Whoever gave it a job meanwhile would have it cut.
const UNTIL_TAKEN: Duration = Duration::from_millis(250);

/// How long a mark lasts: longer than all of that.
const MARK: Duration = Duration::from_secs(10);

/// Pushes the items of a job that runs, one that waits for its time and one that has ended once more, as far as there are
/// any: a program that repeats itself leaves such items behind. Does nothing while Redis is away.
pub(crate) async fn push_again(port: u16) -> anyhow::Result<()> {
    if let Err(error) = try_to_push_again(port).await {
        tracing::debug!("nothing was pushed again: {error}");
    }
    Ok(())
}

async fn try_to_push_again(port: u16) -> redis::RedisResult<()> {
    let mut redis = connect(port).await?;
    for key in ["leases", "delayed", "finished"] {
        let mut draw = redis::cmd("ZRANDMEMBER");
        let id: Option<String> = draw.arg(ours(key)).query_async(&mut redis).await?;
        let Some(id) = id.and_then(JobId::new) else {
            continue;
        };
        redis::cmd("RPUSH")
            .arg(format!("hotqueue:{QUEUE}"))
            .arg(item::write(&id))
            .exec_async(&mut redis)
            .await?;
    }
    Ok(())
}

/// Takes a worker away as the operator does: marks its pod, waits until it holds nothing, and kills it then, which cuts
/// no job. One that does not come to hold nothing, and one that somebody else has killed, is left alone.
pub(crate) async fn take_away(port: u16, pod: String, worker: Target) -> anyhow::Result<()> {
    let life = worker.life();
    match is_marked_and_empty(port, pod).await {
        Ok(true) => {
            sleep(UNTIL_TAKEN).await;
            if worker.life() == life {
                worker.signal(Signal::KILL);
            }
        }
        Ok(false) => {}
        Err(error) => tracing::debug!("no worker was taken away: {error:#}"),
    }
    Ok(())
}

async fn is_marked_and_empty(port: u16, pod: String) -> anyhow::Result<bool> {
    let server = Server::new(Address {
        host: "127.0.0.1".to_owned(),
        port,
    });
    let queue = Queue::new(QUEUE.parse()?);
    let pods = [pod];
    Drainer::new(&server)?.drain(&queue, &pods, 1, MARK).await?;
    let mut redis = connect(port).await?;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let mut ask = redis::cmd("HGET");
        let held: Option<u64> = ask
            .arg(ours("holds"))
            .arg(&pods[0])
            .query_async(&mut redis)
            .await?;
        if held.is_none() {
            return Ok(true);
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(false)
}

/// On the queue's database.
async fn connect(port: u16) -> redis::RedisResult<MultiplexedConnection> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}/2"))?;
    client.get_multiplexed_async_connection().await
}

fn ours(key: &str) -> String {
    format!("workerpool:{QUEUE}:{key}")
}
