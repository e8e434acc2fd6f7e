//! What is known of one Job.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crds::job::{FINALIZER, conditions, status::JobStatus};
use k8s_openapi::{
    api::core::v1::ObjectReference,
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
    jiff::{SignedDuration, Timestamp},
};
use kube::{Resource, ResourceExt};
use queue::{JobId, JobState};
use telemetry::Panicked;

use super::{
    objects::WatchedJob,
    plan::{CANCEL_TIME, Line},
    status::panic_status,
};
use crate::PoolRef;

/// A Job's UID, which is its id in the queue too unless it has one of its own.
pub(super) type Uid = Arc<str>;

/// The wait after the first failed call about a Job; it doubles with each.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// The longest wait.
const LAST_BACKOFF: Duration = Duration::from_secs(60);
/// A deletion that is said to be older still counts as this old: the API server's clock may not be ours, and there is to be time
/// to cancel.
const LONGEST_KNOWN_DELETION: Duration = Duration::from_secs(CANCEL_TIME.as_secs() - 5);

/// What is known of one Job.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) uid: Uid,
    /// Its id in the queue, if that is not its UID. Other Jobs may have had it before, or may have it now.
    pub(super) own_id: Option<JobId>,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) generation: Option<i64>,
    pub(super) pool: PoolRef,
    /// How long it stays after its end.
    pub(super) time_to_live: Option<Duration>,
    /// Its version, and its finalizers then.
    pub(super) version: String,
    pub(super) finalizers: Vec<String>,
    /// Since when we have known of it.
    pub(super) since: Instant,
    /// Since when it has been being deleted, also before this operator knew of it.
    pub(super) deleting: Option<Instant>,
    /// Nothing is left to cancel, or it was given up.
    pub(super) cancelled: bool,
    /// It lies in the queue, or did.
    pub(super) submitted: bool,
    /// What the status does not say yet.
    pub(super) news: Option<News>,
    /// Since when.
    pub(super) news_at: Instant,
    /// The status as it is, without the result.
    pub(super) status: JobStatus,
    /// When we last wrote it.
    pub(super) written_at: Option<Instant>,
    /// Calls about it that failed in a row, and when to make the next.
    pub(super) failures: u32,
    pub(super) retry_at: Option<Instant>,
    /// What last panicked, until it goes well again.
    pub(super) panic: Option<PanickedStep>,
    /// The line that it waits in.
    pub(super) queued: Option<Line>,
    /// Something is being done for it.
    pub(super) busy: bool,
    /// The list of Jobs that last had it, to find those that are gone.
    pub(super) listing: u64,
}

/// What was heard of a Job.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum News {
    /// It was submitted, at this time (Unix milliseconds of the server's clock).
    Submitted(Option<u64>),
    /// The queue has it so.
    State(Box<JobState>),
    /// The queue, which had it, does not know it any more.
    Lost,
    /// It cannot be submitted, ever.
    Rejected(Rejection),
}

/// A step that panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PanickedStep {
    /// The line it waited in; `None`: the step was being planned.
    pub(super) line: Option<Line>,
    pub(super) panicked: Panicked,
}

