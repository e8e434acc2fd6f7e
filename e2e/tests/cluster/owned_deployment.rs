//! A pool's own Deployment: made with it, kept as it should be, gone with it.

use anyhow::{Result, ensure};
use serde_json::json;
use workerpool_e2e::{HW7, in_namespace, pool, sleeping};

#[tokio::test]
#[ignore = "needs a cluster"]
async fn an_empty_spec_is_a_whole_pool_and_its_deployment_goes_when_it_goes() -> Result<()> {
    in_namespace("pool-deleted", async |ns| {
        ns.deploy_redis().await?;
        ns.apply(&pool(HW7, json!({}))).await?;
        ns.pool_until(HW7, "is ready", |pool| pool.is("Ready", "True"))
            .await?;
        ns.kubectl(["scale", "workerpool", HW7, "--replicas=1"]).await?;
        ns.ready(HW7, 1).await?;

        ns.kubectl(["delete", "workerpool", HW7]).await?;
        ns.gone(HW7).await?;
        ns.kubectl([
            "wait",
            "pod",
            "--for=delete",
            "--selector=workerpool.dev/pool=hw7",
            "--timeout=60s",
        ])
        .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_deployment_deleted_by_hand_comes_back() -> Result<()> {
    in_namespace("deployment-deleted", async |ns| {
        ns.deploy_redis().await?;
        ns.apply(&pool(
            HW7,
            json!({"scaling": {"minReplicas": 1}, "template": sleeping(1)}),
        ))
        .await?;
        let first = ns.ready(HW7, 1).await?;

        ns.kubectl(["delete", "deployment", HW7]).await?;
        let second = ns.ready(HW7, 1).await?;
        ensure!(
            first.metadata.uid != second.metadata.uid,
            "the Deployment was never deleted"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_count_edited_on_the_deployment_is_put_right() -> Result<()> {
    in_namespace("count-edited", async |ns| {
        ns.deploy_redis().await?;
        ns.apply(&pool(
            HW7,
            json!({"scaling": {"minReplicas": 1}, "template": sleeping(1)}),
        ))
        .await?;
        ns.ready(HW7, 1).await?;

        ns.kubectl(["scale", "deployment", HW7, "--replicas=3"]).await?;
        ns.ready(HW7, 1).await?;
        ns.kubectl(["scale", "deployment", HW7, "--replicas=0"]).await?;
        ns.ready(HW7, 1).await?;
        Ok(())
    })
    .await
}
