//! The life of a worker: claim, work, tell, give back.

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use axum::Router;
use futures::future::{join_all, pending};
use queue::{Consumer, Lease};
use telemetry::{Shutdown, Warnings};
use tracing::{Instrument, Span, info_span};

use crate::{
    callback, chores,
    claim::Claimer,
    drain::{self, Unfinished},
    endings::{self, Endings},
    handler::Handler,
    held::{Held, Hold},
    metrics::Metrics,
    outage::Outage,
    progress::{Loops, Progress},
    reports::{self, Reports},
    risks,
    slots::Slots,
};

/// How a worker works.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many jobs run at once, of all queues together.
    pub concurrency: NonZeroU32,
    /// How long a job is held without a sign of life, as the consumer was told.
    pub lease: Lease,
    /// How long running jobs may go on after the first signal.
    pub grace: Duration,
    /// How long an attempt may take; `None` sets no bound.
    pub job_timeout: Option<Duration>,
    /// Whether jobs that a foreign worker took and lost are put back, though they may run twice. They are counted
    /// in any case.
    pub recover_foreign: bool,
}

/// A worker, ready to run.
#[derive(Debug)]
pub struct Worker<H> {
    lanes: Vec<Lane<H>>,
    handler: Arc<H>,
    settings: Settings,
    risks: Warnings,
}

/// What a worker has for one of its queues. Handler and slots are those of the others too.
#[derive(Debug)]
struct Lane<H> {
    shared: Arc<Shared<H>>,
    claimer: Claimer<H>,
}

/// What the loops of a queue and the tasks of its jobs share.
#[derive(Debug)]
pub(crate) struct Shared<H> {
    pub(crate) consumer: Consumer,
    pub(crate) handler: Arc<H>,
    pub(crate) held: Held,
    pub(crate) endings: Endings,
    pub(crate) unfinished: Unfinished,
    pub(crate) outage: Outage,
    pub(crate) metrics: Metrics,
    pub(crate) progress: Loops,
    pub(crate) risks: Warnings,
    pub(crate) reports: Reports,
}

impl<H> Shared<H> {
    pub(crate) fn leave_unfinished(&self, hold: Hold) {
        self.unfinished.add(hold);
    }
}

impl<H: Handler> Worker<H> {
    /// Makes a worker that takes jobs from `consumers`, which are of one server and of a queue each, and has `handler` do
    /// them. Does not talk to Redis yet.
    pub fn new(consumers: Vec<Consumer>, handler: H, settings: Settings, metrics: &Metrics) -> Self {
        metrics.slots.set(settings.concurrency.get().into());
        let slots = Slots::new(settings.concurrency, consumers.len());
        let handler = Arc::new(handler);
        let risks = Warnings::about("redis");
        let lane = |consumer| {
            let shared = Arc::new(Shared {
                consumer,
                handler: Arc::clone(&handler),
                held: Held::new(metrics.clone()),
                endings: Endings::new(),
                unfinished: Unfinished::default(),
                outage: Outage::new(metrics.clone()),
                progress: Loops::new(settings.lease.renew_every()),
                risks: risks.clone(),
                reports: Reports::default(),
                metrics: metrics.clone(),
            });
            let claimer = Claimer::new(Arc::clone(&shared), slots.clone(), settings.job_timeout);
            Lane { shared, claimer }
        };
        Self {
            lanes: consumers.into_iter().map(lane).collect(),
            handler,
            settings,
            risks,
        }
    }

    /// What [`crate::progress::watch`] looks at.
    pub fn progress(&self) -> Progress {
        Progress(self.shared().map(|shared| shared.progress.clone()).collect())
    }

    /// Where what runs jobs outside of this process says how far they are, to be served at `address`:
    /// [`Context::progress_url`](crate::Context::progress_url).
    pub fn progress_routes(&self, address: SocketAddr) -> Router {
        let queues = self.shared().map(|shared| {
            shared.reports.listen_on(address);
            (shared.held.clone(), shared.reports.clone())
        });
        callback::routes(queues)
    }

    /// How Redis may lose what it holds, as far as is known.
    pub fn risks(&self) -> Warnings {
        self.risks.clone()
    }

