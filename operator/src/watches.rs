//! How far the watches on Kubernetes have come, and what they wait for.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use kube::runtime::watcher;
use tokio::sync::watch;

use crate::{decoding::UndecodableObjects, error, targets::Kind};

/// A watch that failed is tried again sooner than this. One that goes on where it was says nothing until something changes,
/// so after so long without another failure it is taken to be well.
const FAILURE_COUNTS: Duration = Duration::from_secs(40);
/// What the API server knows of only once it was installed, and how that is done.
const DEFINITIONS: [(&str, &str); 1] = [(
    POOLS,
    "waiting for the CustomResourceDefinition workerpools.workerpool.dev; install it with kubectl apply -f crds/yaml",
)];

/// What is watched of pools.
pub const POOLS: &str = "WorkerPools";
/// What is watched of Deployments.
pub const DEPLOYMENTS: &str = Kind::Deployment.names();
/// What is watched of HorizontalPodAutoscalers.
pub const AUTOSCALERS: &str = "HorizontalPodAutoscalers";
/// What is watched of ScaledObjects, where there are any.
pub const SCALED_OBJECTS: &str = "ScaledObjects";

/// How far each watch has come, and what of it cannot be decoded. Clones share it.
#[derive(Clone, Debug)]
pub struct Watches {
    progress: Arc<watch::Sender<BTreeMap<&'static str, Progress>>>,
    /// Objects that cannot be decoded.
    pub undecodable: UndecodableObjects,
}

#[derive(Clone, Debug, Default)]
struct Progress {
    need: Need,
    listed: bool,
    /// What it failed with last, and when.
    failure: Option<(String, Instant)>,
}

/// What cannot be done without a watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Need {
    /// Nothing: it tells of what may not even exist here. It is waited for until its first answer, whatever that is.
    #[default]
    Answer,
    /// No pool can be served.
    List,
    /// Some pools cannot be served: only they wait.
    Some,
}

impl Progress {
    fn of(need: Need) -> Self {
        Self {
            need,
            ..Self::default()
        }
    }

    /// Whether pools wait for it, all of them.
    fn holds_up(&self) -> bool {
        match self.need {
            Need::List => !self.listed,
            Need::Answer => !self.listed && self.failure.is_none(),
            Need::Some => false,
        }
    }
}

impl Default for Watches {
    fn default() -> Self {
        let kinds = [
            (POOLS, Need::List),
            (DEPLOYMENTS, Need::List),
            (AUTOSCALERS, Need::Answer),
            (SCALED_OBJECTS, Need::Answer),
        ];
        let kinds = kinds.map(|(kind, need)| (kind, Progress::of(need)));
        Self {
            progress: Arc::new(watch::Sender::new(kinds.into())),
            undecodable: UndecodableObjects::default(),
        }
    }
}

impl Watches {
    /// Takes in what a watch brought; says what it waits for, once per change.
    pub fn heard<K>(&self, kind: &'static str, result: &watcher::Result<watcher::Event<K>>) {
        match result {
            // Said before the list is asked for.
            Ok(watcher::Event::Init) => {}
            Ok(event) => self.went_well(kind, matches!(event, watcher::Event::InitDone)),
            Err(error) => self.failed(kind, waits_for(kind, error)),
        }
    }

    /// Returns once all has been listed that pools cannot be served without. Not by the stores' own `wait_until_ready`: of
    /// several that wait for one store, kube wakes the last alone.
    pub async fn listed(&self) {
        let all_listed = |watches: &BTreeMap<_, Progress>| !watches.values().any(Progress::holds_up);
        // The sender lives as long as this.
        let _ = self.progress.subscribe().wait_for(all_listed).await;
    }

    /// A pool names something of this kind, which is watched from now on.
    pub fn want(&self, kind: &'static str) {
        self.progress.send_if_modified(|watches| {
            let news = !watches.contains_key(kind);
            watches.entry(kind).or_insert_with(|| Progress::of(Need::Some));
            news
        });
    }

