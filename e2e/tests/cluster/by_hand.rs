//! A person knows better: line 10, `kubectl scale`, and the way back to the queue.

use anyhow::{Result, ensure};
use serde_json::json;
use workerpool_e2e::{HW7, in_namespace, pool, sleeping};

#[tokio::test]
#[ignore = "needs a cluster"]
async fn kubectl_scale_pins_a_pool_until_null_is_patched_in() -> Result<()> {
    in_namespace("by-hand", async |ns| {
        ns.deploy_redis().await?;
        let file = pool(
            HW7,
            json!({
                "scaling": {"maxReplicas": 2, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}},
                "template": sleeping(1),
            }),
        );
        ns.apply(&file).await?;
        ns.ready(HW7, 0).await?;

        // The scale subresource has no spec.replicas to show while the pool follows its queue; kubectl says so.
        let compare = ["scale", "workerpool", HW7, "--current-replicas=0", "--replicas=3"];
        let refusal = ns
            .kubectl(compare)
            .await
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        ensure!(
            refusal.contains(r#"the spec replicas field ".spec.replicas" does not exist"#),
            "{refusal}"
        );

        // A pin is taken as it is: more than maxReplicas, whatever the queue says.
        ns.kubectl(["scale", "workerpool", HW7, "--replicas=3"]).await?;
        ns.ready(HW7, 3).await?;
        let pinned = ns
            .pool_until(HW7, "is pinned", |pool| pool.mode() == "Pinned")
            .await?;
        ensure!(
            pinned.at("/spec/replicas") == 3,
            "kubectl scale wrote {}",
            pinned.at("/spec")
        );
        ensure!(
            pinned.is("Ready", "True"),
            "a pinned pool is ready: {}",
            pinned.at("/status")
        );
        let events = ns
            .kubectl(["get", "events", "--field-selector=involvedObject.kind=WorkerPool"])
            .await?;
        ensure!(
            events.contains("pin") || events.contains("Pin"),
            "no event tells of the pin:\n{events}"
        );

        // The file has no such field, so applying it again leaves the pin alone.
        ns.apply(&file).await?;
        ensure!(
            ns.pool(HW7).await?.at("/spec/replicas") == 3,
            "applying the file again removed the pin"
        );

        let null = r#"{"spec":{"replicas":null}}"#;
        ns.kubectl(["patch", "workerpool", HW7, "--type=merge", "-p", null])
            .await?;
        ns.pool_until(HW7, "follows its queue again", |pool| pool.mode() == "Queue")
            .await?;
        ns.ready(HW7, 0).await?;
        Ok(())
    })
    .await
}
