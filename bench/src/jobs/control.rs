//! What the machine leaves to anybody: the count of a Deployment that is no pool's, changed by a client that does nothing else.
//!
//! The reaction of a pool ends with the same PATCH and the same watch. What it takes beyond this is the operator's part.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::time::sleep;

use crate::reaction::{cluster, reaches, watch_replicas};

const NAME: &str = "bench-control";
/// Between two changes: it must not be a load itself.
const APART: Duration = Duration::from_millis(100);

/// From the moment before the PATCH.
#[derive(Default)]
pub(super) struct Taken {
    /// Until its answer.
    pub(super) answered: Vec<Duration>,
    /// Until an independent watch told of the count.
    pub(super) seen: Vec<Duration>,
}

/// Makes a Deployment, and goes on measuring the change from 0 to 1 until it is dropped. The Deployment stays.
pub(super) async fn keep_measuring(namespace: &str, taken: &mut Taken) -> anyhow::Result<()> {
    let deployments = Api::<Deployment>::namespaced(cluster().await?, namespace);
    deployments.create(&PostParams::default(), &deployment()?).await?;
    let mut replicas = watch_replicas(Api::namespaced(cluster().await?, namespace), NAME);
    loop {
        reaches(&mut replicas, 0).await?;
        sleep(APART).await;
        let begun = Instant::now();
        write(&deployments, 1).await?;
        taken.answered.push(begun.elapsed());
        taken
            .seen
            .push(reaches(&mut replicas, 1).await?.duration_since(begun));
        write(&deployments, 0).await?;
    }
}

async fn write(deployments: &Api<Deployment>, count: usize) -> anyhow::Result<()> {
    let patch = Patch::Merge(json!({"spec": {"replicas": count}}));
    deployments
        .patch_scale(NAME, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

/// Its pods ask for a node that does not exist, as those of the pool beside it.
fn deployment() -> serde_json::Result<Deployment> {
    let labels = json!({"app": NAME});
    serde_json::from_value(json!({
        "metadata": {"name": NAME},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "nodeSelector": {"workerpool.dev/bench": "no-such-node"},
                    "containers": [{"name": "none", "image": "none"}],
                },
            },
        },
    }))
}