    /// Returns once a pool names something of this kind.
    pub async fn wanted(&self, kind: &'static str) {
        let wanted = |watches: &BTreeMap<_, Progress>| watches.contains_key(kind);
        // The sender lives as long as this.
        let _ = self.progress.subscribe().wait_for(wanted).await;
    }

    /// Waits a while for a kind to be listed.
    ///
    /// # Errors
    /// What it waits for.
    pub async fn listed_soon(&self, kind: &'static str, patience: Duration) -> Result<(), String> {
        let settled = |watches: &BTreeMap<_, Progress>| {
            let progress = watches.get(kind);
            progress.is_some_and(|progress| progress.listed || progress.failure.is_some())
        };
        let mut watches = self.progress.subscribe();
        let settled = tokio::time::timeout(patience, watches.wait_for(settled)).await;
        let progress = match &settled {
            Ok(Ok(watches)) => watches.get(kind).cloned().unwrap_or_default(),
            _ => Progress::default(),
        };
        match progress.failure {
            _ if progress.listed => Ok(()),
            Some((why, _)) => Err(why),
            None => Err(format!("{kind} are being listed")),
        }
    }

    /// Passes once all is listed, and while no watch fails; for [`telemetry::Health::ready`].
    pub fn check(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let watches = self.clone();
        move || watches.verdict(Instant::now())
    }

    fn verdict(&self, now: Instant) -> Result<(), String> {
        let watches = self.progress.borrow();
        let needed = watches.iter().filter(|(_, progress)| progress.need == Need::List);
        let waits = needed.filter_map(|(kind, progress)| {
            let failure = progress.failure.as_ref();
            let failure = failure.filter(|(_, at)| !progress.listed || now < *at + FAILURE_COUNTS);
            match failure {
                Some((why, _)) => Some(why.clone()),
                None => (!progress.listed).then(|| format!("{kind} are being listed")),
            }
        });
        let waits: Vec<_> = waits.collect();
        if waits.is_empty() {
            Ok(())
        } else {
            Err(waits.join("; "))
        }
    }

    fn went_well(&self, kind: &'static str, listed: bool) {
        self.progress.send_if_modified(|watches| {
            let progress = watches.entry(kind).or_default();
            if progress.failure.take().is_some() {
                tracing::info!(watch = kind, "goes on");
            }
            let news = listed && !progress.listed;
            progress.listed |= listed;
            news
        });
    }

    fn failed(&self, kind: &'static str, why: String) {
        self.progress.send_if_modified(|watches| {
            let progress = watches.entry(kind).or_default();
            if progress.failure.as_ref().is_none_or(|(last, _)| *last != why) {
                match progress.need {
                    Need::Answer => tracing::debug!(watch = kind, "{why}"),
                    Need::List | Need::Some => tracing::warn!(watch = kind, "{why}"),
                }
            }
            // Who waits for an answer has it.
            let news = progress.failure.is_none() && !progress.listed;
            progress.failure = Some((why, Instant::now()));
            news
        });
    }
}

