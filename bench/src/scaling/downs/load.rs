//! Bursts of jobs of mixed length for one pool, with a pin among them now and then.

use std::time::{Duration, Instant};

use anyhow::Context;
use fastrand::Rng;
use queue::{NewJob, Producer, Queue, Server};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::service::{Ledger, Runs};
use super::target::{MOST, pin};
use crate::scaling::stage::Stage;
use crate::scaling::system::System;

/// A job takes this long at least and at most, in milliseconds; as many take up to 0.7 s as longer.
const LENGTHS: (f64, f64) = (100.0, 5_000.0);
/// A burst has twice as many jobs as there may be workers, at most.
const LARGEST: usize = 2 * MOST;
/// Every so many bursts a lower count is pinned while they run.
const PIN_EVERY: usize = 4;
/// How long a system may take to follow a burst or a pin; then the load goes on.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A pool's load.
pub(super) struct Load<'a> {
    pub(super) stage: &'a Stage,
    pub(super) system: System,
    pub(super) name: &'a str,
    pub(super) ledger: &'a Ledger,
    pub(super) rng: Rng,
}

impl Load<'_> {
    /// Submits until it is told to stop; the ids of all jobs.
    pub(super) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<Vec<String>> {
        let server = Server::new(self.stage.redis_address.parse()?);
        let producer = Producer::new(&server, Queue::new(self.name.parse()?))?;
        let mut ids = Vec::new();
        let mut bursts = 0;
        while !stop.is_cancelled() {
            bursts += 1;
            let first = ids.len();
            for _ in 0..self.rng.usize(2..=LARGEST) {
                let job = NewJob::new(self.length().to_string(), String::new());
                ids.push(producer.submit(job).await.context("a job")?.id.to_string());
            }
            if bursts % PIN_EVERY == 0 {
                self.pin_a_while(&ids[first..]).await?;
            }
            // The next burst comes when some of these still run, or just after.
            let left = self.rng.usize(0..=2);
            self.until_at_most(left, &ids[first..]).await;
            stop.run_until_cancelled(sleep(Duration::from_millis(self.rng.u64(0..1_500))))
                .await;
        }
        Ok(ids)
    }

    fn length(&mut self) -> u64 {
        let (least, most) = LENGTHS;
        (least * (most / least).powf(self.rng.f64())) as u64
    }

    /// Pins to a lower count while several jobs run, and follows the queue again when the count has been reached.
    async fn pin_a_while(&mut self, ids: &[String]) -> anyhow::Result<()> {
        let running = |runs: &Runs| runs.is_under_way();
        let are_several = || self.count(ids, running) >= 2;
        let _ = timeout(PATIENCE, until(are_several)).await;
        let (count, objects) = (self.rng.usize(0..=1), self.stage.objects(self.system));
        pin(&objects, self.system, self.name, Some(count)).await?;
        let reached = self.stage.replicas.reach(self.name, count, PATIENCE).await;
        if let Err(late) = reached {
            eprintln!("{late}");
        }
        pin(&objects, self.system, self.name, None).await
    }

    async fn until_at_most(&self, left: usize, ids: &[String]) {
        let are_few = || self.count(ids, |runs| !runs.is_done()) <= left;
        let _ = timeout(PATIENCE, until(are_few)).await;
    }

    fn count(&self, ids: &[String], holds: impl Fn(&Runs) -> bool) -> usize {
        ids.iter().filter(|id| holds(&self.ledger.of(id))).count()
    }
}

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        sleep(LOOK_EVERY).await;
    }
}

/// Waits until none of these jobs is left to do; how many are, when that took too long.
pub(super) async fn wait_until_done(ledger: &Ledger, ids: &[String], within: Duration) -> usize {
    let left = || {
        let runs = ids.iter().map(|id| ledger.of(id));
        runs.filter(|runs| !runs.is_done() || runs.is_under_way()).count()
    };
    let deadline = Instant::now() + within;
    while left() > 0 && Instant::now() < deadline {
        sleep(LOOK_EVERY * 10).await;
    }
    left()
}
