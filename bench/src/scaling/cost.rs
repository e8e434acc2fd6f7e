//! What a system costs: its processes, Redis, and the API server.

use std::time::{Duration, Instant};

use anyhow::Context;
use kube::Client;
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;

use super::system::System;
use crate::process;

/// What is used in a second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// Of a core.
    pub(super) cpu: f64,
    pub(super) resident_mb: f64,
    pub(super) redis_connections: f64,
    pub(super) redis_commands: f64,
    pub(super) api_requests: f64,
}

/// Counters, and when they were read.
struct Counters {
    at: Instant,
    cpu: Duration,
    commands: f64,
    requests: f64,
}

/// Looks at a cluster's programs.
#[derive(Clone)]
pub(super) struct Meter {
    pub(super) client: Client,
    pub(super) redis: MultiplexedConnection,
    /// The cluster's name, in its processes' cgroups.
    pub(super) cluster: String,
}

impl Meter {
    /// What `system` costs for as long as this takes; with none, what the cluster does anyway.
    pub(super) async fn cost(&self, system: Option<System>, time: Duration) -> anyhow::Result<Cost> {
        let before = self.counters(system).await?;
        sleep(time).await;
        let after = self.counters(system).await?;
        let seconds = after.at.duration_since(before.at).as_secs_f64();
        let mut resident = 0;
        for pid in self.processes(system)? {
            resident += process::resident_kib(pid)?;
        }
        Ok(Cost {
            cpu: after.cpu.saturating_sub(before.cpu).as_secs_f64() / seconds,
            resident_mb: resident as f64 / 1024.0,
            // One is this program's.
            redis_connections: self.info("clients", "connected_clients:").await? - 1.0,
            redis_commands: (after.commands - before.commands) / seconds,
            api_requests: (after.requests - before.requests) / seconds,
        })
    }

    async fn counters(&self, system: Option<System>) -> anyhow::Result<Counters> {
        let mut cpu = Duration::ZERO;
        for pid in self.processes(system)? {
            cpu += process::cpu_time(pid)?;
        }
        Ok(Counters {
            cpu,
            commands: self.info("stats", "total_commands_processed:").await?,
            requests: self.api_requests().await?,
            at: Instant::now(),
        })
    }

    /// The system's processes.
    pub(super) fn processes(&self, system: Option<System>) -> anyhow::Result<Vec<u32>> {
        let names = system.map(System::processes).unwrap_or_default();
        process::in_cgroup(&format!("workerpool-{}/", self.cluster), names)
    }

    /// A number of Redis' INFO.
    async fn info(&self, section: &str, field: &str) -> anyhow::Result<f64> {
        let mut redis = self.redis.clone();
        let info: String = redis::cmd("INFO").arg(section).query_async(&mut redis).await?;
        let value = info.lines().find_map(|line| line.strip_prefix(field));
        Ok(value
            .with_context(|| format!("INFO without {field}"))?
            .trim()
            .parse()?)
    }

    /// Requests that the API server has answered, of all that ask it.
    async fn api_requests(&self) -> anyhow::Result<f64> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let metrics = self.client.request_text(request).await?;
        let counts = metrics
            .lines()
            .filter(|line| line.starts_with("apiserver_request_total{"));
        Ok(counts
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }
}
