//! Workers that are not ours, in the pods of adopted targets: no registry knows what they hold, but the server's list of
//! connections shows which of them have taken a job and are not back for the next.
//!
//! Nobody can ask one to take no more. But one whose pod is to end, and that waits for a job, is told so by an error in place of a
//! job: else, as a Python program that is a container's first process does not hear SIGTERM, it takes jobs until it is killed.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use queue::{Drainer, ForeignWorkers, Queue, Result};

use crate::foreign::Addresses;

/// A queue with such workers is not read more often than this, however often it changes: a list of all connections is made
/// for each reading.
pub(super) const READS_APART: Duration = Duration::from_millis(100);
/// How often it is read while some of them work, or are to end: one that has done its job and finds no other changes no key.
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
        let busy = addresses
            .all
            .iter()
            .filter_map(|address| workers.busy.get(address));
        busy.fold(Self::default(), |all, jobs| Self {
            jobs: all.jobs + jobs,
            pods: all.pods + 1,
        })
    }
}

/// Sees what they do, at these addresses, and dismisses those that need not wait any more.
pub(super) async fn look(drainer: &Drainer, queues: &[(Queue, Arc<Addresses>)]) -> Connected {
    let mut connected = Connected::default();
    let asked = async {
        connected.ask(drainer, queues).await?;
        connected.dismiss(drainer, queues).await
    };
    connected.failure = asked.await.err();
    connected.unsure = connected.unsure_among(queues);
    connected
}

/// A command that this user may not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// `CLIENT LIST`.
    List,
    /// `CLIENT UNBLOCK`.
    Unblock,
}

/// What the foreign workers of a server's databases were doing.
#[derive(Debug, Default)]
pub(super) struct Connected {
    by_database: BTreeMap<u32, ForeignWorkers>,
    pub(super) denied: Option<Denied>,
    /// Why it could not be asked; the next reading asks again.
    pub(super) failure: Option<queue::Error>,
    /// The addresses of workers that count as busy although they were not seen to take a job.
    pub(super) unsure: BTreeSet<IpAddr>,
}

impl Connected {
    /// Asks for the database of each of these queues. After they were read: a job that is taken in between is counted twice
    /// until the next reading, which is on its way then. The other way round it would not be counted at all.
    async fn ask(&mut self, drainer: &Drainer, queues: &[(Queue, Arc<Addresses>)]) -> Result<()> {
        for (queue, _) in queues {
            if let Entry::Vacant(entry) = self.by_database.entry(queue.queue_db) {
                let workers = drainer.foreign_workers(queue).await?;
                if workers.is_none() {
                    self.denied = Some(Denied::List);
                }
                entry.insert(workers.unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Whether anything was asked at all.
    pub(super) fn was_asked(&self) -> bool {
        self.failure.is_some() || !self.by_database.is_empty()
    }

    fn unsure_among(&self, queues: &[(Queue, Arc<Addresses>)]) -> BTreeSet<IpAddr> {
        let unsure = queues.iter().filter_map(|(queue, addresses)| {
            let workers = self.by_database.get(&queue.queue_db)?;
            Some(workers.unsure.intersection(&addresses.all).copied())
        });
        unsure.flatten().collect()
    }

    /// Tells those that wait, and whose pods are to end, that there is nothing to wait for.
    async fn dismiss(&mut self, drainer: &Drainer, queues: &[(Queue, Arc<Addresses>)]) -> Result<()> {
        for (queue, addresses) in queues {
            let waiting = self.waiting(queue, addresses);
            if !waiting.is_empty() && drainer.dismiss(&waiting).await?.is_none() {
                self.denied = Some(Denied::Unblock);
            }
        }
        Ok(())
    }

    /// The connections in which workers of pods that are to end wait.
    fn waiting(&self, queue: &Queue, addresses: &Addresses) -> Vec<u64> {
        let Some(workers) = self.by_database.get(&queue.queue_db) else {
            return Vec::new();
        };
        let ending = addresses.ending.iter();
        ending
            .filter_map(|address| workers.waiting.get(address))
            .flatten()
            .copied()
            .collect()
    }

    /// Those of the workers of a queue that are at these addresses; `None` if that was not asked.
    pub(super) fn at_work(&self, queue: &Queue, addresses: &Addresses) -> Option<ForeignAtWork> {
        if addresses.all.is_empty() {
            return Some(ForeignAtWork::default());
        }
        let workers = self.by_database.get(&queue.queue_db)?;
        Some(ForeignAtWork::of(workers, addresses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn connected(queue: &Queue) -> Connected {
        let workers = ForeignWorkers {
            busy: [(address(1), 2), (address(2), 1), (address(9), 1)].into(),
            waiting: [
                (address(3), vec![31]),
                (address(4), vec![41, 42]),
                (address(8), vec![81]),
            ]
            .into(),
            ..ForeignWorkers::default()
        };
        Connected {
            by_database: [(queue.queue_db, workers)].into(),
            ..Connected::default()
        }
    }

    fn pods() -> Addresses {
        Addresses {
            all: [1, 2, 3, 4].map(address).into(),
            ending: [1, 4].map(address).into(),
        }
    }

    #[test]
    fn only_workers_in_the_pools_own_pods_count() {
        let queue = Queue::new("queue".parse().unwrap());
        let expected = ForeignAtWork { jobs: 3, pods: 2 };
        assert_eq!(connected(&queue).at_work(&queue, &pods()), Some(expected));
        assert_eq!(
            Connected::default().at_work(&queue, &pods()),
            None,
            "what is not known does not count as nothing"
        );
        let none = Some(ForeignAtWork::default());
        assert_eq!(Connected::default().at_work(&queue, &Addresses::default()), none);
    }

    #[test]
    fn only_those_that_wait_in_pods_that_are_to_end_are_dismissed() {
        let queue = Queue::new("queue".parse().unwrap());
        assert_eq!(connected(&queue).waiting(&queue, &pods()), [41, 42]);
        let elsewhere = Queue {
            queue_db: 7,
            ..queue.clone()
        };
        assert!(connected(&queue).waiting(&elsewhere, &pods()).is_empty());
    }
}
