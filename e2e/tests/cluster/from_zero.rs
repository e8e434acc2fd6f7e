//! Following the queue: 0 → N → 0.

use anyhow::{Result, ensure};
use serde_json::json;
use workerpool_e2e::{A_WHILE, HW7, in_namespace, pool, sleeping};

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_pool_goes_from_zero_to_what_its_queue_needs_in_one_step_and_back_to_zero() -> Result<()> {
    in_namespace("from-zero", async |ns| {
        let redis = ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        let spec = json!({
            "paused": true,
            "scaling": {
                "maxReplicas": 4,
                "jobsPerReplica": 2,
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            },
            "template": sleeping(2),
        });
        let counts = ns.counts_of(HW7).await?;
        ns.apply(&pool(HW7, spec)).await?;

        // Paused, so that the eight jobs are there before the pool looks.
        let ids = api.submit(8).await?;
        ns.pool_until(HW7, "is paused", |pool| pool.mode() == "Paused")
            .await?;
        ns.kubectl([
            "patch",
            "workerpool",
            HW7,
            "--type=merge",
            "-p",
            r#"{"spec":{"paused":false}}"#,
        ])
        .await?;

        redis.completed(&ids, A_WHILE).await?;
        ns.ready(HW7, 0).await?;
        let counts = counts.counts();
        let up: Vec<i32> = counts.iter().copied().skip_while(|count| *count == 0).collect();
        ensure!(
            up.first() == Some(&4),
            "eight jobs, two for each worker, are four in one step: {counts:?}"
        );
        ensure!(
            up.is_sorted_by(|earlier, later| earlier > later),
            "the counts rose again after 4: {counts:?}"
        );
        ns.pool_until(HW7, "is ready at zero", |pool| {
            pool.is("Ready", "True") && pool.count("desiredReplicas") == Some(0)
        })
        .await?;
        Ok(())
    })
    .await
}
