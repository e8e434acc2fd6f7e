//! Waits until nothing is left to do. What it believes of Redis decides only when the counting begins.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::Context;
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;

use crate::stage::QUEUE;

/// How long nothing may change, with nothing waiting and nothing held, before what is left counts as lost.
const QUIET_END: Duration = Duration::from_secs(5);

/// How long nothing may change at all.
const STUCK: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(500);

/// The jobs that are not known to have ended.
pub(crate) struct Jobs {
    left: HashSet<String>,
    client: redis::Client,
    connection: Option<MultiplexedConnection>,
}

impl Jobs {
    pub(crate) fn new(left: HashSet<String>, port: u16) -> anyhow::Result<Self> {
        let client =
            redis::Client::open(format!("redis://127.0.0.1:{port}")).context("the address of Redis")?;
        Ok(Self {
            left,
            client,
            connection: None,
        })
    }

    /// Waits until at most so many are left, or those that are left are nowhere.
    pub(crate) async fn wait_until_left(&mut self, count: u64) {
        let (mut changed, mut last_busy) = (Instant::now(), Instant::now());
        while self.left.len() as u64 > count && changed.elapsed() < STUCK && last_busy.elapsed() < QUIET_END {
            let before = self.left.len();
            if self.look().await.is_none_or(|busy| busy) {
                last_busy = Instant::now();
            }
            if self.left.len() != before {
                (changed, last_busy) = (Instant::now(), Instant::now());
            }
            sleep(POLL).await;
        }
    }

    /// Strikes off what has ended and says whether anything waits or is held; `None` if Redis does not answer.
    async fn look(&mut self) -> Option<bool> {
        match self.ask().await {
            Ok(busy) => Some(busy),
            Err(error) => {
                tracing::debug!("Redis is away: {error}");
                self.connection = None;
                None
            }
        }
    }

    async fn ask(&mut self) -> redis::RedisResult<bool> {
        if self.connection.is_none() {
            self.connection = Some(self.client.get_multiplexed_async_connection().await?);
        }
        let Some(connection) = &mut self.connection else {
            return Ok(true);
        };
        let ids: Vec<String> = self.left.iter().cloned().collect();
        for ids in ids.chunks(500) {
            let mut pipeline = redis::pipe();
            pipeline.cmd("SELECT").arg(3).ignore();
            for id in ids {
                pipeline.cmd("HGET").arg(format!("job.{id}")).arg("status");
            }
            let statuses: Vec<Option<String>> = pipeline.query_async(connection).await?;
            for (id, status) in ids.iter().zip(statuses) {
                if matches!(status.as_deref(), Some("complete" | "failed" | "cancelled")) {
                    self.left.remove(id);
                }
            }
        }
        let ours = |name: &str| format!("workerpool:{QUEUE}:{name}");
        let mut pipeline = redis::pipe();
        pipeline.cmd("SELECT").arg(2).ignore();
        pipeline.cmd("LLEN").arg(format!("hotqueue:{QUEUE}"));
        pipeline.cmd("LLEN").arg(ours("arrivals"));
        pipeline.cmd("ZCARD").arg(ours("leases"));
        pipeline.cmd("ZCARD").arg(ours("delayed"));
        let lengths: Vec<u64> = pipeline.query_async(connection).await?;
        Ok(lengths.iter().any(|length| *length > 0))
    }
}
