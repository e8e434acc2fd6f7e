//! Redis goes while jobs run, and comes back.

use anyhow::{Context, Result, ensure};
use workerpool_e2e::{A_WHILE, HW7, in_namespace, three_workers_busy_with_nine_jobs};

#[tokio::test]
#[ignore = "needs a cluster"]
async fn redis_gone_and_back_mid_run_loses_no_job_and_changes_no_count() -> Result<()> {
    in_namespace("redis-restarted", async |ns| {
        let redis = ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        let ids = three_workers_busy_with_nine_jobs(ns, &api, &redis).await?;
        let counts = ns.counts_of(HW7).await?;

        ns.kubectl(["scale", "deployment", "redis", "--replicas=0"])
            .await?;
        let blind = ns.pool_until(HW7, "says that it cannot see its queue", |pool| {
            pool.is("QueueReadable", "False")
        });
        let blind = blind.await?.condition("QueueReadable").context("no condition")?;
        ensure!(
            !blind.message.is_empty(),
            "the condition has no message: {blind:?}"
        );
        ns.ready("redis", 0).await?;
        ns.kubectl(["scale", "deployment", "redis", "--replicas=1"])
            .await?;
        ns.answers(&redis).await?;

        redis.completed(&ids, A_WHILE).await?;
        ensure!(
            counts.counts() == [3],
            "the count changed without a reading: {:?}",
            counts.counts()
        );
        ns.pool_until(HW7, "sees its queue again", |pool| {
            pool.is("QueueReadable", "True")
        })
        .await?;
        Ok(())
    })
    .await
}
