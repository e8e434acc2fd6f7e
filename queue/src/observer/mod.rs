//! The face that reads how long queues are, and is told when that changes.

mod changes;
mod cluster;
mod counts;
mod node;
mod subject;

use std::{sync::Arc, time::Instant};

pub(crate) use self::changes::Ear;
use self::{changes::Dirty, cluster::Cluster, node::Node, subject::Question};
pub use self::{
    changes::{Change, Changes},
    counts::Counts,
    subject::{ForeignKey, ForeignQueue, KeyKind, Subject},
};
use crate::{Queue, Result, Server};

/// One consistent look at a queue: all of it from one script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Items on the main list, without those that are only there to be dropped because they were cancelled.
    pub waiting: u64,
    /// Items in the arrivals list: waiting too, between a wake-up and a claim.
    pub arrivals: u64,
    /// Jobs that workers of ours hold.
    pub running: u64,
    /// Jobs that wait for a time.
    pub delayed: u64,
    /// Of those, how many are due now.
    pub due: u64,
    /// Jobs and other items that were given up.
    pub dead: u64,
    /// Watched jobs that [`Producer::take_changed`](crate::Producer::take_changed) would answer.
    pub changed: u64,
    /// When the next delayed job is due, in Unix milliseconds of the server. May be in the past.
    pub next_due_ms: Option<u64>,
    /// When the job at the head was submitted, in Unix milliseconds of the server. `None` if nothing waits or
    /// a foreign producer submitted it.
    pub oldest_submitted_ms: Option<u64>,
    /// Jobs completed since the queue began, by workers of ours: two readings give a rate.
    pub completed: u64,
    /// The time that those jobs took together, in milliseconds: with `completed`, the mean time of a job.
    pub completed_busy_ms: u64,
    /// What else happened how often.
    pub counts: Counts,
    /// The server's clock at the reading, in Unix milliseconds.
    pub server_time_ms: u64,
    /// The server process; a new one after a restart or a failover.
    pub run_id: String,
    /// Whether it is known that a push will follow the next change. If not, poll.
    pub tracked: bool,
    /// When the answer came, by our clock.
    pub read_at: Instant,
}

impl Reading {
    /// Everything that waits and could run now: `waiting`, `arrivals` and what is due.
    pub fn ready(&self) -> u64 {
        self.waiting + self.arrivals + self.due
    }
}

/// Reads queues over one connection to their server, however many they are; of a Redis Cluster, over one to each node that has
/// some. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Observer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    place: Place,
    dirty: Arc<Dirty>,
}

#[derive(Debug)]
enum Place {
    Server(Arc<Node>),
    Cluster(Box<Cluster>),
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.dirty.wake();
    }
}

impl Observer {
    /// Makes an observer and the stream of its changes, and begins to connect in the background, again and
    /// again with a backoff. Must be called within a tokio runtime.
    ///
    /// Redis tells of changes only to who has read since the last one: each [`Observer::read`] arms its queues
    /// for one push. So read a queue once at first, and again after each [`Change`] that names it. Where the
    /// server refuses tracking, reads work all the same and say `tracked: false`.
    ///
    /// In a Redis Cluster, a queue whose keys went to another node without having changed is found there by its next
    /// reading only: poll.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) or [`Error::Tls`](crate::Error::Tls) for settings that cannot work.
    pub fn new(server: &Server) -> Result<(Self, Changes)> {
        let dirty = Arc::new(Dirty::default());
        let place = match &server.cluster {
            None => Place::Server(Node::new(server, &dirty)?),
            Some(_) => Place::Cluster(Box::new(Cluster::new(server, &dirty)?)),
        };
        let shared = Arc::new(Shared {
            place,
            dirty: Arc::clone(&dirty),
        });
        let changes = Changes::new(dirty, Arc::downgrade(&shared));
        Ok((Self { shared }, changes))
    }

    /// [`Observer::read_all`] of queues of ours.
    pub async fn read(&self, queues: &[Queue]) -> Vec<Result<Reading>> {
        let subjects: Vec<_> = queues.iter().cloned().map(Subject::Own).collect();
        self.read_all(&subjects).await
    }

    /// Reads each queue and arms it. One round trip for all (for each 64, to be exact); one answer each, in their
    /// order. Of another system's queue all numbers but `waiting` and `running` are 0.
    ///
    /// Errors are per queue: [`Error::NotMaster`](crate::Error::NotMaster) when the server is a replica;
    /// [`Error::WrongType`](crate::Error::WrongType) for a key that is not what it should be; any other as it comes.
    pub async fn read_all(&self, subjects: &[Subject]) -> Vec<Result<Reading>> {
        match &self.shared.place {
            Place::Server(node) => node.read_all(subjects).await,
            Place::Cluster(cluster) => cluster.read_all(subjects).await,
        }
    }

    /// Forgets a queue: no change will name it until it is read again.
    pub fn forget(&self, subject: &Subject) {
        let question = Question::about(subject);
        self.shared.dirty.forget(subject, &question.keys());
        if let Place::Cluster(cluster) = &self.shared.place {
            cluster.forget(subject);
        }
    }
}
