//! What lies in Redis, as its users read it: the list on db 2, the hashes on db 3.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::wait::{Look, eventually};

/// How long Redis may take to answer a test: redis-rs' own half a second is short where a dozen tests share two cores.
const PATIENCE: Duration = Duration::from_secs(15);

/// A job's hash, as `HGETALL job.<id>` gives it.
pub type Job = BTreeMap<String, String>;

/// A namespace's Redis.
#[derive(Clone, Debug)]
pub struct Data {
    pub(crate) address: String,
    pub(crate) password: Option<String>,
}

impl Data {
    /// The address without its port, as redis-py takes it.
    #[must_use]
    pub fn host(&self) -> &str {
        self.address.split(':').next().unwrap_or_default()
    }

    /// A connection with this db selected. Each use has its own: tests take Redis away and bring it back.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn connection(&self, db: u8) -> Result<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let client = self.client(db)?;
        Ok(client
            .get_multiplexed_async_connection_with_config(&config)
            .await?)
    }

    pub(crate) fn client(&self, db: u8) -> Result<redis::Client> {
        let login = self
            .password
            .as_ref()
            .map(|password| format!(":{password}@"))
            .unwrap_or_default();
        Ok(redis::Client::open(format!(
            "redis://{login}{}/{db}",
            self.address
        ))?)
    }

    /// One job's hash; empty when it is not there.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn job(&self, id: &str) -> Result<Job> {
        Ok(self.connection(3).await?.hgetall(format!("job.{id}")).await?)
    }

    /// Everything on db 3, by key, read as the README's loop does.
    ///
    /// # Errors
    /// When Redis cannot be reached, or a key holds no hash.
    pub async fn everything(&self) -> Result<BTreeMap<String, Job>> {
        let mut connection = self.connection(3).await?;
        let keys: Vec<String> = connection.keys("*").await?;
        let mut jobs = BTreeMap::new();
        for key in keys {
            let job = connection.hgetall(&key).await?;
            jobs.insert(key, job);
        }
        Ok(jobs)
    }

    /// Waits until so many of these jobs have been taken by a worker: they run, or have run.
    ///
    /// # Errors
    /// When they have not within the time: says how many are in which status.
    pub async fn started(&self, ids: &[String], at_least: usize, within: Duration) -> Result<()> {
        self.reached(ids, &["in progress", "complete"], at_least, within)
            .await
    }

    async fn reached(
        &self,
        ids: &[String],
        statuses: &[&str],
        at_least: usize,
        within: Duration,
    ) -> Result<()> {
        let what = format!("{at_least} of {} jobs are {}", ids.len(), statuses.join(" or "));
        eventually(&what, within, async || {
            let mut tally: BTreeMap<String, usize> = BTreeMap::new();
            let mut connection = self.connection(3).await?;
            for id in ids {
                let found: Option<String> = connection.hget(format!("job.{id}"), "status").await?;
                *tally
                    .entry(found.unwrap_or_else(|| "without a hash".to_owned()))
                    .or_default() += 1;
            }
            let reached: usize = statuses.iter().filter_map(|status| tally.get(*status)).sum();
            Ok(Look::when(reached >= at_least, (), || format!("{tally:?}")))
        })
        .await
    }

    /// Waits until all of these jobs are complete, and checks that each has exactly the original's five fields.
    ///
    /// # Errors
    /// When one is not complete within the time, or has other fields.
    pub async fn completed(&self, ids: &[String], within: Duration) -> Result<Vec<Job>> {
        self.reached(ids, &["complete"], ids.len(), within).await?;
        let mut jobs = Vec::with_capacity(ids.len());
        for id in ids {
            let job = self.job(id).await?;
            let fields: Vec<&str> = job.keys().map(String::as_str).collect();
            ensure!(
                fields == ["end", "id", "start", "status", "worker"],
                "job {id} has the fields {job:?}"
            );
            jobs.push(job);
        }
        Ok(jobs)
    }

    /// Executes an append-only file: its commands, as Redis does when it starts with one.
    ///
    /// # Errors
    /// When Redis cannot be reached, has a password, or refuses a command.
    pub async fn load(&self, append_only_file: &[u8]) -> Result<()> {
        let answers = timeout(PATIENCE, async {
            let mut stream = TcpStream::connect(&self.address).await?;
            stream.write_all(append_only_file).await?;
            stream.write_all(b"*1\r\n$4\r\nQUIT\r\n").await?;
            let mut answers = Vec::new();
            stream.read_to_end(&mut answers).await?;
            std::io::Result::Ok(answers)
        })
        .await
        .context("Redis does not answer an append-only file")??;
        let answers = String::from_utf8_lossy(&answers).into_owned();
        let refusals: Vec<&str> = answers.lines().filter(|line| line.starts_with('-')).collect();
        ensure!(
            refusals.is_empty(),
            "Redis refuses commands of the append-only file: {refusals:?}"
        );
        Ok(())
    }
}
