//! What reconciling is given, and what it remembers of each pool.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crds::{WorkerPool, status::WorkerPoolStatus};
use k8s_openapi::{api::apps::v1::Deployment as FullDeployment, jiff::Timestamp};
use kube::{Client, ResourceExt, runtime::reflector::Store};
use queue::Server;
use scaling::History;

use crate::{
    PoolRef,
    autoscalers::Autoscalers,
    bounds::Schedules,
    claims::Claims,
    deployment::WorkerResources,
    drift::Drift,
    error::Error,
    events::{Budget, Events},
    foreign::Listed,
    leader::Leadership,
    metrics::Metrics,
    objects::request_hash,
    pods::{LookPacer, PodsTracker, TemplateProof},
    queues::Queues,
    scale_down::{ScaleDown, patience::Patience},
    starts::Starts,
    targets::{Kinds, Workload, Workloads},
    watches::Watches,
};

/// The first lists of pools and Deployments take no longer than this, or something is wrong.
const LIST_TIMEOUT: Duration = Duration::from_secs(20);
/// The wait after the first error of a pool; it doubles with each.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// The longest wait.
const LAST_BACKOFF: Duration = Duration::from_secs(60);

/// What reconciling is given.
pub struct Context {
    /// To Kubernetes.
    pub client: Client,
    /// All pools.
    pub pools: Store<WorkerPool>,
    /// What pools may scale.
    pub workloads: Workloads,
    /// The other kinds that they name.
    pub kinds: Kinds,
    /// How far the watches have come.
    pub watches: Watches,
    /// The watch on Redis.
    pub queues: Queues,
    /// Whether to act.
    pub leadership: Leadership,
    /// Who has what.
    pub claims: Mutex<Claims>,
    /// What others scale.
    pub autoscalers: Autoscalers,
    /// Where events go.
    pub events: Events,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The image of the stock worker.
    pub worker_image: String,
    /// Rate of the looks at pods, over all pools.
    pub look_pacer: LookPacer,
    /// Requests and limits of the containers of that image.
    pub worker_resources: WorkerResources,
    /// What is remembered of each pool.
    pub memories: Memories,
}

/// What is remembered of all pools.
#[derive(Default)]
pub struct Memories {
    states: Mutex<HashMap<PoolRef, Arc<tokio::sync::Mutex<PoolState>>>>,
    backoffs: Mutex<HashMap<PoolRef, Backoff>>,
}

/// What is remembered of one pool. Lost with a restart, and nothing is worse for it. Large parts that many pools do not have are
/// boxed: there may be ten thousand of these.
#[derive(Default)]
pub struct PoolState {
    /// Whose state this is: a pool of the same name may be another.
    pub uid: Option<String>,
    /// The term of leadership that it is of.
    pub epoch: Option<u64>,
    /// The pool's schedules, as of this generation of its spec.
    pub schedules: Option<(Option<i64>, Schedules)>,
    /// Past recommendations and changes; starts with the first reading.
    pub history: Option<History>,
    /// The server process that the last reading came from.
    pub run_id: Option<String>,
    /// The count last decided: what a Deployment that was deleted comes back with.
    pub replicas: Option<u32>,
    /// What the target's `/scale` said, and when, where that is all that is known of it.
    pub scale: Option<(Arc<Workload>, Instant)>,
    /// Where the pods of an adopted target are.
    pub foreign: Option<Listed>,
    /// What we last wrote, until the watch shows it.
    pub written: Option<Written>,
    /// Where the queue is, by Secrets that were read at that time.
    pub server: Option<Box<(Server, Instant)>>,
    /// The Deployment to be, for this generation and server.
    pub wanted: Option<Box<Wanted>>,
    /// Whether others changed the pool's own Deployment.
    pub drift: Drift,
    /// A scale-down under way.
    pub scale_down: ScaleDown,
    /// How long the count waits for busy workers.
    pub patience: Patience,
    /// Whether its finalizer was last set or taken away, until the watch shows it.
    pub noted: Option<bool>,
    /// Since when it has been known to be deleted.
    pub deleting_since: Option<Instant>,
    /// The pool's version after the status was last written.
    pub reported: Option<String>,
    /// The status last written.
    pub status: Option<WorkerPoolStatus>,
    /// When the depth of the queue was last written.
    pub depth_written: Option<Instant>,
    /// The pods that are not ready, and why.
    pub pods: PodsTracker,
    /// Whether the template of the pods is known to work.
    pub proof: TemplateProof,
    /// How long replicas take to start.
    pub starts: Starts,
    /// How many more events may be told.
    pub budget: Budget,
    /// When the count was changed, until the status says so.
    pub scaled: Option<(Timestamp, Instant)>,
}

/// A count that we wrote to a target.
#[derive(Clone, Debug)]
pub struct Written {
    /// The count.
    pub replicas: u32,
    /// The target's version after that.
    pub version: String,
    /// The hash of the Deployment that was applied before, or with it.
    pub applied: Option<String>,
}

/// A Deployment that was built.
#[derive(Clone)]
pub struct Wanted {
    /// From a pool with this [`request_hash`].
    pub request: u64,
    /// For this server.
    pub server: Server,
    /// The Deployment.
    pub deployment: FullDeployment,
    /// The hash of its pods' template.
    pub template: String,
}

/// How often a pool failed in a row.
#[derive(Clone, Copy, Debug)]
struct Backoff {
    failures: u32,
    until: Instant,
    /// The [`request_hash`] of the pool that failed.
    request: u64,
}

