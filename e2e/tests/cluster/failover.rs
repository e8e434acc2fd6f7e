//! Redis behind a sentinel: the master dies, and all three programs find the next one by themselves.

use anyhow::Result;
use serde_json::json;
use workerpool_e2e::{A_WHILE, HW7, in_namespace, pool, sleeping};

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_pool_behind_a_sentinel_goes_on_when_its_master_dies() -> Result<()> {
    in_namespace("failover", async |ns| {
        ns.deploy_redis_with_sentinel().await?;
        let environment = json!([
            {"name": "WORKERPOOL_REDIS_SENTINELS", "value": "sentinel"},
            {"name": "WORKERPOOL_REDIS_MASTER_NAME", "value": "jobs"},
        ]);
        let api = ns.deploy_api_with(environment, None).await?;
        let redis = json!({"sentinel": {"masterName": "jobs", "addresses": ["sentinel"]}});
        ns.apply(&pool(HW7, json!({"redis": redis, "template": sleeping(1)})))
            .await?;
        ns.pool_until(HW7, "reads its queue", |pool| pool.is("QueueReadable", "True"))
            .await?;
        let before = api.submit(2).await?;
        api.completed(&before, A_WHILE).await?;

        ns.kubectl(["scale", "deployment", "first", "--replicas=0"])
            .await?;
        ns.sentinel_names("second").await?;
        let after = api.submit_when_ready(2, A_WHILE).await?;
        api.completed(&after, A_WHILE).await?;
        ns.pool_until(HW7, "reads its queue again", |pool| {
            pool.is("QueueReadable", "True")
        })
        .await?;
        Ok(())
    })
    .await
}
