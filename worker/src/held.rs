//! What this worker holds: the jobs whose leases it must renew, and how to stop each of their handlers.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use queue::{JobId, Token};
use tokio_util::sync::CancellationToken;

use crate::{handler::StopReason, metrics::Metrics};

/// The jobs held. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    entries: Arc<Mutex<HashMap<JobId, Entry>>>,
    /// Numbers the claims, because a map forgets their order and a give-back must not.
    next: Arc<AtomicU64>,
    metrics: Metrics,
}

#[derive(Clone, Debug)]
struct Entry {
    number: u64,
    token: Token,
    stop: Stop,
}

/// Tells one handler to stop, and why. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    state: Arc<State>,
    told: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    reason: OnceLock<StopReason>,
    over: AtomicBool,
}

impl Stop {
    /// False if there is nothing left to stop.
    pub(crate) fn tell(&self, reason: StopReason) -> bool {
        if self.state.over.load(Ordering::Acquire) {
            return false;
        }
        // A reason that comes second changes nothing.
        let _ = self.state.reason.set(reason);
        self.told.cancel();
        true
    }

    /// The handler has ended: what it ended with stands, and only Redis can say that it comes too late.
    pub(crate) fn over(&self) {
        self.state.over.store(true, Ordering::Release);
    }

    pub(crate) fn token(&self) -> &CancellationToken {
        &self.told
    }

    pub(crate) fn reason(&self) -> Option<StopReason> {
        self.state.reason.get().copied()
    }
}

impl Held {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            entries: Arc::default(),
            next: Arc::default(),
            metrics,
        }
    }

    /// Enters a claimed job. It is held until the hold is dropped, however its task ends.
    pub(crate) fn hold(&self, id: JobId, token: Token) -> Hold {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let stop = Stop::default();
        let entry = Entry {
            number,
            token: token.clone(),
            stop: stop.clone(),
        };
        if let Some(former) = self.lock().insert(id.clone(), entry) {
            // Only a lost job can be claimed again, so the former handler is a zombie that does not know yet.
            former.stop.tell(StopReason::Lost);
        }
        self.metrics.held.inc();
        Hold {
            id,
            token,
            stop,
            number,
            held: self.clone(),
        }
    }

    /// Everything held.
    pub(crate) fn pairs(&self) -> Vec<(JobId, Token)> {
        self.lock()
            .iter()
            .map(|(id, entry)| (id.clone(), entry.token.clone()))
            .collect()
    }

    /// Tells the handlers of these jobs to stop, unless a newer claim holds them by now. Answers whose it told.
    pub(crate) fn stop(&self, ids: &[JobId], asked: &[(JobId, Token)], reason: StopReason) -> Vec<JobId> {
        if ids.is_empty() {
            return Vec::new();
        }
        let asked: HashMap<&JobId, &Token> = asked.iter().map(|(id, token)| (id, token)).collect();
        let entries = self.lock();
        let told = ids.iter().filter(|id| {
            entries
                .get(id)
                .is_some_and(|entry| asked.get(id) == Some(&&entry.token) && entry.stop.tell(reason))
        });
        told.cloned().collect()
    }

    /// By what the job is held; `None` if it is not.
    pub(crate) fn token(&self, id: &JobId) -> Option<Token> {
        self.lock().get(id).map(|entry| entry.token.clone())
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Tells every handler to stop.
    pub(crate) fn stop_all(&self, reason: StopReason) {
        for entry in self.lock().values() {
            entry.stop.tell(reason);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That one job is held.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) id: JobId,
    pub(crate) token: Token,
    pub(crate) stop: Stop,
    /// Later claims have higher ones.
    pub(crate) number: u64,
    held: Held,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut entries = self.held.lock();
        // The same job may have been lost and claimed again meanwhile: that entry is not this one's.
        if entries
            .get(&self.id)
            .is_some_and(|entry| entry.number == self.number)
        {
            entries.remove(&self.id);
        }
        self.held.metrics.held.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Held {
        Held::new(Metrics::register(&mut telemetry::registry("test", "0")))
    }

    fn pair(id: &str, token: &str) -> (JobId, Token) {
        let token = serde_json::from_value(token.into()).unwrap();
        (JobId::new(id).unwrap(), token)
    }

    #[test]
    fn job_is_held_until_its_hold_is_dropped() {
        let held = held();
        let (id, token) = pair("a", "1");
        let hold = held.hold(id.clone(), token.clone());
        assert_eq!(held.pairs(), [(id, token)]);
        drop(hold);
        assert_eq!(held.pairs(), []);
    }

    #[test]
    fn job_claimed_anew_stops_its_former_handler_and_outlives_its_hold() {
        let held = held();
        let (id, first) = pair("a", "1");
        let (_, second) = pair("a", "2");
        let zombie = held.hold(id.clone(), first);
        let current = held.hold(id.clone(), second.clone());
        assert_eq!(zombie.stop.reason(), Some(StopReason::Lost));
        assert_eq!(current.stop.reason(), None);
        drop(zombie);
        assert_eq!(held.pairs(), [(id, second)]);
    }

    #[test]
    fn answer_about_a_former_claim_does_not_stop_the_present_one() {
        let held = held();
        let (id, first) = pair("a", "1");
        let (_, second) = pair("a", "2");
        let hold = held.hold(id.clone(), second.clone());
        held.stop(
            std::slice::from_ref(&id),
            &[(id.clone(), first)],
            StopReason::Lost,
        );
        assert_eq!(hold.stop.reason(), None);
        held.stop(
            std::slice::from_ref(&id),
            &[(id.clone(), second)],
            StopReason::Cancelled,
        );
        assert_eq!(hold.stop.reason(), Some(StopReason::Cancelled));
        assert!(hold.stop.token().is_cancelled());
    }

    #[test]
    fn first_reason_to_stop_stays() {
        let held = held();
        let (id, token) = pair("a", "1");
        let hold = held.hold(id.clone(), token.clone());
        held.stop(
            std::slice::from_ref(&id),
            &[(id.clone(), token)],
            StopReason::Lost,
        );
        held.stop_all(StopReason::Shutdown);
        assert_eq!(hold.stop.reason(), Some(StopReason::Lost));
    }

    #[test]
    fn handler_that_has_ended_cannot_be_stopped_any_more() {
        let held = held();
        let pair = pair("a", "1");
        let hold = held.hold(pair.0.clone(), pair.1.clone());
        hold.stop.over();
        let told = held.stop(
            std::slice::from_ref(&pair.0),
            std::slice::from_ref(&pair),
            StopReason::Lost,
        );
        assert_eq!(told, []);
        assert_eq!(hold.stop.reason(), None);
    }
}
