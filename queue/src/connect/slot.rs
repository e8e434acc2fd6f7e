//! Where the one connection lies, and what became of the last.

use std::{
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Instant,
};

use super::{Live, pace::Pace};
use crate::Error;

/// The connection, if there is one. Everybody looks in; one at a time puts a new one in.
#[derive(Debug, Default)]
pub(super) struct Slot {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    live: Option<Live>,
    made: u64,
    pace: Pace,
    /// Why there is none: answered to whoever asks before the next may be made.
    failure: Option<Error>,
}

impl Slot {
    pub(super) fn live(&self) -> Option<Live> {
        self.read().live.clone()
    }

    /// The last failure, as long as no connection may be made because of it.
    pub(super) fn refusal(&self) -> Option<Error> {
        let state = self.read();
        let refused = !state.pace.allows(Instant::now());
        state.failure.clone().filter(|_| refused)
    }

    /// Which the next connection is.
    pub(super) fn next_generation(&self) -> u64 {
        let mut state = self.write();
        state.made += 1;
        state.made
    }

    pub(super) fn put(&self, live: Live) {
        self.write().live = Some(live);
    }

    pub(super) fn failed(&self, err: &Error) {
        let mut state = self.write();
        state.pace.failed(Instant::now());
        state.failure = Some(err.clone());
    }

    /// Takes a connection out; a newer one is left alone. Answers whether it was there.
    pub(super) fn give_up(&self, generation: u64, because: &Error) -> bool {
        let mut state = self.write();
        let Some(live) = state.live.take_if(|live| live.generation == generation) else {
            return false;
        };
        state.pace.ended(live.made_at, Instant::now());
        state.failure = Some(because.clone());
        true
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}
