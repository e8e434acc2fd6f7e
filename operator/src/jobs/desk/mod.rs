//! The task that looks after all Jobs.
//!
//! It keeps what is known of each Job, plans one step at a time for each, and has a bounded number of steps under way; what
//! exceeds that waits in lines. So a burst of Jobs becomes a line, in which changes of one Job add up to one write, and not a
//! burst of requests.
//!
//! Here is what is heard; in `steps` what is done, in `outcomes` what came of it.

mod outcomes;
mod steps;

use std::{
    collections::{BTreeSet, HashMap, VecDeque, hash_map},
    sync::Arc,
    time::{Duration, Instant},
};

use crds::{WorkerPool, job::status::JobStatus};
use futures::{Stream, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Client, Resource,
    runtime::{reflector::Store, watcher},
};
use queue::{Cancel, JobId};
use telemetry::Panicked;
use tokio::{sync::mpsc, time::sleep_until};

use super::{
    calls::NotSubmitted,
    entry::{Entry, News, Uid},
    link::{Answer, Link, Question, QueueCall},
    objects::WatchedJob,
    plan::{Line, Step},
    slots::Slots,
};
use crate::{
    PoolRef, decoding::Guarded, error::Error, events::Events, metrics::Metrics, queues::Queues,
    schedule::Schedule,
};

/// Without anything to do.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// What the task works with.
pub(super) struct Tools {
    pub(super) client: Client,
    pub(super) pools: Store<WorkerPool>,
    pub(super) queues: Queues,
    pub(super) events: Events,
    pub(super) metrics: Arc<Metrics>,
}

/// All Jobs.
pub(super) struct Desk {
    tools: Tools,
    jobs: HashMap<Uid, Entry>,
    /// Jobs whose id in their pool's queue is not their UID.
    own_ids: HashMap<(PoolRef, JobId), BTreeSet<Uid>>,
    links: HashMap<PoolRef, Link>,
    writes: VecDeque<Uid>,
    tidies: VecDeque<Uid>,
    timers: Schedule<Uid>,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
    submitting: Slots,
    writing: Slots,
    tidying: Slots,
    /// Counts the lists of all Jobs that the watch began with.
    listing: u64,
}

/// What was under way and has ended.
enum Done {
    Submitted {
        uid: Uid,
        call: QueueCall,
        /// It was under our finalizer before, or its id is not its own alone, so it may have been submitted before.
        again: bool,
        seen: Option<ObjectMeta>,
        result: Result<Option<u64>, NotSubmitted>,
    },
    Cancelled(Uid, QueueCall, queue::Result<Cancel>),
    Wrote(Uid, Written, Result<ObjectMeta, Error>),
    Tidied {
        uid: Uid,
        step: Step,
        /// As events name it: it may be gone, and forgotten, before the call is answered.
        about: ObjectReference,
        result: Result<Option<ObjectMeta>, Error>,
    },
    Answered(QueueCall, Question, queue::Result<Answer>),
    /// A step of this line panicked.
    Panicked(Uid, Line, Panicked),
    /// The question how a pool's Jobs are panicked.
    AskingPanicked(PoolRef, Panicked),
}

/// A status, and what it was made from.
struct Written {
    status: Box<JobStatus>,
    news: Option<News>,
}

impl Desk {
    pub(super) fn new(tools: Tools) -> Self {
        Self {
            tools,
            jobs: HashMap::new(),
            own_ids: HashMap::new(),
            links: HashMap::new(),
            writes: VecDeque::new(),
            tidies: VecDeque::new(),
            timers: Schedule::default(),
            under_way: FuturesUnordered::new(),
            submitting: Slots::new(steps::SUBMITS_AT_ONCE),
            writing: Slots::new(steps::WRITES_AT_ONCE),
            tidying: Slots::new(steps::TIDIED_AT_ONCE),
            listing: 0,
        }
    }

    /// Looks after the Jobs that `watch` tells of; `pools` names pools whose queue has news. Runs until one of them ends.
    pub(super) async fn run(
        mut self,
        watch: impl Stream<Item = watcher::Event<Guarded<WatchedJob>>>,
        mut pools: mpsc::UnboundedReceiver<PoolRef>,
    ) {
        let mut watch = std::pin::pin!(watch);
        loop {
            let wake = self.next_wake();
            tokio::select! {
                event = watch.next() => match event {
                    Some(event) => self.hear(event),
                    None => return,
                },
                pool = pools.recv() => match pool {
                    Some(pool) => self.look(&pool),
                    None => return,
                },
                Some(done) = self.under_way.next(), if !self.under_way.is_empty() => self.take_in(done),
                () = sleep_until(wake.into()) => {}
            }
            self.start_what_is_due();
        }
    }

    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let links = self.links.values().filter_map(|link| link.next_wake(now));
        let next = links.chain(self.timers.next()).min();
        next.unwrap_or(now + LONGEST_REST).min(now + LONGEST_REST)
    }
}