fn waits_for(kind: &str, error: &watcher::Error) -> String {
    let cause = match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => cause,
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => {
            return format!("cannot watch {kind}: {}", error::watch_in_words(error));
        }
    };
    let definition = DEFINITIONS.iter().find(|(defined, _)| *defined == kind);
    match (cause, definition) {
        (kube::Error::Api(status), Some((_, install))) if status.code == 404 => (*install).to_owned(),
        (kube::Error::Api(status), _) if matches!(status.code, 401 | 403) => {
            format!(
                "waiting for the right to list and watch {kind}: {}",
                status.message
            )
        }
        _ => {
            let cause = error::in_words(cause);
            format!("waiting for the API server, to watch {kind}: {cause}")
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    type Result = watcher::Result<watcher::Event<()>>;

    fn refused(code: u16, message: &str) -> Result {
        let status = Status::failure(message, "Test").with_code(code).boxed();
        Err(watcher::Error::InitialListFailed(kube::Error::Api(status)))
    }

    fn listed(watches: &Watches, kind: &'static str) {
        watches.heard(kind, &Result::Ok(watcher::Event::Init));
        watches.heard(kind, &Result::Ok(watcher::Event::InitDone));
    }

    #[tokio::test]
    async fn what_is_waited_for_is_told_until_it_is_there() {
        let watches = Watches::default();
        let said = || watches.check()().unwrap_err();
        assert_eq!(
            said(),
            "Deployments are being listed; WorkerPools are being listed"
        );
        watches.heard(POOLS, &refused(404, "page not found"));
        watches.heard(DEPLOYMENTS, &refused(403, "deployments.apps is forbidden"));
        assert_eq!(
            said(),
            "waiting for the right to list and watch Deployments: deployments.apps is forbidden; waiting for the \
             CustomResourceDefinition workerpools.workerpool.dev; install it with kubectl apply -f crds/yaml"
        );
        // That it tries again is no news.
        watches.heard(POOLS, &Result::Ok(watcher::Event::Init));
        assert!(said().contains("CustomResourceDefinition"), "{}", said());
        listed(&watches, POOLS);
        listed(&watches, DEPLOYMENTS);
        assert_eq!(watches.check()(), Ok(()));
    }

    async fn in_time(waiting: impl Future<Output = ()>) {
        let waited = tokio::time::timeout(Duration::from_secs(10), waiting).await;
        waited.expect("it does not wait for ever");
    }

    #[tokio::test]
    async fn all_that_wait_for_the_lists_go_on_with_the_last_of_them() {
        let watches = Watches::default();
        for kind in [DEPLOYMENTS, AUTOSCALERS, SCALED_OBJECTS] {
            listed(&watches, kind);
        }
        let waiting = futures::future::join_all((0..10).map(|_| watches.listed()));
        let mut waiting = std::pin::pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending(), "without the pools");
        listed(&watches, POOLS);
        in_time(async { drop(waiting.await) }).await;
    }

    #[tokio::test]
    async fn what_may_not_exist_is_waited_for_until_its_first_answer() {
        let watches = Watches::default();
        for kind in [POOLS, DEPLOYMENTS, AUTOSCALERS] {
            listed(&watches, kind);
        }
        assert_eq!(watches.check()(), Ok(()), "ready without it");
        let mut waiting = std::pin::pin!(watches.listed());
        assert!(futures::poll!(&mut waiting).is_pending(), "it may come yet");
        watches.heard(SCALED_OBJECTS, &refused(404, "page not found"));
        in_time(waiting).await;
    }

    #[tokio::test]
    async fn kind_that_only_some_pools_name_holds_up_nobody_else() {
        let watches = Watches::default();
        for kind in [POOLS, DEPLOYMENTS, AUTOSCALERS, SCALED_OBJECTS] {
            listed(&watches, kind);
        }
        let sets = Kind::StatefulSet.names();
        let mut wanted = std::pin::pin!(watches.wanted(sets));
        assert!(futures::poll!(&mut wanted).is_pending(), "no pool names one");
        watches.want(sets);
        in_time(wanted).await;
        in_time(watches.listed()).await;
        assert_eq!(watches.check()(), Ok(()));

        let soon = Duration::from_millis(10);
        let why = watches.listed_soon(sets, soon).await.unwrap_err();
        assert_eq!(why, "StatefulSets are being listed");
        watches.heard(sets, &refused(403, "statefulsets.apps is forbidden"));
        let why = watches
            .listed_soon(sets, Duration::from_secs(60))
            .await
            .unwrap_err();
        assert_eq!(
            why,
            "waiting for the right to list and watch StatefulSets: statefulsets.apps is forbidden"
        );
        listed(&watches, sets);
        assert_eq!(watches.listed_soon(sets, soon).await, Ok(()));
    }

    #[test]
    fn watch_that_fails_later_is_told_as_long_as_it_goes_on_failing() {
        let watches = Watches::default();
        listed(&watches, POOLS);
        listed(&watches, DEPLOYMENTS);
        watches.heard(POOLS, &refused(503, "starting"));
        let now = Instant::now();
        let said = watches.verdict(now).unwrap_err();
        assert!(
            said.starts_with("waiting for the API server, to watch WorkerPools"),
            "{said}"
        );
        assert_eq!(watches.verdict(now + FAILURE_COUNTS), Ok(()));
    }
}
