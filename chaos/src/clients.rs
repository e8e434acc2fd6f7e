//! Clients that submit jobs over HTTP, and repeat a request until it is answered.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{config::Args, effects::monotonic_ms, faults::Kind, work::Work};

/// How long a client waits for an answer: longer than the API waits for Redis' connection, shorter than an outage.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// How many requests in a hundred are broken off, if clients do that.
const HANG_UPS: u32 = 5;

/// One client in so many cancels its job.
const CANCEL_ONE_IN: u64 = 100;

/// The pauses between tries of one request.
const RETRY_PAUSES: std::ops::Range<u64> = 20..300;

/// What the clients have got so far.
#[derive(Debug, Default)]
pub(crate) struct Submissions {
    acknowledged: Mutex<HashMap<String, u64>>,
    cancelled: Mutex<HashMap<String, u64>>,
    retries: AtomicU64,
}

impl Submissions {
    /// Ids of the jobs that are known to be queued, and since when (monotonic ms).
    pub(crate) fn acknowledged(&self) -> HashMap<String, u64> {
        self.acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Ids of the jobs that are known to be cancelled, and since when (monotonic ms).
    pub(crate) fn cancelled(&self) -> HashMap<String, u64> {
        self.cancelled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn acknowledge(&self, id: String) {
        let mut acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        acknowledged.insert(id, monotonic_ms());
    }

    fn cancel(&self, id: String) {
        self.cancelled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, monotonic_ms());
    }

    /// How many requests had to be repeated, each time counted.
    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }
}

/// Submits all jobs and returns when each is acknowledged.
pub(crate) async fn submit(args: &Args, api: SocketAddr, into: &Arc<Submissions>) -> anyhow::Result<()> {
    let http = reqwest::Client::new();
    let next = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for number in 0..args.clients {
        let client = Client {
            http: http.clone(),
            url: format!("http://{api}/jobs"),
            args: args.clone(),
            rng: fastrand::Rng::with_seed(args.seed.wrapping_add(number)),
            hangs_up: args.kinds().contains(&Kind::HangUp),
            into: Arc::clone(into),
        };
        clients.spawn(client.work(Arc::clone(&next), begun));
    }
    while let Some(client) = clients.join_next().await {
        client.context("a client")?;
    }
    Ok(())
}

struct Client {
    http: reqwest::Client,
    url: String,
    args: Args,
    rng: fastrand::Rng,
    hangs_up: bool,
    into: Arc<Submissions>,
}

impl Client {
    async fn work(mut self, next: Arc<AtomicU64>, begun: Instant) {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= self.args.jobs {
                return;
            }
            let due = begun + Duration::from_micros(index.saturating_mul(1_000_000) / self.args.rate);
            sleep_until(due).await;
            self.submit(index).await;
        }
    }

    async fn submit(&mut self, index: u64) {
        let key = format!("{}-{index}", self.args.seed);
        let mut work = Work::draw(self.args.seed, index, self.args.lease_ms);
        if self.args.plain {
            work = work.plain();
        }
        let body = json!({"start": work.to_string(), "end": key}).to_string();
        loop {
            let patience = self.patience();
            match timeout(patience, self.post(&key, &body))
                .await
                .context("hung up")
                .flatten()
            {
                Ok(id) => {
                    self.into.acknowledge(id.clone());
                    if index.is_multiple_of(CANCEL_ONE_IN) {
                        self.cancel(id).await;
                    }
                    return;
                }
                Err(error) => tracing::debug!(key, "not acknowledged: {error:#}"),
            }
            self.into.retries.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(self.rng.u64(RETRY_PAUSES))).await;
        }
    }

    /// Once, a little later: what is not answered may have come to pass or not.
    async fn cancel(&mut self, id: String) {
        sleep(Duration::from_millis(self.rng.u64(RETRY_PAUSES))).await;
        let delete = self.http.delete(format!("{}/{id}", self.url)).send();
        match timeout(ANSWER_TIMEOUT, delete).await {
            Ok(Ok(answer)) if answer.status() == StatusCode::OK => self.into.cancel(id),
            answer => tracing::debug!(id, ?answer, "not cancelled"),
        }
    }

    /// Some clients hang up while their request is under way.
    fn patience(&mut self) -> Duration {
        if self.hangs_up && self.rng.u32(0..100) < HANG_UPS {
            Duration::from_micros(self.rng.u64(0..8_000))
        } else {
            ANSWER_TIMEOUT
        }
    }

    async fn post(&self, key: &str, body: &str) -> anyhow::Result<String> {
        let request = self
            .http
            .post(&self.url)
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(body.to_owned());
        let answer = request.send().await?.error_for_status()?.bytes().await?;
        let answer: Value = serde_json::from_slice(&answer)?;
        Ok(answer["id"]
            .as_str()
            .context("an answer without an id")?
            .to_owned())
    }
}
