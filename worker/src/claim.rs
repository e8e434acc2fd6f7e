//! Takes jobs for as long as there are slots for them.

use std::{
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use futures::poll;
use queue::{Claimed, Claims, Consumer, Error, Nonce, Wake};
use tokio::{sync::OwnedSemaphorePermit, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    attempt::{self, Verdict},
    endings::{Batch, InTurn},
    handler::Handler,
    held::Hold,
    outage::Waits,
    run::Shared,
    slots::Slots,
};

/// How often a quiet worker asks whether it still is. It must not wait for arrivals: they would wake it for
/// jobs that it does not get, again and again.
const QUIET_POLL: Duration = Duration::from_secs(1);

/// Takes jobs of one queue and starts them.
#[derive(Debug)]
pub(crate) struct Claimer<H> {
    shared: Arc<Shared<H>>,
    job_timeout: Option<Duration>,
    slots: Slots,
    /// The jobs that run.
    running: TaskTracker,
}

/// The call that takes jobs. It stays the same as long as one of its tries may have been carried out.
#[derive(Debug)]
struct Call {
    nonce: Nonce,
    unanswered: Option<Unanswered>,
}

/// A call that failed, and may have taken jobs.
#[derive(Debug)]
struct Unanswered {
    /// The number of jobs that it asked for.
    jobs: usize,
    /// Slots for these jobs, which no other queue may have meanwhile.
    kept: OwnedSemaphorePermit,
}

impl Call {
    fn new() -> Self {
        Self {
            nonce: Nonce::fresh(),
            unanswered: None,
        }
    }

    /// Keeps the slots only if the error leaves open whether jobs were taken.
    fn failed(&mut self, error: &Error, jobs: usize, slots: OwnedSemaphorePermit) {
        if took_nothing(error) {
            *self = Self::new();
        } else {
            self.unanswered = Some(Unanswered { jobs, kept: slots });
        }
    }
}

/// True if Redis refused a claim for this one queue: for its keys, or the rights on them. Slots that waited for such a claim
/// would be lost to the other queues until that is repaired. Jobs of an earlier try whose answer was lost come back when
/// their leases end.
///
/// Every other error concerns the whole server, on which no queue can claim now. An earlier try may have been carried out.
fn took_nothing(error: &Error) -> bool {
    match error {
        Error::WrongType(_) | Error::Denied(_) | Error::Malformed { .. } => true,
        // Each node of a cluster has some of the queues.
        Error::Redirected { .. } | Error::CrossSlot | Error::SlotUnavailable(_) => true,
        // Another script runs, perhaps the earlier try.
        Error::Unexpected(text) => !text.starts_with("BUSY"),
        _ => false,
    }
}

/// Where jobs can be put that are taken.
#[derive(Debug)]
struct Room<'a> {
    /// What ends is told in the same call, and gives its slots too.
    in_turn: Option<InTurn<'a>>,
    slots: OwnedSemaphorePermit,
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
    pub(crate) fn new(shared: Arc<Shared<H>>, slots: Slots, job_timeout: Option<Duration>) -> Self {
        Self {
            shared,
            job_timeout,
            slots,
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
        let mut call = Call::new();
        let mut woken = false;
        loop {
            let room = self.shared.progress.claims.rest(self.room(&mut call, woken));
            let Some(Some(room)) = stop.run_until_cancelled(room).await else {
                return;
            };
            // Never dropped half-way, not even to stop: jobs could have been taken that nobody knows of.
            let pause = self.call(&mut call, room, &mut waits, stop).await;
            let paused = stop.run_until_cancelled(self.pause(pause, &mut waits)).await;
            let Some(arrived) = paused else {
                return;
            };
            woken = arrived;
        }
    }

    /// Tells what has ended and takes jobs.
    async fn call(
        &self,
        call: &mut Call,
        room: Room<'_>,
        waits: &mut Waits,
        stop: &CancellationToken,
    ) -> Pause {
        let Room { in_turn, mut slots } = room;
        let batch = match &in_turn {
            Some(in_turn) => in_turn.take().await,
            None => Batch::default(),
        };
        let name = if batch.is_empty() { "claim" } else { "turn" };
        let most = (slots.num_permits() + batch.len()).min(self.slots.most());
        if most == 0 {
            return Pause::None;
        }
        let begun = Instant::now();
        match batch.tell_and_claim(&self.shared, &call.nonce, most).await {
            Ok((answers, claims)) => {
                self.shared
                    .metrics
                    .claim_seconds
                    .observe(begun.elapsed().as_secs_f64());
                self.heard();
                waits.reset();
                *call = Call::new();
                for slot in batch.end(answers, &self.shared) {
                    slots.merge(slot);
                }
                self.start(claims, slots, stop)
            }
            Err(error) => {
                self.shared.progress.claims.failed(&error);
                self.shared.outage.failed(name, &error);
                call.failed(&error, most, slots);
                if let Some(in_turn) = in_turn {
                    in_turn.leave(batch);
                }
                Pause::For(waits.next())
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

    /// Waits until there is a slot for a job, or one will be as soon as an ending is told; and until work can be done.
    /// `None` never happens while there are slots.
    async fn room(&self, call: &mut Call, woken: bool) -> Option<Room<'_>> {
        if let Some(Unanswered { jobs, kept }) = call.unanswered.take() {
            // Jobs that it may have taken must find their slots. The slots of jobs that it would have ended, if this is
            // the only queue, are free when their outcomes are reported alone.
            let lacking = jobs.saturating_sub(kept.num_permits());
            let mut slots = self.slots.wait_for(lacking).await?;
            slots.merge(kept);
            self.shared.handler.ready().await;
            return Some(Room { in_turn: None, slots });
        }
        if self.slots.are_shared() {
            // An ending that is told in turn would keep its slot for this queue.
            let first = self.slot_in_line(woken).await?;
            self.shared.handler.ready().await;
            let slots = self.and_others(first);
            return Some(Room { in_turn: None, slots });
        }
        let endings = &self.shared.endings;
        let mut in_turn = endings.in_turn();
        let first = tokio::select! {
            biased;
            first = self.slots.wait_for(1) => first?,
            () = in_turn.some() => self.slots.wait_for(0).await?,
        };
        let mut ready = pin!(self.shared.handler.ready());
        if poll!(&mut ready).is_pending() {
            // What has ended does not wait for that.
            drop(in_turn);
            ready.await;
            in_turn = endings.in_turn();
        }
        Some(Room {
            in_turn: Some(in_turn),
            slots: self.and_others(first),
        })
    }

    /// Waits for a slot, in line with the other queues. If it was `woken` and there is none, it does not keep what woke it
    /// from workers that have one.
    async fn slot_in_line(&self, woken: bool) -> Option<OwnedSemaphorePermit> {
        let mut slot = pin!(self.slots.wait_for(1));
        if let Poll::Ready(slot) = poll!(&mut slot) {
            return slot;
        }
        if woken && let Err(error) = self.shared.consumer.pass_on().await {
            // Then another worker finds it within the time that a wake-up takes at most.
            self.shared.metrics.failed(error.kind());
            tracing::debug!(%error, "could not hand on what woke this worker");
        }
        slot.await
    }

    /// With all slots that are free besides, as far as one call asks for them.
    fn and_others(&self, mut slots: OwnedSemaphorePermit) -> OwnedSemaphorePermit {
        let most = self.slots.most().saturating_sub(slots.num_permits());
        if let Some(others) = self.slots.free(most) {
            slots.merge(others);
        }
        slots
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

    /// Whether something has arrived.
    async fn pause(&self, pause: Pause, waits: &mut Waits) -> bool {
        match pause {
            Pause::None => {}
            Pause::For(time) => sleep(time).await,
            Pause::UntilArrival => match self.shared.consumer.wake(Consumer::MAX_WAKE).await {
                Ok(wake) => {
                    self.heard();
                    return wake == Wake::Arrived;
                }
                Err(error) => {
                    self.shared.progress.claims.failed(&error);
                    self.shared.outage.failed("wake", &error);
                    sleep(waits.next()).await;
                }
            },
        }
        false
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_one_queue_free_slots_of_its_claim() {
        let text = String::new;
        for of_queue in [
            Error::WrongType(text()),
            Error::Denied(text()),
            Error::Unexpected("ERR user_script:1: bad data format in input".to_owned()),
        ] {
            assert!(took_nothing(&of_queue), "{of_queue:?}");
        }
        for of_server in [
            Error::Disconnected {
                address: text(),
                detail: text(),
            },
            Error::Loading,
            Error::OutOfMemory(text()),
            Error::Unexpected("BUSY Redis is busy running a script.".to_owned()),
        ] {
            assert!(!took_nothing(&of_server), "{of_server:?}");
        }
    }
}
