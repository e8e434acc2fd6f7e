//! A witness beside the operator: every replica count that a Deployment was given, however short it stood.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, WatchEvent, WatchParams};
use tokio::task::JoinHandle;

/// Records a Deployment's `spec.replicas` from its start until it is dropped.
#[derive(Debug)]
pub struct CountHistory {
    counts: Arc<Mutex<Vec<i32>>>,
    task: JoinHandle<()>,
}

impl CountHistory {
    /// Starts to watch; the first count is the one that stands now.
    pub(crate) async fn of(deployments: Api<Deployment>, name: &str) -> Result<Self> {
        // 290 s is the longest watch that the API server promises; no test is as long.
        let parameters = WatchParams::default()
            .fields(&format!("metadata.name={name}"))
            .timeout(290);
        let events = deployments.watch(&parameters, "0").await?;
        let counts = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            let mut events = std::pin::pin!(events);
            while let Some(Ok(event)) = events.next().await {
                let (WatchEvent::Added(deployment) | WatchEvent::Modified(deployment)) = event else {
                    continue;
                };
                let Some(count) = deployment.spec.and_then(|spec| spec.replicas) else {
                    continue;
                };
                let mut counts = sink.lock().unwrap_or_else(PoisonError::into_inner);
                if counts.last() != Some(&count) {
                    counts.push(count);
                }
            }
        });
        Ok(Self { counts, task })
    }

    /// The counts in their order, each change once.
    #[must_use]
    pub fn counts(&self) -> Vec<i32> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for CountHistory {
    fn drop(&mut self) {
        self.task.abort();
    }
}
