//! The face that lets pods go without cutting a job: quiet, drain, unquiet; and ticks where no worker does.

use std::{sync::Arc, time::Duration};

use crate::{
    ForeignWorkers, Queue, Result, Risk, Server, Sweep, Terms, Tick,
    connect::{AnswerLimit, Link},
    foreign::{self, Takers},
    keys::Keys,
    risks,
    scripts::{MarkPods, Marking, Workers, tick},
};

/// How a pod is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It held nothing when it was marked, and claims nothing.
    Quiet,
    /// It may still hold jobs, and claims no new ones.
    Drain,
}

/// A worker process in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerState {
    /// The worker's nonce.
    pub nonce: String,
    /// Its pod's UID, if it was told.
    pub pod_uid: Option<String>,
    /// Its pod's name, if it was told.
    pub pod_name: Option<String>,
    /// Its IP.
    pub ip: String,
    /// Its host name, if it was told.
    pub host: Option<String>,
    /// Jobs that its pod holds: of all workers that told the same UID.
    pub held: u64,
    /// How its pod is marked now, and for how long still.
    pub mark: Option<(Mark, Duration)>,
    /// How long it still counts as alive if it is not heard of again.
    pub alive_for: Duration,
}

/// Marks pods and looks after queues that have no worker of ours. Cheap to clone; clones share a connection.
#[derive(Debug, Clone)]
pub struct Drainer {
    link: Arc<Link>,
    /// Which foreign workers were seen to take jobs.
    takers: Arc<Takers>,
}

impl Drainer {
    /// Makes a drainer. Does not wait for Redis: each call connects if it has to. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`crate::Error::Config`] or [`crate::Error::Tls`] for settings that cannot work.
    pub fn new(server: &Server) -> Result<Self> {
        Ok(Self {
            link: Arc::new(Link::new(server, 0, AnswerLimit::READ)?),
            takers: Arc::default(),
        })
    }

    /// As [`crate::Producer::risks`].
    ///
    /// # Errors
    /// Any that says why Redis cannot be asked.
    pub async fn risks(&self) -> Result<Vec<Risk>> {
        risks::read(&self.link).await
    }

    /// The registry: every worker of ours that was heard of within its time.
    ///
    /// # Errors
    /// Any that says why Redis cannot be read.
    pub async fn workers(&self, queue: &Queue) -> Result<Vec<WorkerState>> {
        self.link.run(&Keys::new(queue), &Workers).await
    }

    /// What workers that are not ours are doing, of all queues of this one's database; `None` if this user may not ask. An
    /// answer is old by the time it is read: they cannot be kept from taking the next job.
    ///
    /// # Errors
    /// Any that says why Redis cannot be read.
    pub async fn foreign_workers(&self, queue: &Queue) -> Result<Option<ForeignWorkers>> {
        foreign::workers(&self.link, queue.queue_db, &self.takers).await
    }

    /// Has workers that are not ours end which wait at these connections ([`ForeignWorkers::waiting`]): their BLPOP is answered with
    /// an error, and that ends a HotQueue program. One that has taken a job meanwhile is left alone. Answers how many were told;
    /// `None` if this user may not do so.
    ///
    /// # Errors
    /// Any that says why Redis cannot be asked; safe to repeat.
    pub async fn dismiss(&self, connections: &[u64]) -> Result<Option<u64>> {
        foreign::unblock(&self.link, connections).await
    }

    /// Marks those of `pods` (UIDs) that hold nothing, for `time` by the server's clock, and answers which:
    /// from now on they claim nothing. A pod that is marked already gets the new time. Renew while the pod
    /// lives; a mark whose giver dies ends by itself.
    ///
    /// # Errors
    /// [`crate::Error::StaleEpoch`] if a higher epoch has been seen; else any, and then no pod was marked, unless it
    /// is ambiguous.
    pub async fn quiet(
        &self,
        queue: &Queue,
        pods: &[String],
        epoch: u64,
        time: Duration,
    ) -> Result<Vec<String>> {
        self.mark(
            queue,
            MarkPods {
                marking: Marking::Quiet,
                pods,
                epoch,
                time,
            },
        )
        .await
    }

    /// Marks all of `pods`, also those that hold jobs: they finish what they have and claim nothing new.
    /// Answers those that hold nothing already.
    ///
    /// # Errors
    /// As [`Drainer::quiet`].
    pub async fn drain(
        &self,
        queue: &Queue,
        pods: &[String],
        epoch: u64,
        time: Duration,
    ) -> Result<Vec<String>> {
        self.mark(
            queue,
            MarkPods {
                marking: Marking::Drain,
                pods,
                epoch,
                time,
            },
        )
        .await
    }

    /// Lifts the marks of `pods`.
    ///
    /// # Errors
    /// As [`Drainer::quiet`].
    pub async fn unquiet(&self, queue: &Queue, pods: &[String], epoch: u64) -> Result<()> {
        self.mark(
            queue,
            MarkPods {
                marking: Marking::Lift,
                pods,
                epoch,
                time: Duration::ZERO,
            },
        )
        .await
        .map(drop)
    }

    /// As [`crate::Consumer::tick`], for pools without workers of ours. Call it every second or so as long as
    /// anything is running, delayed or in arrivals: a longer silence (half a lease) counts as an outage, after
    /// which leases are first given their time again.
    ///
    /// # Errors
    /// Any.
    pub async fn tick(&self, queue: &Queue, terms: &Terms) -> Result<Tick> {
        tick(&self.link, &Keys::new(queue), terms).await
    }

    /// As [`crate::Consumer::sweep`], for pools without workers of ours.
    ///
    /// # Errors
    /// Any; safe to repeat.
    pub async fn sweep(&self, queue: &Queue, terms: &Terms, recover: bool) -> Result<Sweep> {
        foreign::sweep(&self.link, &Keys::new(queue), recover, terms.retry.max_lost).await
    }

    async fn mark(&self, queue: &Queue, marks: MarkPods<'_>) -> Result<Vec<String>> {
        self.link.run(&Keys::new(queue), &marks).await
    }
}
