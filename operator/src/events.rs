//! Events: what `kubectl describe` reads like a log.
//!
//! Published by a task of their own: a slow API server or a refused event never holds up a decision. Not by kube's
//! `Recorder`, which keeps the text of the first of a series: "2 → 5" would be told for "5 → 7" too.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crds::{WorkerPool, conditions, status::WorkerPoolStatus};
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event as KubeEvent},
    apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, Resource, api::PostParams};
use tokio::sync::mpsc;

use crate::{error, explanation::disabled_in_words, metrics::Metrics};

/// Who reports.
const CONTROLLER: &str = "workerpool.dev/operator";
/// The API server's limit for a note.
const NOTE_MAX: usize = 1024;

/// Something that happened to a pool or a Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whether somebody should look.
    pub warning: bool,
    /// What, in one CamelCase word.
    pub reason: &'static str,
    /// What, in a sentence.
    pub note: String,
    /// What the operator was doing.
    pub action: &'static str,
}

impl Event {
    /// All is as it should be.
    #[must_use]
    pub fn normal(reason: &'static str, action: &'static str, note: impl Into<String>) -> Self {
        Self {
            warning: false,
            reason,
            note: note.into(),
            action,
        }
    }

    /// Somebody should look.
    #[must_use]
    pub fn warning(reason: &'static str, action: &'static str, note: impl Into<String>) -> Self {
        Self {
            warning: true,
            ..Self::normal(reason, action, note)
        }
    }
}

/// Events of a pool that are published at once, those that are no warnings; then one more each [`BUDGET_REFILL`]. Kubernetes' own
/// components keep to 25 at once for an object.
const NORMAL_BUDGET: u32 = 25;
/// The same of warnings, which have a budget of their own: a lively pool does not use it up, and a Redis that comes and goes does
/// not fill the cluster's store.
const WARNING_BUDGET: u32 = 10;
/// See [`NORMAL_BUDGET`].
const BUDGET_REFILL: Duration = Duration::from_secs(60);
/// All events together are published no faster than one in so long, once as many as may wait have been published at once.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(50);

/// What is left of a pool's events.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    normal: TokenBucket,
    warnings: TokenBucket,
}

#[derive(Clone, Debug, Default)]
struct TokenBucket {
    spent: u32,
    refilled: Option<Instant>,
    withheld: u32,
}

impl Budget {
    /// The event, if it may be published now; it says how many were withheld before it.
    fn admit(&mut self, event: Event, now: Instant) -> Option<Event> {
        if event.warning {
            self.warnings.admit(event, WARNING_BUDGET, now)
        } else {
            self.normal.admit(event, NORMAL_BUDGET, now)
        }
    }
}

impl TokenBucket {
    fn admit(&mut self, mut event: Event, size: u32, now: Instant) -> Option<Event> {
        self.refill(now);
        if self.spent >= size {
            self.withheld = self.withheld.saturating_add(1);
            return None;
        }
        self.spent += 1;
        if self.withheld > 0 {
            event.note = format!("{} ({} more since the last event)", event.note, self.withheld);
            self.withheld = 0;
        }
        Some(event)
    }

    fn refill(&mut self, now: Instant) {
        let since = *self.refilled.get_or_insert(now);
        let periods = now.saturating_duration_since(since).as_secs() / BUDGET_REFILL.as_secs();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        self.spent = self.spent.saturating_sub(periods);
        self.refilled = since.checked_add(BUDGET_REFILL.saturating_mul(periods));
    }
}

/// How fast events of all objects together are published.
#[derive(Debug)]
struct Pace {
    /// When the last that was let through would have been due, one after the other.
    due: Instant,
    /// How far ahead of that a burst may be.
    ahead: Duration,
}

impl Pace {
    fn new(burst: usize, now: Instant) -> Self {
        Self {
            due: now,
            ahead: PUBLISH_INTERVAL.saturating_mul(u32::try_from(burst).unwrap_or(u32::MAX)),
        }
    }

    /// How long the next event waits.
    fn wait(&mut self, now: Instant) -> Duration {
        self.due = self.due.max(now) + PUBLISH_INTERVAL;
        self.due.saturating_duration_since(now).saturating_sub(self.ahead)
    }
}

