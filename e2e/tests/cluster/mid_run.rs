//! What dies while jobs run: the operator, Redis.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use workerpool_e2e::{Namespace, Witness, in_namespace, kill_operator, pool, sleeping};

use crate::{A_WHILE, HW7};

#[tokio::test]
#[ignore = "needs a cluster"]
async fn an_operator_killed_mid_run_and_restarted_changes_no_count_and_loses_no_job() -> Result<()> {
    in_namespace("operator-killed", async |ns| {
        let redis = ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        let witness = Witness::of(&redis).await?;
        let ids = three_workers_busy_with_nine_jobs(ns, &api, &redis).await?;
        let counts = ns.counts_of(HW7).await?;

        kill_operator().await?;
        redis.completed(&ids, A_WHILE).await?;

        // Nine jobs on three workers, and a window of 30 s after them: no other count has a reason.
        ensure!(
            counts.counts() == [3],
            "the count changed by itself: {:?}",
            counts.counts()
        );
        for id in &ids {
            ensure!(
                witness.count(id, "in progress") == 1,
                "job {id}: {:?}",
                witness.transitions(id)
            );
        }
        // And the new operator is at work.
        ns.ready(HW7, 0).await?;
        Ok(())
    })
    .await
}

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

/// Nine jobs of 4 s, of which three run, one on each worker.
async fn three_workers_busy_with_nine_jobs(
    ns: &Namespace,
    api: &workerpool_e2e::Api,
    redis: &workerpool_e2e::Data,
) -> Result<Vec<String>> {
    let spec = json!({"scaling": {"maxReplicas": 3, "jobsPerReplica": 1}, "template": sleeping(4)});
    ns.apply(&pool(HW7, spec)).await?;
    ns.ready(HW7, 0).await?;
    let ids = api.submit(9).await?;
    ns.ready(HW7, 3).await?;
    redis.started(&ids, 3, A_WHILE).await?;
    Ok(ids)
}