/// Why a Job cannot be submitted, ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    /// One CamelCase word.
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Entry {
    pub(super) fn new(job: &WatchedJob, now: Instant) -> Option<Self> {
        let uid: Uid = job.metadata.uid.as_deref()?.into();
        let namespace = job.namespace()?;
        Some(Self {
            pool: PoolRef::new(&job.spec.pool_name).within(&namespace),
            uid,
            own_id: job.spec.id.clone().and_then(JobId::new),
            namespace,
            name: job.name_any(),
            generation: job.metadata.generation,
            time_to_live: job
                .spec
                .ttl_seconds_after_finished
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map(Duration::from_secs),
            version: String::new(),
            finalizers: Vec::new(),
            since: now,
            deleting: None,
            cancelled: false,
            submitted: job.status.submitted_time.is_some() || job.status.queue_word().is_some(),
            news: None,
            news_at: now,
            status: job.status.clone(),
            written_at: None,
            failures: 0,
            retry_at: None,
            panic: None,
            queued: None,
            busy: false,
            listing: 0,
        })
    }

    /// Takes in what the watch shows, or a call answered. What is older than what is known already is passed over: the watch
    /// lags behind our own writes.
    pub(super) fn see(&mut self, metadata: &ObjectMeta, now: Instant) {
        let version = metadata.resource_version.clone().unwrap_or_default();
        let older = matches!((version.parse::<u64>(), self.version.parse::<u64>()), (Ok(new), Ok(known)) if new < known);
        if older {
            return;
        }
        self.version = version;
        self.finalizers = metadata.finalizers.clone().unwrap_or_default();
        if let Some(deleted_at) = &metadata.deletion_timestamp {
            let age = Timestamp::now().duration_since(deleted_at.0);
            let age = Duration::try_from(age)
                .unwrap_or_default()
                .min(LONGEST_KNOWN_DELETION);
            self.deleting.get_or_insert(now.checked_sub(age).unwrap_or(now));
        }
    }

    /// Takes in what was heard.
    pub(super) fn hear(&mut self, news: News, now: Instant) {
        if self.news.is_none() {
            self.news_at = now;
        }
        self.news = Some(news);
    }

    /// A call failed: leave it alone for a while.
    pub(super) fn failed(&mut self, now: Instant) {
        let wait = FIRST_BACKOFF.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + wait.min(LAST_BACKOFF));
    }

    /// A step of this line went well. One that panicked goes on failing until it does itself.
    pub(super) fn succeeded(&mut self, line: Line) {
        if self.panic.as_ref().is_none_or(|panic| panic.line == Some(line)) {
            self.panic = None;
            self.failures = 0;
            self.retry_at = None;
        }
    }

    /// A step panicked: this Job is left alone for a while, no other.
    pub(super) fn panicked(&mut self, line: Option<Line>, panicked: Panicked, now: Instant) {
        self.panic = Some(PanickedStep { line, panicked });
        self.failed(now);
    }

    /// Whether planning panicked, that was said, and it is time to try again.
    pub(super) fn retries_planning(&self, now: Instant, clock: Timestamp) -> bool {
        self.panic.as_ref().is_some_and(|panic| panic.line.is_none())
            && self.retry_at.is_none_or(|at| at <= now)
            && panic_status(self, clock).is_none_or(|status| status == self.status)
    }

    /// Whether our finalizer keeps it.
    pub(super) fn is_kept(&self) -> bool {
        self.finalizers.iter().any(|name| name == FINALIZER)
    }

    /// The finalizers with ours.
    pub(super) fn finalizers_with_ours(&self) -> Vec<String> {
        let mut finalizers = self.finalizers.clone();
        if !self.is_kept() {
            finalizers.push(FINALIZER.to_owned());
        }
        finalizers
    }

    /// The finalizers without ours.
    pub(super) fn finalizers_without_ours(&self) -> Vec<String> {
        let others = self.finalizers.iter().filter(|name| *name != FINALIZER);
        others.cloned().collect()
    }

    /// How it ended, as its status says.
    pub(super) fn ending(&self) -> Option<&Condition> {
        ending(&self.status)
    }

    /// How long until it is deleted, if it has ended and has a time to live.
    pub(super) fn time_left(&self, clock: Timestamp) -> Option<Duration> {
        let ended = self.ending()?.last_transition_time.0;
        let time_to_live = SignedDuration::try_from(self.time_to_live?).ok()?;
        let left = time_to_live.checked_sub(clock.duration_since(ended))?;
        Some(Duration::try_from(left).unwrap_or_default())
    }

    /// Its id in the queue.
    pub(super) fn id(&self) -> Option<JobId> {
        self.own_id.clone().or_else(|| JobId::new(&*self.uid))
    }

    /// As events name it.
    pub(super) fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(crds::Job::api_version(&()).into_owned()),
            kind: Some(crds::Job::kind(&()).into_owned()),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            uid: Some(self.uid.to_string()),
            resource_version: Some(self.version.clone()),
            ..ObjectReference::default()
        }
    }
}

/// The condition that says how a Job ended.
pub(super) fn ending(status: &JobStatus) -> Option<&Condition> {
    status.conditions.iter().find(|condition| {
        [conditions::COMPLETE, conditions::FAILED].contains(&condition.type_.as_str())
            && condition.status == "True"
    })
}