    /// The handler's warnings, for `/readyz`.
    pub fn handler_warnings(&self) -> impl Fn() -> Vec<String> + Send + Sync + use<H> {
        let handler = Arc::clone(&self.handler);
        move || handler.warnings()
    }

    /// Works until shutdown is asked for, and then ends in order: no new claims, running jobs may finish within
    /// the grace time (the second signal ends it at once), what is left goes back to the head of its queue. An
    /// outage of Redis ends nothing and holds up nothing: what cannot be given back is reaped.
    pub async fn run(self, shutdown: &Shutdown) {
        let lanes = self.lanes.iter().map(|lane| {
            let span = match self.lanes.len() {
                1 => Span::none(),
                _ => info_span!("lane", queue = lane.shared.consumer.queue().name.as_str()),
            };
            lane.run(&self.settings, shutdown).instrument(span)
        });
        // One of them is enough: they are all on one server.
        let risks = async {
            match self.lanes.first() {
                Some(lane) => risks::watch(&lane.shared).await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = join_all(lanes) => {}
            never = risks => match never {},
        }
    }

    fn shared(&self) -> impl Iterator<Item = &Shared<H>> {
        self.lanes.iter().map(|lane| &*lane.shared)
    }
}

impl<H: Handler> Lane<H> {
    async fn run(&self, settings: &Settings, shutdown: &Shutdown) {
        let Settings {
            lease,
            grace,
            recover_foreign,
            ..
        } = *settings;
        let shared = &*self.shared;
        let work = async {
            self.claimer.claim(shutdown.requested()).await;
            drain::drain(shared, self.claimer.running(), grace, shutdown.forced()).await;
        };
        tokio::select! {
            () = work => {}
            never = endings::tell(shared) => match never {},
            never = reports::tell(shared) => match never {},
            never = chores::renew(shared, lease.renew_every()) => match never {},
            never = chores::tick(shared, lease.tick_every()) => match never {},
            never = chores::sweep(shared, recover_foreign) => match never {},
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use queue::{Identity, NewJob, Nonce, Producer, Queue, Terms, test_server::RedisServer};
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::handler::Sleep;

    const HOUR: Duration = Duration::from_secs(3_600);

    /// With room for two jobs, so that one alone leaves it asking for more.
    fn worker(redis: &RedisServer, queue: Queue) -> Worker<Sleep> {
        let terms = Terms::default();
        let identity = Identity {
            nonce: Nonce::fresh(),
            pod_uid: None,
            pod_name: None,
            ip: "10.0.0.7".to_owned(),
            host: None,
        };
        let consumer = Consumer::new(&redis.server(), queue, identity, terms).unwrap();
        let settings = Settings {
            concurrency: NonZeroU32::MIN.saturating_add(1),
            lease: terms.lease,
            grace: HOUR,
            job_timeout: None,
            recover_foreign: false,
        };
        let metrics = Metrics::register(&mut telemetry::registry("test", "0"));
        Worker::new(vec![consumer], Sleep { duration: HOUR }, settings, &metrics)
    }

    async fn wait_until(is_so: impl Fn() -> bool) {
        let wait = async {
            while !is_so() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(HOUR / 120, wait).await.unwrap();
    }

    #[tokio::test]
    async fn worker_that_drains_for_long_has_not_stalled() {
        let redis = RedisServer::start().unwrap();
        let queue = Queue::new("queue".parse().unwrap());
        let producer = Producer::new(&redis.server(), queue.clone()).unwrap();
        let worker = worker(&redis, queue);
        let (progress, held) = (worker.progress(), worker.lanes[0].shared.held.clone());
        let shutdown = Shutdown::default();
        let until = shutdown.clone();
        let run = tokio::spawn(async move { worker.run(&until).await });
        // The loop that would be the first to be missed, if none of them were heard of any more.
        let missed = || progress.stalled(Instant::now() + HOUR).map(|(name, _)| name);

        producer.submit(NewJob::new("go!", "stop!")).await.unwrap();
        wait_until(|| !held.pairs().is_empty()).await;
        assert_eq!(missed(), Some("claims"));
        shutdown.signal("test");
        wait_until(|| missed() == Some("renewals")).await;
        shutdown.signal("test");
        run.await.unwrap();
        assert_eq!(held.pairs(), []);
    }
}
