//! Namespaces whose policies ask something of Deployments and pods: a quota, a range of limits, labels.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use workerpool_e2e::wait::{Look, eventually};
use workerpool_e2e::{A_WHILE, HW7, in_namespace, pool, sleeping};

/// Every container must have requests and limits of both.
fn quota() -> Value {
    let hard =
        json!({"requests.cpu": "1", "requests.memory": "1Gi", "limits.cpu": "4", "limits.memory": "2Gi"});
    json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"}, "spec": {"hard": hard}})
}

fn limit_range() -> Value {
    let max = json!({"type": "Container", "max": {"cpu": "500m", "memory": "128Mi"}, "min": {"cpu": "10m", "memory": "16Mi"}});
    json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "range"}, "spec": {"limits": [max]}})
}

/// One pod of the stock worker, and one with our worker in an image of the user's.
fn pools() -> [(&'static str, Value); 2] {
    let own = json!({"name": "worker", "image": "busybox:1", "resources": {
        "requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}});
    let spec = |queue, worker, containers| {
        json!({"queues": [{"name": queue}], "replicas": 1, "worker": worker, "template": {"spec": {
            "securityContext": {"runAsUser": 65532}, "containers": containers}}})
    };
    [
        ("stock", spec("stock", json!({}), json!([{"name": "worker"}]))),
        (
            "copied",
            spec("copied", json!({"handler": {"command": ["true"]}}), json!([own])),
        ),
    ]
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn stock_and_copied_workers_pass_quota_and_limit_range() -> Result<()> {
    in_namespace("quota", async |ns| {
        ns.deploy_redis().await?;
        ns.apply(&quota()).await?;
        for (name, spec) in pools() {
            ns.apply(&pool(name, spec)).await?;
        }
        for (name, _) in pools() {
            ns.ready(name, 1).await?;
        }
        // It would give limits to containers that have none, and so hide from the quota what is missing.
        ns.apply(&limit_range()).await?;
        for (name, _) in pools() {
            ns.kubectl(["scale", "workerpool", name, "--replicas=2"]).await?;
            ns.ready(name, 2).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn label_of_pool_reaches_deployment_and_rolls_no_pod() -> Result<()> {
    in_namespace("labels", async |ns| {
        ns.deploy_redis().await?;
        ns.apply(&pool(HW7, json!({"replicas": 1, "template": sleeping(1)})))
            .await?;
        let template = ns.ready(HW7, 1).await?.spec.map(|spec| spec.template);
        for (label, team) in [("team=a", Some("a")), ("team-", None)] {
            ns.kubectl(["label", "workerpool", HW7, label]).await?;
            let deployment = eventually(&format!("the Deployment has {label}"), A_WHILE, async || {
                let Some(deployment) = ns.deployment(HW7).await? else {
                    return Ok(Look::NotYet("no Deployment".to_owned()));
                };
                let labels = deployment.metadata.labels.clone().unwrap_or_default();
                let seen = labels.get("team").map(String::as_str) == team;
                Ok(Look::when(seen, deployment, || format!("{labels:?}")))
            })
            .await?;
            ensure!(
                deployment.spec.map(|spec| spec.template) == template,
                "the pods' template was changed"
            );
        }
        Ok(())
    })
    .await
}
