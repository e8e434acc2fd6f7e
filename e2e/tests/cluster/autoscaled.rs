//! A target that KEDA scales already, on a cluster that gets KEDA only while the operator runs.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use workerpool_e2e::{HW7, Namespace, established, in_namespace, pool};

pub(crate) const WEB: &str = "web";
/// KEDA's own name, since that is what the operator looks for.
const DEFINITION: &str = "scaledobjects.keda.sh";

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_target_of_a_scaled_object_is_refused_until_it_is_free_though_keda_came_late() -> Result<()> {
    in_namespace("scaled-object", async |ns| {
        ns.kubectl(["delete", "crd", DEFINITION, "--ignore-not-found"])
            .await?;
        let outcome = refused_and_freed(ns).await;
        let removed = ns
            .kubectl(["delete", "crd", DEFINITION, "--ignore-not-found"])
            .await;
        outcome?;
        removed?;
        Ok(())
    })
    .await
}

async fn refused_and_freed(ns: &Namespace) -> Result<()> {
    ns.deploy_redis().await?;
    ns.apply(&web(0)).await?;
    ns.apply(&adopting(1)).await?;
    ns.given(WEB, 1).await?;

    // The operator asks every 30 s whether there are ScaledObjects by now.
    ns.apply(&scaled_objects()).await?;
    established(DEFINITION).await?;
    ns.apply(&scaled_object()).await?;
    is_refused(ns).await?;
    ns.apply(&adopting(2)).await?;
    ns.pool_until(HW7, "is refused as it is now", |pool| {
        pool.at("/status/observedGeneration") == pool.at("/metadata/generation")
    })
    .await?;
    let events = [
        "get",
        "events",
        "--field-selector=involvedObject.kind=WorkerPool,reason=Refused",
    ];
    let events = ns.kubectl(events).await?;
    ensure!(
        events.contains("ScaledObject jobs"),
        "no event names it:\n{events}"
    );
    ns.given(WEB, 1).await?;

    ns.kubectl(["delete", "scaledobjects.keda.sh", "jobs"]).await?;
    ns.given(WEB, 2).await?;
    is_served(ns).await?;

    // With KEDA all of its objects go.
    ns.apply(&scaled_object()).await?;
    is_refused(ns).await?;
    ns.kubectl(["delete", "crd", DEFINITION]).await?;
    is_served(ns).await
}

async fn is_refused(ns: &Namespace) -> Result<()> {
    ns.pool_until(HW7, "is refused for the ScaledObject", |pool| {
        let accepted = pool.condition("Accepted");
        accepted.is_some_and(|accepted| {
            accepted.status == "False"
                && accepted.reason == "TargetAutoscaled"
                && accepted.message.contains("the ScaledObject jobs scales")
        }) && pool.is("Ready", "False")
    })
    .await?;
    Ok(())
}

async fn is_served(ns: &Namespace) -> Result<()> {
    ns.pool_until(HW7, "is served again", |pool| {
        pool.is("Accepted", "True") && pool.is("Ready", "True")
    })
    .await?;
    Ok(())
}

fn adopting(replicas: u32) -> Value {
    pool(
        HW7,
        json!({"replicas": replicas, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": WEB}}),
    )
}

/// A Deployment of nothing in particular, with so many pods.
pub(crate) fn web(replicas: u32) -> Value {
    let labels = json!({"app": WEB});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": WEB},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": WEB, "image": "redis:7"}]},
            },
        },
    })
}

/// As KEDA writes it when it means a Deployment.
fn scaled_object() -> Value {
    json!({
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "jobs"},
        "spec": {"scaleTargetRef": {"name": WEB}, "triggers": []},
    })
}

fn scaled_objects() -> Value {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = json!({"type": "object", "properties": {"spec": anything}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": DEFINITION},
        "spec": {
            "group": "keda.sh",
            "scope": "Namespaced",
            "names": {"kind": "ScaledObject", "singular": "scaledobject", "plural": "scaledobjects"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}