impl Context {
    /// Returns once all pools and Deployments are known; at once, after the first time.
    ///
    /// # Errors
    /// [`Error::NotListed`] if that takes too long.
    pub async fn listed(&self) -> Result<(), Error> {
        let listed = tokio::time::timeout(LIST_TIMEOUT, self.watches.listed()).await;
        listed.map_err(|_| Error::NotListed)
    }

    /// Who has what.
    pub fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops all that is known of a pool that is gone.
    pub fn forget(&self, pool: &PoolRef) {
        self.queues.forget(pool);
        self.metrics.forget(pool);
        self.memories.forget(pool);
    }
}

impl PoolState {
    /// Begins a term of leadership: others may have written since the last one, so that all begins as after a restart.
    pub fn begin_term(&mut self, epoch: u64, pool: &WorkerPool) {
        if self.epoch == Some(epoch) {
            return;
        }
        let last = std::mem::take(self);
        *self = Self {
            uid: last.uid,
            epoch: Some(epoch),
            server: last.server,
            wanted: last.wanted,
            budget: last.budget,
            drift: Drift::starting_at(
                pool.status
                    .as_ref()
                    .and_then(|status| status.deployment_generation),
            ),
            proof: TemplateProof::restore(pool),
            status: pool.status.clone(),
            ..Self::default()
        };
    }
}

impl Memories {
    /// What is remembered of a pool. It is never reconciled twice at once, so nobody waits for this lock.
    pub fn of(&self, pool: &WorkerPool) -> Arc<tokio::sync::Mutex<PoolState>> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = pool.uid();
        let state = states.entry(PoolRef::from_obj(pool)).or_default();
        let another = state.try_lock().is_ok_and(|state| state.uid != uid);
        if another {
            let fresh = PoolState {
                uid,
                ..PoolState::default()
            };
            *state = Arc::new(tokio::sync::Mutex::new(fresh));
        }
        Arc::clone(state)
    }

    /// Resets a pool's state to that of an operator that has just started. The backoff and the budget for events stay.
    pub async fn reset(&self, pool: &WorkerPool) {
        let state = self.of(pool);
        let mut state = state.lock().await;
        *state = PoolState {
            uid: state.uid.take(),
            budget: std::mem::take(&mut state.budget),
            ..PoolState::default()
        };
    }

    /// How long to leave a pool alone that failed; not at all if a user changed it since.
    pub fn backoff(&self, pool: &WorkerPool, now: Instant) -> Option<Duration> {
        let backoffs = self.backoffs();
        let backoff = backoffs.get(&PoolRef::from_obj(pool))?;
        let applies = backoff.request == request_hash(pool) && backoff.until > now;
        applies.then(|| backoff.until - now)
    }

    /// A pool failed; answers how long to leave it alone.
    pub fn failed(&self, pool: &WorkerPool, now: Instant) -> Duration {
        let mut backoffs = self.backoffs();
        let pool_ref = PoolRef::from_obj(pool);
        let failures = backoffs.get(&pool_ref).map_or(0, |backoff| backoff.failures);
        let wait = FIRST_BACKOFF
            .saturating_mul(2_u32.saturating_pow(failures))
            .min(LAST_BACKOFF);
        let backoff = Backoff {
            failures: failures.saturating_add(1),
            until: now + wait,
            request: request_hash(pool),
        };
        backoffs.insert(pool_ref, backoff);
        wait
    }

    /// A pool did well.
    pub fn succeeded(&self, pool: &PoolRef) {
        self.backoffs().remove(pool);
    }

    fn forget(&self, pool: &PoolRef) {
        self.states
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(pool);
        self.backoffs().remove(pool);
    }

    fn backoffs(&self) -> MutexGuard<'_, HashMap<PoolRef, Backoff>> {
        self.backoffs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_a_minute_and_ends_with_success_or_an_edit() {
        let memories = Memories::default();
        let mut pool = WorkerPool::new("hw7", crds::WorkerPoolSpec::default());
        let now = Instant::now();
        let waits: Vec<_> = (0..9)
            .map(|_| memories.failed(&pool, now).as_secs_f64())
            .collect();
        assert_eq!(waits, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
        assert_eq!(memories.backoff(&pool, now), Some(LAST_BACKOFF));
        memories.succeeded(&PoolRef::from_obj(&pool));
        assert_eq!(memories.backoff(&pool, now), None);

        memories.failed(&pool, now);
        pool.metadata.generation = Some(2);
        assert_eq!(memories.backoff(&pool, now), None, "an edit is tried at once");

        memories.failed(&pool, now);
        pool.metadata.resource_version = Some("2".to_owned());
        assert!(memories.backoff(&pool, now).is_some(), "a status is no edit");
        pool.labels_mut().insert("team".to_owned(), "a".to_owned());
        assert_eq!(
            memories.backoff(&pool, now),
            None,
            "a label may be what was missing"
        );
    }

    #[test]
    fn term_that_lapsed_and_goes_on_keeps_the_windows_and_a_new_one_does_not() {
        let pool = WorkerPool::new("hw7", crds::WorkerPoolSpec::default());
        let mut state = PoolState::default();
        state.begin_term(3, &pool);
        state.history = Some(History::starting_at(5));
        // Nobody else led in between: the number is the same.
        state.begin_term(3, &pool);
        assert!(state.history.is_some());
        state.begin_term(5, &pool);
        assert!(state.history.is_none());
    }
}
