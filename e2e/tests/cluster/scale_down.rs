//! Fewer workers, and not one job cut. SIGTERM would cut at once here: a job that is started twice was cut once.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use workerpool_e2e::{A_WHILE, HW7, Witness, in_namespace, pool, sleeping_without_grace, waves_of_jobs};

#[tokio::test]
#[ignore = "needs a cluster"]
async fn scaling_down_among_jobs_that_end_at_different_times_cuts_none() -> Result<()> {
    in_namespace("scale-down", async |ns| {
        let redis = ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        let witness = Witness::of(&redis).await?;
        let spec = json!({
            "scaling": {
                "maxReplicas": 8,
                "jobsPerReplica": 1,
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            },
            "template": sleeping_without_grace(4),
        });
        ns.apply(&pool(HW7, spec)).await?;
        ns.ready(HW7, 0).await?;
        let counts = ns.counts_of(HW7).await?;

        let ids = waves_of_jobs(&api, &redis).await?;
        ns.ready(HW7, 0).await?;

        witness.each_ran_once_for(Duration::from_secs(4), &ids)?;
        let counts = counts.counts();
        let steps_down = counts.windows(2).filter(|step| step[1] < step[0]).count();
        ensure!(
            steps_down >= 2,
            "the pool never shrank among running jobs: {counts:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn scaling_down_by_hand_takes_the_idle_worker_and_waits_for_the_busy() -> Result<()> {
    in_namespace("scale-by-hand", async |ns| {
        let redis = ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        let witness = Witness::of(&redis).await?;
        ns.apply(&pool(
            HW7,
            json!({"replicas": 3, "template": sleeping_without_grace(20)}),
        ))
        .await?;
        ns.ready(HW7, 3).await?;
        let counts = ns.counts_of(HW7).await?;

        let ids = api.submit(2).await?;
        redis.started(&ids, ids.len(), A_WHILE).await?;
        ns.kubectl(["scale", "workerpool", HW7, "--replicas=0"]).await?;
        let jobs = redis.completed(&ids, A_WHILE).await?;
        ns.ready(HW7, 0).await?;

        ensure!(
            jobs[0]["worker"] != jobs[1]["worker"],
            "one worker of three did both jobs: {jobs:?}"
        );
        witness.each_ran_once_for(Duration::from_secs(20), &ids)?;
        let counts = counts.counts();
        ensure!(
            counts.contains(&2),
            "the idle worker was kept until the busy ones were done: {counts:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_worker_with_several_slots_is_drained_before_it_goes() -> Result<()> {
    in_namespace("drained", async |ns| {
        let redis = ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        let witness = Witness::of(&redis).await?;
        let spec =
            json!({"replicas": 2, "worker": {"concurrency": 2}, "template": sleeping_without_grace(5)});
        ns.apply(&pool(HW7, spec)).await?;
        ns.ready(HW7, 2).await?;

        // All four slots are busy, and more is waiting: no worker becomes idle unless it is told to take nothing more.
        let ids = api.submit(10).await?;
        redis.started(&ids, 4, A_WHILE).await?;
        ns.kubectl(["scale", "workerpool", HW7, "--replicas=1"]).await?;
        ns.ready(HW7, 1).await?;
        let left = ids.iter().filter(|id| witness.count(id, "complete") == 0).count();
        ensure!(left > 0, "the worker went only when there was nothing more to do");

        redis.completed(&ids, A_WHILE).await?;
        witness.each_ran_once_for(Duration::from_secs(5), &ids)
    })
    .await
}
