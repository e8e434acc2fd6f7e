//! What `kubectl get workerpools` shows.

use anyhow::{Result, ensure};
use serde_json::json;
use workerpool_e2e::{A_WHILE, HW7, in_namespace, pool, sleeping};

#[tokio::test]
#[ignore = "needs a cluster"]
async fn kubectl_get_shows_what_was_decided_and_from_what() -> Result<()> {
    in_namespace("shown", async |ns| {
        let redis = ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        ns.apply(&pool(HW7, json!({"replicas": 1, "template": sleeping(60)})))
            .await?;
        ns.ready(HW7, 1).await?;
        let ids = api.submit(3).await?;
        redis.started(&ids, 1, A_WHILE).await?;
        ns.pool_until(HW7, "shows the queue", |pool| {
            pool.at("/status/queue/waiting") == 2 && pool.at("/status/queue/running") == 1
        })
        .await?;

        // The line has the count of pods as soon as the pod is ready.
        ns.pool_until(HW7, "counts its pod", |pool| pool.at("/status/pods") == "1/1")
            .await?;
        for name in ["workerpools", "workerpool", "wp"] {
            let table = ns.kubectl(["get", name]).await?;
            let rows: Vec<Vec<&str>> = table
                .lines()
                .map(|line| line.split_whitespace().collect())
                .collect();
            let header = [
                "NAME", "READY", "STATUS", "PODS", "QUEUE", "WAITING", "RUNNING", "DEAD", "AGE",
            ];
            ensure!(rows.len() == 2 && rows[0] == header, "{table}");
            ensure!(
                rows[1][..8] == [HW7, "True", "OK", "1/1", "queue", "2", "1", "0"],
                "{table}"
            );
        }
        let wide = ns.kubectl(["get", "wp", "-o", "wide"]).await?;
        for column in ["MODE", "MIN", "MAX", "DESIRED", "REASON", "DISABLED", "Pinned"] {
            ensure!(wide.contains(column), "no {column}: {wide}");
        }
        Ok(())
    })
    .await
}
