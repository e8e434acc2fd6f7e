//! The rate of looks at pods, over all pools.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Looks at pools that have just become unready: 4 a second.
const NEW_INTERVAL: Duration = Duration::from_millis(250);
/// Looks at pools that are known to be unready: 1 a second, so that new ones never wait for them.
const KNOWN_INTERVAL: Duration = Duration::from_secs(1);

/// Hands out the times at which pools look at their pods: at most five a second, over all pools.
#[derive(Debug)]
pub struct LookPacer {
    new: Arc<Lane>,
    known: Arc<Lane>,
}

impl Default for LookPacer {
    fn default() -> Self {
        Self {
            new: Arc::new(Lane::new(NEW_INTERVAL)),
            known: Arc::new(Lane::new(KNOWN_INTERVAL)),
        }
    }
}

impl LookPacer {
    /// The next free time for a pool that has just become unready.
    pub(super) fn reserve_new(&self, now: Instant) -> Slot {
        self.new.reserve(now)
    }

    /// The next free time for a pool that is known to be unready.
    pub(super) fn reserve_known(&self, now: Instant) -> Slot {
        self.known.reserve(now)
    }
}

/// Slots at equal intervals.
#[derive(Debug)]
struct Lane {
    interval: Duration,
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    /// The first slot after all that were handed out.
    next: Option<Instant>,
    /// Slots that were handed out and given back before their time.
    free: BTreeSet<Instant>,
}

impl Lane {
    fn new(interval: Duration) -> Self {
        Self {
            interval,
            slots: Mutex::default(),
        }
    }

    fn reserve(self: &Arc<Self>, now: Instant) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.free = slots.free.split_off(&now);
        let at = slots.free.pop_first().unwrap_or_else(|| {
            let at = slots.next.map_or(now, |next| next.max(now));
            slots.next = Some(at + self.interval);
            at
        });
        Slot {
            at,
            lane: Arc::clone(self),
            is_used: false,
        }
    }
}

/// A time that one pool has for one look. Given back when it is dropped unused: a pool that is cured leaves no gap.
#[derive(Debug)]
pub(super) struct Slot {
    at: Instant,
    lane: Arc<Lane>,
    is_used: bool,
}

impl Slot {
    pub(super) fn at(&self) -> Instant {
        self.at
    }

    pub(super) fn use_up(mut self) {
        self.is_used = true;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.is_used {
            let mut slots = self.lane.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.free.insert(self.at);
        }
    }
}
