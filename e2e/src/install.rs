//! The product, installed as its README says, once for a run of the suite.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, ListParams};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::wait::{Look, eventually};
use crate::{process, project};

/// What the nodes must have, with the command that brings it there.
const IMAGES: [(&str, &str); 6] = [
    ("workerpool:0.1.0", "dev/images"),
    ("redis:7", "dev/images"),
    ("hw7-original:1", "e2e/images/build"),
    ("python:3-slim", "e2e/images/build"),
    ("busybox:1", "e2e/images/build"),
    ("static-handler:1", "e2e/images/build"),
];

static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// A client of the cluster that `KUBECONFIG` names, with the product installed on it.
pub(crate) async fn cluster() -> Result<Client> {
    // A user's own cluster (~/.kube/config) is never a place for tests: it has to be named.
    ensure!(
        std::env::var_os("KUBECONFIG").is_some(),
        "these tests need a cluster: dev/cluster --name test up, then dev/test e2e (docs/testing.md)"
    );
    let client = Client::try_default()
        .await
        .context("KUBECONFIG names no usable cluster")?;
    let answer = timeout(Duration::from_secs(10), client.apiserver_version()).await;
    answer
        .context("the cluster does not answer")?
        .context("the cluster does not answer")?;
    INSTALLED.get_or_try_init(|| install(&client)).await?;
    Ok(client)
}

async fn install(client: &Client) -> Result<()> {
    check_images(client).await?;
    let kubectl = async |arguments: &[&str]| process::succeed("kubectl", arguments, "").await;
    let folder = |name: &str| project().join(name).to_string_lossy().into_owned();

    kubectl(&["apply", "-f", &folder("crds/yaml")]).await?;
    established("workerpools.workerpool.dev").await?;
    kubectl(&["apply", "-R", "-f", &folder("deploy/operator")]).await?;
    // The image keeps its tag while it is being worked on: an operator from an earlier run may be an older one.
    let operator = ["-n", "workerpool-system"];
    let deployment = "deployment/workerpool-operator";
    kubectl(&[&operator[..], &["rollout", "restart", deployment]].concat()).await?;
    kubectl(
        &[
            &operator[..],
            &["rollout", "status", deployment, "--timeout=180s"],
        ]
        .concat(),
    )
    .await?;
    Ok(())
}

/// Waits until the API server serves the kind of a CustomResourceDefinition.
///
/// # Errors
/// When it does not within 60 s.
pub async fn established(definition: &str) -> Result<()> {
    let name = format!("crd/{definition}");
    let wait = ["wait", "--for=condition=Established", &name, "--timeout=30s"];
    // kubectl gives up at once where the conditions are still null, as they are for a moment.
    eventually(
        &format!("{definition} is established"),
        Duration::from_secs(60),
        async || Ok(Look::Seen(process::succeed("kubectl", &wait, "").await?)),
    )
    .await?;
    Ok(())
}

async fn check_images(client: &Client) -> Result<()> {
    let nodes = Api::<Node>::all(client.clone());
    for (image, command) in IMAGES {
        let what = format!("a node has the image {image} (else run {command}: docs/testing.md)");
        // The kubelet tells of an image that was just loaded within half a minute.
        eventually(&what, Duration::from_secs(45), async || {
            let names: Vec<String> = nodes
                .list(&ListParams::default())
                .await?
                .into_iter()
                .filter_map(|node| node.status?.images)
                .flatten()
                .filter_map(|image| image.names)
                .flatten()
                .collect();
            let there = names.iter().any(|name| name.rsplit('/').next() == Some(image));
            Ok(Look::when(there, (), || names.join(", ")))
        })
        .await?;
    }
    Ok(())
}
