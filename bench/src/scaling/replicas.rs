//! The replica counts of all targets, as one watch of the API server tells of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::TryStreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use kube::api::{Api, WatchEvent, WatchParams};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Every change of one count, with the moment at which it was told.
pub(super) type History = Vec<(Instant, usize)>;

/// How often a count was lowered.
pub(super) fn scale_downs(history: &[(Instant, usize)]) -> usize {
    let lowered = history
        .array_windows()
        .filter(|[before, after]| after.1 < before.1);
    lowered.count()
}

/// Clones share what they know.
#[derive(Clone, Debug, Default)]
pub(super) struct Replicas(Arc<Mutex<HashMap<String, watch::Sender<History>>>>);

impl Replicas {
    /// Watches the Deployments of a namespace from now on.
    pub(super) fn watch(deployments: Api<Deployment>) -> Self {
        let replicas = Self::default();
        let seen = replicas.clone();
        tokio::spawn(async move {
            let params = WatchParams::default().timeout(280);
            loop {
                // An ended or refused watch begins anew; who waits has a deadline.
                if let Ok(events) = deployments.watch(&params, "0").await {
                    let mut events = std::pin::pin!(events);
                    while let Ok(Some(event)) = events.try_next().await {
                        if let WatchEvent::Added(deployment) | WatchEvent::Modified(deployment) = event {
                            let count = deployment.spec.as_ref().and_then(|spec| spec.replicas);
                            let count = usize::try_from(count.unwrap_or(1)).unwrap_or_default();
                            seen.note(&deployment.name_any(), count);
                        }
                    }
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
        replicas
    }

    fn note(&self, name: &str, count: usize) {
        let now = Instant::now();
        self.of(name).send_if_modified(|history| {
            let changed = history.last().is_none_or(|(_, last)| *last != count);
            if changed {
                history.push((now, count));
            }
            changed
        });
    }

    /// Waits until a target has this count; the moment at which that was told.
    pub(super) async fn reach(&self, name: &str, count: usize, within: Duration) -> anyhow::Result<Instant> {
        let mut history = self.of(name).subscribe();
        let is_there = |history: &History| history.last().is_some_and(|(_, last)| *last == count);
        if let Ok(seen) = timeout(within, history.wait_for(is_there)).await {
            let seen = seen.context("the watch ended")?;
            return Ok(seen.last().context("no count")?.0);
        }
        let last = self.history(name, None).pop().map(|(_, count)| count);
        bail!("{name} has {last:?} replicas, not {count}, after {within:?}")
    }

    /// What was told of a target since then.
    pub(super) fn history(&self, name: &str, since: Option<Instant>) -> History {
        let history = self.of(name).borrow().clone();
        let wanted = |at: Instant| since.is_none_or(|since| at >= since);
        history.into_iter().filter(|(at, _)| wanted(*at)).collect()
    }

    fn of(&self, name: &str) -> watch::Sender<History> {
        let mut all: MutexGuard<'_, _> = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(name.to_owned())
            .or_insert_with(|| watch::channel(Vec::new()).0)
            .clone()
    }
}