/// Where events go.
#[derive(Clone, Debug)]
pub struct Events {
    sender: mpsc::Sender<KubeEvent>,
    metrics: Arc<Metrics>,
    instance: Arc<str>,
}

impl Events {
    /// Starts the task that publishes; `instance` names this operator among its replicas. At most `length` events are published at
    /// once, and as many wait for their turn; more are dropped, and counted. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(client: Client, metrics: Arc<Metrics>, instance: &str, length: usize) -> Self {
        let (sender, receiver) = mpsc::channel(length);
        let pace = Pace::new(length, Instant::now());
        tokio::spawn(publish(client, receiver, pace, Arc::clone(&metrics)));
        Self {
            sender,
            metrics,
            instance: instance.into(),
        }
    }

    /// Publishes, some time soon, if the pool's budget allows it.
    pub fn send(&self, pool: &WorkerPool, budget: &mut Budget, event: Event) {
        if let Some(event) = budget.admit(event, Instant::now()) {
            self.tell(pool.object_ref(&()), event);
        }
    }

    /// Publishes, some time soon, about any object.
    pub fn tell(&self, regarding: ObjectReference, event: Event) {
        let event = build_event(regarding, event, &self.instance, Timestamp::now());
        if self.sender.try_send(event).is_err() {
            self.metrics.event_dropped();
        }
    }
}

async fn publish(
    client: Client,
    mut receiver: mpsc::Receiver<KubeEvent>,
    mut pace: Pace,
    metrics: Arc<Metrics>,
) {
    while let Some(event) = receiver.recv().await {
        tokio::time::sleep(pace.wait(Instant::now())).await;
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let events: Api<KubeEvent> = Api::namespaced(client.clone(), &namespace);
        if let Err(error) =
            error::call("publish an event", events.create(&PostParams::default(), &event)).await
        {
            metrics.event_dropped();
            tracing::debug!(%error, "event lost");
        }
    }
}

fn build_event(regarding: ObjectReference, event: Event, instance: &str, now: Timestamp) -> KubeEvent {
    let mut note = event.note;
    if note.len() > NOTE_MAX {
        note.truncate(
            (0..=NOTE_MAX)
                .rev()
                .find(|&end| note.is_char_boundary(end))
                .unwrap_or(0),
        );
    }
    KubeEvent {
        metadata: ObjectMeta {
            name: Some(format!(
                "{}.{:x}",
                regarding.name.as_deref().unwrap_or_default(),
                now.as_nanosecond()
            )),
            namespace: regarding.namespace.clone(),
            ..ObjectMeta::default()
        },
        action: Some(event.action.to_owned()),
        reason: Some(event.reason.to_owned()),
        note: Some(note),
        type_: Some(if event.warning { "Warning" } else { "Normal" }.to_owned()),
        event_time: Some(MicroTime(now)),
        regarding: Some(regarding),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        ..KubeEvent::default()
    }
}

/// What changed from one status to the next, as far as it is worth an event.
#[must_use]
pub fn between(last: &WorkerPoolStatus, new: &WorkerPoolStatus) -> Vec<Event> {
    let mut events = Vec::new();
    // That a new pool follows its queue needs no telling.
    let usual = crds::status::Mode::Queue;
    if let Some(mode) = new.mode.filter(|mode| last.mode.unwrap_or(usual) != *mode) {
        events.push(mode_event(mode, message(new, conditions::SCALING_ACTIVE)));
    }
    let mut told = Vec::new();
    for kind in [
        conditions::ACCEPTED,
        conditions::QUEUE_READABLE,
        conditions::DATA_SAFE,
        conditions::PODS_READY,
        conditions::READY,
    ] {
        let (before, Some(after)) = (find(last, kind), find(new, kind)) else {
            continue;
        };
        let same =
            before.is_some_and(|before| before.status == after.status && before.reason == after.reason);
        if same || told.contains(&after.message) {
            continue;
        }
        if after.status == "False" {
            told.push(after.message.clone());
            let note = format!("{}: {}", after.reason, after.message);
            events.push(Event::warning(static_reason(kind, false), "Check", note));
        } else if after.status == "True"
            && before.is_some_and(|before| before.status == "False")
            && !(kind == conditions::READY && were_pods_the_cause(last, new))
        {
            events.push(Event::normal(
                static_reason(kind, true),
                "Check",
                after.message.clone(),
            ));
        }
    }
    events.extend(disabled_event(last, new));
    events.extend(limit_event(last, new));
    events
}

