//! Workers that are not ours, in the pods of adopted targets: no registry knows what they hold, but the server's list of
//! connections shows which of them have taken a job and are not back for the next.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use queue::{Drainer, ForeignWorkers, Queue, Result};

use crate::foreign::Addresses;

/// A queue with such workers is not read more often than this, however often it changes: a list of all connections is made
/// for each reading.
pub(super) const READS_APART: Duration = Duration::from_millis(100);
/// How often it is read while some of them work: one that has done its job and finds no other changes no key.
pub(super) const POLL: Duration = Duration::from_secs(1);
/// What the list costs the server's budget: with a thousand connections about a millisecond.
pub(super) const COST: Duration = Duration::from_millis(10);

/// The foreign workers of one pool that have taken a job and are not back for the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForeignAtWork {
    /// How many: each has one job.
    pub jobs: u64,
    /// In so many pods.
    pub pods: u64,
}

impl ForeignAtWork {
    fn of(workers: &ForeignWorkers, addresses: &Addresses) -> Self {
        let busy = addresses.iter().filter_map(|address| workers.busy.get(address));
        busy.fold(Self::default(), |all, jobs| Self {
            jobs: all.jobs + jobs,
            pods: all.pods + 1,
        })
    }
}

/// What the foreign workers of a server's databases were doing; `None` where this user may not ask.
#[derive(Debug, Default)]
pub(super) struct Connected(BTreeMap<u32, Option<ForeignWorkers>>);

impl Connected {
    /// Asks for the database of each of these queues. After they were read: a job that is taken in between is counted twice
    /// until the next reading, which is on its way then. The other way round it would not be counted at all.
    pub(super) async fn ask(drainer: &Drainer, queues: &[Queue]) -> Result<Self> {
        let mut connected = BTreeMap::new();
        for queue in queues {
            if let Entry::Vacant(entry) = connected.entry(queue.queue_db) {
                entry.insert(drainer.foreign_workers(queue).await?);
            }
        }
        Ok(Self(connected))
    }

    /// Those of the workers of a queue that are at these addresses; `None` if that was not asked.
    pub(super) fn at_work(&self, queue: &Queue, addresses: &Addresses) -> Option<ForeignAtWork> {
        if addresses.is_empty() {
            return Some(ForeignAtWork::default());
        }
        let workers = self.0.get(&queue.queue_db)?;
        let at_work = workers
            .as_ref()
            .map(|workers| ForeignAtWork::of(workers, addresses));
        Some(at_work.unwrap_or_default())
    }

    /// Whether this user may not ask.
    pub(super) fn is_denied(&self) -> bool {
        self.0.values().any(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, sync::Arc};

    use super::*;

    #[test]
    fn only_workers_in_the_pools_own_pods_count() {
        let queue = Queue::new("queue".parse().unwrap());
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        let workers = ForeignWorkers {
            busy: [(address(1), 2), (address(2), 1), (address(9), 1)].into(),
            waiting: [address(3)].into(),
        };
        let connected = Connected([(queue.queue_db, Some(workers))].into());
        let pods = Arc::new([1, 2, 3].map(address).into());
        let expected = ForeignAtWork { jobs: 3, pods: 2 };
        assert_eq!(connected.at_work(&queue, &pods), Some(expected));
        assert_eq!(
            Connected::default().at_work(&queue, &pods),
            None,
            "what is not known does not count as nothing"
        );
        let none = Some(ForeignAtWork::default());
        assert_eq!(Connected::default().at_work(&queue, &Addresses::default()), none);

        let denied = Connected([(queue.queue_db, None)].into());
        assert!(denied.is_denied() && !connected.is_denied());
        assert_eq!(denied.at_work(&queue, &pods), none);
    }
}
