//! What is refused, and in which words.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use workerpool_e2e::{HW7, in_namespace, pool, sleeping};

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_bad_pool_is_refused_with_a_sentence_that_names_the_field() -> Result<()> {
    in_namespace("bad-pool", async |ns| {
        let bad = pool(HW7, json!({"scaling": {"minReplicas": 5, "maxReplicas": 2}}));
        let outcome = ns.try_apply(&bad.to_string()).await?;
        ensure!(!outcome.success, "kubectl accepted it: {}", outcome.stdout);
        ensure!(outcome.stderr.contains("spec.scaling"), "{}", outcome.stderr);
        ensure!(
            outcome.stderr.contains("minReplicas") && outcome.stderr.contains("maxReplicas"),
            "{}",
            outcome.stderr
        );
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_second_pool_on_a_queue_is_refused_until_the_first_is_gone() -> Result<()> {
    in_namespace("two-pools", async |ns| {
        ns.deploy_redis().await?;
        let spec = json!({"scaling": {"minReplicas": 1}, "template": sleeping(1)});
        ns.apply(&pool("older", spec.clone())).await?;
        ns.ready("older", 1).await?;

        ns.apply(&pool("younger", spec)).await?;
        let refused = ns
            .pool_until("younger", "is refused", |pool| pool.is("Accepted", "False"))
            .await?;
        let accepted = refused.condition("Accepted").context("no condition")?;
        ensure!(
            accepted.message.contains("older"),
            "the refusal names no pool: {accepted:?}"
        );
        ensure!(
            refused.is("Ready", "False"),
            "a refused pool is not ready: {}",
            refused.at("/status")
        );
        ensure!(
            ns.deployment("younger").await?.is_none(),
            "a refused pool has a Deployment"
        );
        ns.pool_until("older", "is ready beside it", |pool| pool.is("Ready", "True"))
            .await?;

        ns.kubectl(["delete", "workerpool", "older"]).await?;
        ns.ready("younger", 1).await?;
        ns.pool_until("younger", "is accepted", |pool| pool.is("Accepted", "True"))
            .await?;
        Ok(())
    })
    .await
}
