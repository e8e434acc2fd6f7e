//! Room for jobs.

use std::{num::NonZeroU32, sync::Arc};

use queue::Consumer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots of a worker, which its queues share: who waits longest has the next one. Clones are the same slots.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    count: usize,
    shared: bool,
}

impl Slots {
    /// So many, for so many queues.
    pub(crate) fn new(count: NonZeroU32, queues: usize) -> Self {
        let count = usize::try_from(count.get()).unwrap_or(Semaphore::MAX_PERMITS);
        let count = count.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(count)),
            count,
            shared: queues > 1,
        }
    }

    /// Whether several queues have them: then a slot that is free again is for who waits longest, and not for the queue
    /// whose job had it.
    pub(crate) fn are_shared(&self) -> bool {
        self.shared
    }

    /// The most that one call asks for: half of them, so that Redis has the next claim to do while this worker has the last
    /// one's jobs.
    pub(crate) fn most(&self) -> usize {
        self.count.div_ceil(2).min(Consumer::MAX_SLOTS)
    }

    /// Waits for so many, in line with all who do. `None` never happens while any clone lives.
    pub(crate) async fn wait_for(&self, slots: usize) -> Option<OwnedSemaphorePermit> {
        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
        Arc::clone(&self.free).acquire_many_owned(slots).await.ok()
    }

    /// Those that are free now, but no more than `most`; `None` if another queue is about to have them.
    pub(crate) fn free(&self, most: usize) -> Option<OwnedSemaphorePermit> {
        let slots = self.free.available_permits().min(most);
        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
        Arc::clone(&self.free).try_acquire_many_owned(slots).ok()
    }
}