impl Desk {
    fn hear(&mut self, event: watcher::Event<Guarded<WatchedJob>>) {
        match event {
            watcher::Event::Apply(job) | watcher::Event::InitApply(job) => match &job.0 {
                Ok(job) => self.see(job),
                Err(undecodable) => self.see_metadata(&undecodable.metadata),
            },
            watcher::Event::Delete(job) => {
                if let Some(uid) = job.meta().uid.as_deref() {
                    self.forget(uid);
                }
            }
            watcher::Event::Init => self.listing += 1,
            watcher::Event::InitDone => {
                let gone = self.jobs.values().filter(|entry| entry.listing != self.listing);
                let gone: Vec<_> = gone.map(|entry| Arc::clone(&entry.uid)).collect();
                gone.iter().for_each(|uid| self.forget(uid));
            }
        }
        self.tools.metrics.jobs.known(self.jobs.len());
    }

    fn see(&mut self, job: &WatchedJob) {
        let now = Instant::now();
        let Some(fresh) = Entry::new(job, now) else { return };
        let uid = Arc::clone(&fresh.uid);
        let pool = fresh.pool.clone();
        let entry = match self.jobs.entry(Arc::clone(&uid)) {
            hash_map::Entry::Occupied(known) => known.into_mut(),
            hash_map::Entry::Vacant(place) => {
                let link = self.links.entry(pool.clone());
                let link = link.or_insert_with(|| Link::new(pool, now));
                link.jobs.insert(Arc::clone(&uid));
                if fresh.submitted && fresh.ending().is_none() {
                    link.poll_soon(now);
                }
                link.look(exists(&self.tools, &fresh.pool), &self.tools.queues, now);
                if let Some(id) = fresh.own_id.clone() {
                    let jobs = self.own_ids.entry((fresh.pool.clone(), id)).or_default();
                    jobs.insert(Arc::clone(&uid));
                }
                place.insert(fresh)
            }
        };
        entry.see(&job.metadata, now);
        entry.listing = self.listing;
        self.consider(&uid);
    }

    /// A Job that cannot be decoded any more goes on with what is known of it; one that never could be is none.
    fn see_metadata(&mut self, metadata: &ObjectMeta) {
        let uid = metadata.uid.as_deref().unwrap_or_default();
        if let Some(entry) = self.jobs.get_mut(uid) {
            entry.see(metadata, Instant::now());
            entry.listing = self.listing;
            let uid = Arc::clone(&entry.uid);
            self.consider(&uid);
        }
    }

    fn forget(&mut self, uid: &str) {
        let Some(entry) = self.jobs.remove(uid) else {
            return;
        };
        self.timers.remove(&entry.uid);
        if let Some(link) = self.links.get_mut(&entry.pool) {
            link.jobs.remove(uid);
        }
        if let Some(id) = entry.own_id
            && let hash_map::Entry::Occupied(mut jobs) = self.own_ids.entry((entry.pool.clone(), id))
        {
            jobs.get_mut().remove(uid);
            if jobs.get().is_empty() {
                jobs.remove();
            }
        }
        self.forget_idle(&entry.pool);
    }

    /// Forgets the queue client of a pool that no Job needs.
    fn forget_idle(&mut self, pool: &PoolRef) {
        if self.links.get(pool).is_some_and(Link::is_idle) {
            self.links.remove(pool);
        }
    }

    /// Looks at a pool anew, and at its Jobs if it has changed.
    fn look(&mut self, pool: &PoolRef) {
        let Some(link) = self.links.get_mut(pool) else {
            return;
        };
        if link.look(exists(&self.tools, pool), &self.tools.queues, Instant::now()) {
            tracing::debug!(%pool, access = ?link.access, "the way to the queue of Jobs changed");
            self.consider_all_of(pool);
        }
    }

    fn consider_all_of(&mut self, pool: &PoolRef) {
        let Some(link) = self.links.get(pool) else { return };
        let jobs: Vec<_> = link.jobs.iter().cloned().collect();
        jobs.iter().for_each(|uid| self.consider(uid));
    }
}

fn exists(tools: &Tools, pool: &PoolRef) -> bool {
    tools.pools.get(pool).is_some()
}