/// The pool was not ready because of its pods, and they are ready now: another event says so.
fn were_pods_the_cause(last: &WorkerPoolStatus, new: &WorkerPoolStatus) -> bool {
    let (before, after) = (
        find(last, conditions::PODS_READY),
        find(new, conditions::PODS_READY),
    );
    let cause = find(last, conditions::READY).map(|ready| &ready.reason);
    after.is_some_and(|after| after.status == "True")
        && before.is_some_and(|before| before.status == "False" && Some(&before.reason) == cause)
}

/// That the count does not go in one direction by itself any more, or goes there again.
fn disabled_event(last: &WorkerPoolStatus, new: &WorkerPoolStatus) -> Option<Event> {
    let after = new.decision.as_ref()?.disabled;
    let before = last.decision.as_ref().and_then(|decision| decision.disabled);
    if before == after {
        return None;
    }
    Some(match after {
        Some(disabled) => Event::normal("ScalingDisabled", "Decide", disabled_in_words(disabled)),
        None => Event::normal(
            "ScalingEnabled",
            "Decide",
            "the count rises and falls by itself again",
        ),
    })
}

/// That something else limits the count now, or that other schedules are open.
fn limit_event(last: &WorkerPoolStatus, new: &WorkerPoolStatus) -> Option<Event> {
    let (before, after) = (
        find(last, conditions::SCALING_ACTIVE),
        find(new, conditions::SCALING_ACTIVE)?,
    );
    let note = || after.message.clone();
    if before.is_none_or(|before| before.reason != after.reason)
        && let Some(reason) = LIMITS.iter().find(|reason| ***reason == after.reason)
    {
        return Some(Event::normal(reason, "Decide", note()));
    }
    let open = |status: &WorkerPoolStatus| {
        let decision = status.decision.as_ref();
        decision.map(|decision| decision.open_schedules.clone())
    };
    let (closed, opened) = (open(last)?, open(new)?);
    (closed != opened).then(|| {
        let decision = new.decision.clone().unwrap_or_default();
        let note = format!(
            "{} to {} replicas from now on; open schedules: {}",
            decision.min_replicas,
            decision.max_replicas,
            if opened.is_empty() {
                "none".to_owned()
            } else {
                opened.join(", ")
            }
        );
        Event::normal("BoundsChanged", "Decide", note)
    })
}

/// Reasons for which a count is not what demand asks for. The others come with a change of the count, which is an event by
/// itself.
const LIMITS: [&str; 12] = [
    "MaxReplicas",
    "BelowActivation",
    "Cooldown",
    "WithinTolerance",
    "ScaleUpStabilized",
    "ScaleDownStabilized",
    "ScaleUpLimit",
    "ScaleDownLimit",
    "ScaleUpDisabled",
    "ScaleDownDisabled",
    "Unproven",
    "BusyWorkers",
];

fn mode_event(mode: crds::status::Mode, note: String) -> Event {
    use crds::status::Mode;
    let (warning, reason) = match mode {
        Mode::Queue => (false, "FollowingQueue"),
        Mode::Pinned => (false, "Pinned"),
        Mode::Paused => (false, "Paused"),
        Mode::Fallback => (true, "Fallback"),
    };
    Event {
        warning,
        reason,
        note,
        action: "Decide",
    }
}

fn static_reason(kind: &str, holds: bool) -> &'static str {
    match (kind, holds) {
        (conditions::ACCEPTED, true) => "Accepted",
        (conditions::ACCEPTED, false) => "Refused",
        (conditions::QUEUE_READABLE, true) => "QueueReadable",
        (conditions::QUEUE_READABLE, false) => "QueueUnreadable",
        (conditions::DATA_SAFE, true) => "DataSafe",
        (conditions::DATA_SAFE, false) => "DataAtRisk",
        (conditions::PODS_READY, true) => "PodsReady",
        (conditions::PODS_READY, false) => "PodsNotReady",
        (_, true) => "Ready",
        (_, false) => "NotReady",
    }
}

fn find<'a>(status: &'a WorkerPoolStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == kind)
}

