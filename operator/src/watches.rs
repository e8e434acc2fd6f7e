//! How far the watches on Kubernetes have come, and what they wait for.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use kube::runtime::watcher;
use tokio::sync::watch;

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
pub const DEPLOYMENTS: &str = "Deployments";

/// How far each watch has come that pools cannot be served without. Clones share it.
#[derive(Clone, Debug)]
pub struct Watches(Arc<watch::Sender<BTreeMap<&'static str, Progress>>>);

#[derive(Clone, Debug, Default)]
struct Progress {
    listed: bool,
    /// What it failed with last, and when.
    failure: Option<(String, Instant)>,
}

impl Default for Watches {
    fn default() -> Self {
        let kinds = [POOLS, DEPLOYMENTS].map(|kind| (kind, Progress::default()));
        Self(Arc::new(watch::Sender::new(kinds.into())))
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

    /// Returns once all that is watched has been listed. Not by the stores' own `wait_until_ready`: of several that wait
    /// for one store, kube wakes the last alone.
    pub async fn listed(&self) {
        let all_listed = |watches: &BTreeMap<_, Progress>| watches.values().all(|progress| progress.listed);
        // The sender lives as long as this.
        let _ = self.0.subscribe().wait_for(all_listed).await;
    }

    /// Passes once all is listed, and while no watch fails; for [`telemetry::Health::ready`].
    pub fn check(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let watches = self.clone();
        move || watches.verdict(Instant::now())
    }

    fn verdict(&self, now: Instant) -> Result<(), String> {
        let watches = self.0.borrow();
        let waits = watches.iter().filter_map(|(kind, progress)| {
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
        self.0.send_if_modified(|watches| {
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
        self.0.send_if_modified(|watches| {
            let progress = watches.entry(kind).or_default();
            if progress.failure.as_ref().is_none_or(|(last, _)| *last != why) {
                tracing::warn!(watch = kind, "{why}");
            }
            progress.failure = Some((why, Instant::now()));
            false
        });
    }
}

fn waits_for(kind: &str, error: &watcher::Error) -> String {
    let cause = match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => cause,
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => {
            return format!("cannot watch {kind}: {error}");
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
        _ => format!("waiting for the API server, to watch {kind}: {cause}"),
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
        // Several may wait.
        tokio::join!(watches.listed(), watches.listed());
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
