//! A pool of its own pods over several queues.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use workerpool_e2e::{A_WHILE, HW7, Witness, in_namespace, job, pool, sleeping_without_grace};

const WORK: Duration = Duration::from_secs(2);

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_pool_over_two_queues_runs_the_jobs_of_both_and_goes_to_zero_without_cutting_any() -> Result<()> {
    in_namespace("several", async |ns| {
        let redis = ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        let witness = Witness::of(&redis).await?;
        let spec = json!({
            // Jobs that are resources go into the first, those over HTTP into the API's.
            "queues": [{"name": "second"}, {"name": "queue"}],
            "scaling": {
                "maxReplicas": 3,
                "jobsPerReplica": 2,
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            },
            "template": sleeping_without_grace(2),
        });
        ns.apply(&pool(HW7, spec)).await?;

        let mut ids = api.submit(4).await?;
        let names = ["one", "two", "three"];
        for name in names {
            ns.apply(&job(name, json!({"start": "a", "end": "b"}))).await?;
        }
        for name in names {
            let resource = format!("wj/{name}");
            ns.kubectl(["wait", &resource, "--for=condition=Complete", "--timeout=120s"])
                .await?;
            ids.push(
                ns.kubectl(["get", &resource, "-o", "jsonpath={.metadata.uid}"])
                    .await?,
            );
        }
        redis.completed(&ids[..4], A_WHILE).await?;
        ns.ready(HW7, 0).await?;
        witness.each_ran_once_for(WORK, &ids)
    })
    .await
}