fn message(status: &WorkerPoolStatus, kind: &str) -> String {
    find(status, kind)
        .map(|condition| condition.message.clone())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crds::status::DecisionStatus;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn deciding(reason: &str, open: &[&str]) -> WorkerPoolStatus {
        WorkerPoolStatus {
            conditions: vec![Condition {
                type_: conditions::SCALING_ACTIVE.to_owned(),
                status: "True".to_owned(),
                reason: reason.to_owned(),
                message: format!("because of {reason}"),
                observed_generation: None,
                last_transition_time: Time(Timestamp::UNIX_EPOCH),
            }],
            decision: Some(DecisionStatus {
                min_replicas: 2,
                max_replicas: 10,
                open_schedules: open.iter().map(|name| (*name).to_owned()).collect(),
                ..DecisionStatus::default()
            }),
            ..WorkerPoolStatus::default()
        }
    }

    fn told(last: &WorkerPoolStatus, new: &WorkerPoolStatus) -> Vec<(&'static str, String)> {
        let events = between(last, new);
        events
            .into_iter()
            .map(|event| (event.reason, event.note))
            .collect()
    }

    #[test]
    fn what_newly_limits_the_count_is_told_once_and_what_does_not_is_not() {
        let (free, limited) = (deciding("JobsPerReplica", &[]), deciding("MaxReplicas", &[]));
        let because = "because of MaxReplicas".to_owned();
        assert_eq!(told(&free, &limited), [("MaxReplicas", because)]);
        assert_eq!(told(&limited, &limited), []);
        assert_eq!(told(&limited, &free), []);
    }

    #[test]
    fn schedule_that_opens_is_told_with_its_bounds() {
        let note = "2 to 10 replicas from now on; open schedules: day".to_owned();
        let (shut, open) = (deciding("MinReplicas", &[]), deciding("MinReplicas", &["day"]));
        assert_eq!(told(&shut, &open), [("BoundsChanged", note)]);
        assert_eq!(told(&open, &open), []);
    }

    #[test]
    fn pool_that_somebody_halts_says_so_and_says_when_it_goes_on() {
        use crds::status::Mode;
        let in_mode = |mode| WorkerPoolStatus {
            mode: Some(mode),
            ..deciding("JobsPerReplica", &[])
        };
        let new = WorkerPoolStatus::default();
        let reasons = |last: &WorkerPoolStatus, next: &WorkerPoolStatus| -> Vec<&'static str> {
            let events = between(last, next);
            events.iter().map(|event| event.reason).collect()
        };
        assert_eq!(reasons(&new, &in_mode(Mode::Queue)), [""; 0]);
        assert_eq!(reasons(&new, &in_mode(Mode::Pinned)), ["Pinned"]);
        assert_eq!(reasons(&in_mode(Mode::Queue), &in_mode(Mode::Paused)), ["Paused"]);
        assert_eq!(reasons(&in_mode(Mode::Paused), &in_mode(Mode::Paused)), [""; 0]);
        let follows = reasons(&in_mode(Mode::Pinned), &in_mode(Mode::Queue));
        assert_eq!(follows, ["FollowingQueue"]);
    }

    #[test]
    fn direction_that_is_disabled_is_told_before_it_limits_anything() {
        use crds::status::Disabled;
        let disabled = |disabled| {
            let mut status = deciding("JobsPerReplica", &[]);
            status.decision.as_mut().unwrap().disabled = disabled;
            status
        };
        let (free, down) = (disabled(None), disabled(Some(Disabled::ScaleDown)));
        let note = "scaleDown is disabled: the count does not fall by itself".to_owned();
        assert_eq!(told(&free, &down), [("ScalingDisabled", note)]);
        assert_eq!(told(&down, &down), []);
        let note = "the count rises and falls by itself again".to_owned();
        assert_eq!(told(&down, &free), [("ScalingEnabled", note)]);
        assert_eq!(told(&WorkerPoolStatus::default(), &free), []);
    }

    #[test]
    fn lively_pool_tells_25_decisions_and_then_one_a_minute_that_counts_the_others() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        let scaled = || Event::normal("ScaledUp", "Scale", "from 1 to 2 replicas");
        let passed = (0..40).filter_map(|_| budget.admit(scaled(), start)).count();
        assert_eq!(passed, 25);
        let minute = start + BUDGET_REFILL;
        let next = budget.admit(scaled(), minute).unwrap();
        assert_eq!(next.note, "from 1 to 2 replicas (15 more since the last event)");
        assert_eq!(budget.admit(scaled(), minute), None);
    }

    #[test]
    fn warnings_have_budget_of_their_own() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        for _ in 0..30 {
            budget.admit(Event::normal("ScaledUp", "Scale", ""), start);
        }
        let warning = || Event::warning("QueueUnreadable", "Check", "away");
        let passed = (0..40).filter_map(|_| budget.admit(warning(), start)).count();
        assert_eq!(passed, 10);
        let next = budget.admit(warning(), start + BUDGET_REFILL).unwrap();
        assert_eq!(next.note, "away (30 more since the last event)");
    }

    fn readable(holds: bool) -> WorkerPoolStatus {
        let mut status = deciding("JobsPerReplica", &[]);
        let condition = &mut status.conditions[0];
        condition.type_ = conditions::QUEUE_READABLE.to_owned();
        condition.status = if holds { "True" } else { "False" }.to_owned();
        status
    }

    /// A pool whose `PodsReady` and `Ready` have this status, reason and message.
    fn with_pods(pods: (&str, &str, &str), ready: (&str, &str, &str)) -> WorkerPoolStatus {
        let of = |kind: &str, (status, reason, message): (&str, &str, &str)| Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        };
        WorkerPoolStatus {
            conditions: vec![of(conditions::READY, ready), of(conditions::PODS_READY, pods)],
            ..WorkerPoolStatus::default()
        }
    }

    #[test]
    fn pods_that_are_not_ready_are_one_warning_for_each_reason_and_one_end() {
        let all = with_pods(
            ("True", "AllReady", "all 2 pods are ready"),
            ("True", "OK", "applied"),
        );
        let starting = with_pods(("Unknown", "Starting", "0 of 2"), ("True", "OK", "applied"));
        let image = (
            "False",
            "ImagePullFailed",
            "0 of 2 pods are ready for 15s: ImagePullFailed",
        );
        let later = (
            "False",
            "ImagePullFailed",
            "0 of 2 pods are ready for 30s: ImagePullFailed",
        );
        let crash = (
            "False",
            "CrashLooping",
            "0 of 2 pods are ready for 1m: CrashLooping",
        );
        let (image, later, crash) = (
            with_pods(image, image),
            with_pods(later, later),
            with_pods(crash, crash),
        );

        assert_eq!(told(&all, &starting), []);
        assert_eq!(told(&starting, &all), [], "each rise of the count does that");
        let note = |reason: &str, message: &str| vec![("PodsNotReady", format!("{reason}: {message}"))];
        assert_eq!(
            told(&starting, &image),
            note(
                "ImagePullFailed",
                "0 of 2 pods are ready for 15s: ImagePullFailed"
            )
        );
        assert_eq!(told(&image, &later), []);
        assert_eq!(
            told(&later, &crash),
            note("CrashLooping", "0 of 2 pods are ready for 1m: CrashLooping")
        );
        assert_eq!(
            told(&crash, &all),
            [("PodsReady", "all 2 pods are ready".to_owned())]
        );
    }

    /// Redis goes and comes back every ten seconds, for ten minutes, and a thousand pools report it.
    #[test]
    fn flapping_redis_under_thousand_pools_stays_within_budget() {
        let (up, down) = (readable(true), readable(false));
        let (start, burst) = (Instant::now(), 1_000);
        let mut budgets = vec![Budget::default(); 1_000];
        let mut pace = Pace::new(burst, start);
        let (mut admitted, mut at_once) = (0, 0);
        for flap in 0..120 {
            let now = start + Duration::from_secs(5 * flap);
            let (last, new) = if flap % 2 == 0 { (&up, &down) } else { (&down, &up) };
            for budget in &mut budgets {
                for event in between(last, new) {
                    admitted += usize::from(budget.admit(event, now).is_some());
                }
            }
            at_once += (0..1_000).filter(|_| pace.wait(now).is_zero()).count();
        }
        // Of 120 changes each pool reports 10 + 9 warnings, and 25 + 9 of their ends.
        assert_eq!(admitted, 1_000 * (19 + 34));
        // And all together no more than a burst, and twenty each second.
        assert!(at_once <= burst + 20 * 600, "{at_once}");
    }
}
