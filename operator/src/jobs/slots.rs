//! Bounds on what is under way at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// At most so many steps under way at once.
#[derive(Debug)]
pub(super) struct Slots {
    free: Arc<Semaphore>,
    size: usize,
}

/// One step that is under way. The slot is free again when this is dropped, whatever became of the step: it was answered, it
/// panicked, or its Job, its pool or its queue is gone by now.
#[derive(Debug)]
pub(super) struct Slot(OwnedSemaphorePermit);

impl Slots {
    pub(super) fn new(size: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(size)),
            size,
        }
    }

    /// A slot, if one is free.
    pub(super) fn take(&self) -> Option<Slot> {
        Arc::clone(&self.free).try_acquire_owned().ok().map(Slot)
    }

    pub(super) fn in_use(&self) -> usize {
        self.size - self.free.available_permits()
    }

    /// Whether the slot is one of these.
    pub(super) fn owns(&self, slot: &Slot) -> bool {
        Arc::ptr_eq(slot.0.semaphore(), &self.free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_is_free_again_when_its_step_is_dropped_or_panics() {
        let slots = Slots::new(2);
        let (first, second) = (slots.take().unwrap(), slots.take().unwrap());
        assert!(slots.take().is_none());
        drop(first);
        let panicked = telemetry::catch_panic_now("test", move || {
            let _slot = second;
            panic!("boom")
        });
        assert!(panicked.map(|(): ()| ()).is_err());
        assert_eq!(slots.in_use(), 0);
    }

    #[test]
    fn slot_of_replaced_slots_frees_none_of_the_new_ones() {
        let old = Slots::new(1);
        let slot = old.take().unwrap();
        let new = Slots::new(1);
        let _taken = new.take().unwrap();
        assert!(old.owns(&slot) && !new.owns(&slot));
        drop(slot);
        assert_eq!((old.in_use(), new.in_use()), (0, 1));
    }
}
