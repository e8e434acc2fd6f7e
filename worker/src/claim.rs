//! Takes jobs for as long as there are slots for them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use queue::{Claimed, Claims, Consumer, Nonce};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    attempt::{self, Verdict},
    handler::Handler,
    held::Hold,
    outage::Waits,
    run::{Settings, Shared},
};

/// How often a quiet worker asks whether it still is. It must not wait for arrivals: they would wake it for
/// jobs that it does not get, again and again.
const QUIET_POLL: Duration = Duration::from_secs(1);

/// Takes jobs and starts them.
#[derive(Debug)]
pub(crate) struct Claimer<H> {
    shared: Arc<Shared<H>>,
    job_timeout: Option<Duration>,
    slots: Arc<Semaphore>,
    /// The most that one claim asks for.
    most: usize,
    /// The jobs that run.
    running: TaskTracker,
}

/// What to do before the next claim.
#[derive(Debug, PartialEq, Eq)]
enum Pause {
    /// Nothing: there is more, or there is no free slot to pause with.
    None,
    /// Wait this long: an error, or a quiet time.
    For(Duration),
    /// Wait until something arrives, at most [`Consumer::MAX_WAKE`].
    UntilArrival,
}

impl<H: Handler> Claimer<H> {
    pub(crate) fn new(shared: Arc<Shared<H>>, settings: &Settings) -> Self {
        let slots = usize::try_from(settings.concurrency.get()).unwrap_or(Semaphore::MAX_PERMITS);
        let slots = slots.min(Semaphore::MAX_PERMITS);
        Self {
            shared,
            job_timeout: settings.job_timeout,
            slots: Arc::new(Semaphore::new(slots)),
            // Half of them, so that Redis has the next claim to do while this worker has the last one's jobs.
            most: slots.div_ceil(2).min(Consumer::MAX_SLOTS),
            running: TaskTracker::new(),
        }
    }

    /// What must end before the worker does.
    pub(crate) fn running(&self) -> &TaskTracker {
        &self.running
    }

    /// Takes jobs until it is to stop.
    pub(crate) async fn claim(&self, stop: &CancellationToken) {
        if stop.run_until_cancelled(self.check()).await.is_none() {
            return;
        }
        let mut waits = Waits::new();
        let mut nonce = Nonce::fresh();
        loop {
            let free_slots = async {
                let slots = self.free_slots().await;
                self.shared.handler.ready().await;
                slots
            };
            let free_slots = self.shared.progress.claims.rest(free_slots);
            let Some(Some(slots)) = stop.run_until_cancelled(free_slots).await else {
                return;
            };

            // Never dropped half-way, not even to stop: jobs could have been taken that nobody knows of.
            let begun = Instant::now();
            let pause = match self.shared.consumer.claim(&nonce, slots.num_permits()).await {
                Ok(claims) => {
                    self.shared
                        .metrics
                        .claim_seconds
                        .observe(begun.elapsed().as_secs_f64());
                    self.heard();
                    waits.reset();
                    nonce = Nonce::fresh();
                    self.start(claims, slots, stop)
                }
                Err(error) => {
                    self.shared.progress.claims.failed(&error);
                    self.shared.outage.failed("claim", &error);
                    if !error.is_ambiguous() {
                        nonce = Nonce::fresh();
                    }
                    Pause::For(waits.next())
                }
            };
            if stop
                .run_until_cancelled(self.pause(pause, &mut waits))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    /// Version and rights, once, before the first claim.
    async fn check(&self) {
        let mut waits = Waits::new();
        while let Err(error) = self.shared.consumer.check().await {
            self.shared.progress.claims.failed(&error);
            self.shared.outage.failed("check", &error);
            sleep(waits.next()).await;
        }
        self.heard();
        tracing::info!("ready for jobs");
    }

    /// As many free slots as one claim asks for, once there is one. `None` never happens while the semaphore lives.
    async fn free_slots(&self) -> Option<OwnedSemaphorePermit> {
        let mut slots = Arc::clone(&self.slots).acquire_owned().await.ok()?;
        let others = self.slots.available_permits().min(self.most.saturating_sub(1));
        let others = u32::try_from(others).unwrap_or(u32::MAX);
        // Only this loop takes slots, so those that were free still are.
        if let Ok(others) = Arc::clone(&self.slots).try_acquire_many_owned(others) {
            slots.merge(others);
        }
        Some(slots)
    }

    fn start(&self, claims: Claims, mut slots: OwnedSemaphorePermit, stop: &CancellationToken) -> Pause {
        let took_some = !claims.jobs.is_empty();
        for claimed in claims.jobs {
            let hold = self
                .shared
                .held
                .hold(claimed.job.id.clone(), claimed.token.clone());
            match slots.split(1) {
                Some(slot) if !stop.is_cancelled() => {
                    let shared = Arc::clone(&self.shared);
                    self.running
                        .spawn(work(shared, claimed, hold, slot, self.job_timeout));
                }
                _ => self.shared.leave_unfinished(hold),
            }
        }
        match claims.quiet_for {
            Some(quiet) => Pause::For(quiet.min(QUIET_POLL)),
            None if took_some && (claims.remaining > 0 || slots.num_permits() == 0) => Pause::None,
            None => Pause::UntilArrival,
        }
    }

    async fn pause(&self, pause: Pause, waits: &mut Waits) {
        match pause {
            Pause::None => {}
            Pause::For(time) => sleep(time).await,
            Pause::UntilArrival => match self.shared.consumer.wake(Consumer::MAX_WAKE).await {
                Ok(_) => self.heard(),
                Err(error) => {
                    self.shared.progress.claims.failed(&error);
                    self.shared.outage.failed("wake", &error);
                    sleep(waits.next()).await;
                }
            },
        }
    }

    fn heard(&self) {
        self.shared.progress.claims.heard();
        self.shared.outage.answered();
    }
}

/// Runs a claimed job. Its lease is kept by others meanwhile, for as long as the hold lives.
async fn work<H: Handler>(
    shared: Arc<Shared<H>>,
    claimed: Claimed,
    hold: Hold,
    slot: OwnedSemaphorePermit,
    timeout: Option<Duration>,
) {
    tracing::debug!(job = %hold.id, attempt = claimed.attempt, "job started");
    let begun = Instant::now();
    let verdict = attempt::run(&shared, claimed, &hold, timeout).await;
    shared.metrics.job_seconds.observe(begun.elapsed().as_secs_f64());
    match verdict {
        Verdict::Tell(how) => shared.endings.take_in(how, hold, slot),
        Verdict::GiveBack => shared.leave_unfinished(hold),
        Verdict::Forget => {
            tracing::debug!(job = %hold.id, outcome = "lost", "job ended");
            shared.metrics.ended("lost");
        }
    }
}
