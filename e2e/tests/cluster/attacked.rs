//! Pods that go without asking, under load: no acknowledged job is lost, none is completed twice.

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use serde_json::{Value, json};
use workerpool_e2e::{
    A_WHILE, HW7, Namespace, Tally, Witness, in_namespace, pool, sleeping, sleeping_without_grace,
};

#[tokio::test]
#[ignore = "needs a cluster"]
async fn workers_deleted_by_force_under_load_lose_no_job_and_complete_none_twice() -> Result<()> {
    in_namespace("force-deleted", async |ns| {
        let redis = ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        let witness = Witness::of(&redis).await?;
        // SIGTERM is of no use to them: what they hold is found by the end of its lease alone.
        let worker =
            json!({"leaseSeconds": 3, "maxLost": 100, "backoff": {"baseSeconds": 1, "capSeconds": 1}});
        let spec = json!({"replicas": 4, "worker": worker, "template": deaf(2)});
        ns.apply(&pool(HW7, spec)).await?;
        ns.ready(HW7, 4).await?;
        let ids = api.submit_many(24).await?;
        redis.started(&ids, 4, A_WHILE).await?;

        for round in 1..=3 {
            let victims = pods(ns).await?;
            ensure!(
                victims.len() >= 2,
                "round {round}: these workers are left: {victims:?}"
            );
            for victim in victims.iter().take(2) {
                ns.kubectl(["delete", "pod", victim, "--force", "--grace-period=0"])
                    .await?;
            }
            redis.started(&ids, 4 + 4 * round, A_WHILE).await?;
        }
        redis.completed(&ids, A_WHILE).await?;
        let tally = Tally::of(&ids, &witness).no_harm()?;
        ensure!(
            tally.run_again > 0,
            "nothing was cut, so nothing was shown: {tally}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_node_that_is_drained_and_uncordoned_under_load_costs_no_job() -> Result<()> {
    in_namespace("drained-node", async |ns| {
        let redis = ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        let witness = Witness::of(&redis).await?;
        ns.apply(&pool(HW7, json!({"replicas": 3, "template": sleeping(2)})))
            .await?;
        ns.ready(HW7, 3).await?;
        let ids = api.submit_many(15).await?;
        redis.started(&ids, 3, A_WHILE).await?;

        let before = pods(ns).await?;
        drain_of_its_pods(ns).await?;
        redis.completed(&ids, A_WHILE).await?;

        let after = pods(ns).await?;
        ensure!(
            before.iter().all(|pod| !after.contains(pod)),
            "some were never evicted: {before:?}, {after:?}"
        );
        Tally::of(&ids, &witness).no_harm()?;
        // The jobs are shorter than the grace period.
        witness.none_cut(&ids)?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_template_rolled_out_under_load_cuts_no_job() -> Result<()> {
    in_namespace("rolled-out", async |ns| {
        let redis = ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        let witness = Witness::of(&redis).await?;
        let rolled = |edition: &str| {
            let mut template = sleeping(1);
            template["metadata"] = json!({"labels": {"edition": edition}});
            pool(HW7, json!({"replicas": 3, "template": template}))
        };
        ns.apply(&rolled("first")).await?;
        ns.ready(HW7, 3).await?;
        let mut ids = api.submit_many(20).await?;
        redis.started(&ids, 3, A_WHILE).await?;

        for edition in ["second", "third"] {
            ns.apply(&rolled(edition)).await?;
            // Work goes on throughout: what is there and what comes.
            ids.extend(api.submit_many(5).await?);
            let at = format!("jsonpath={{.spec.template.metadata.labels.edition}}={edition}");
            ns.kubectl([
                "wait",
                &format!("deployment/{HW7}"),
                &format!("--for={at}"),
                "--timeout=60s",
            ])
            .await?;
            ns.kubectl([
                "rollout",
                "status",
                &format!("deployment/{HW7}"),
                "--timeout=180s",
            ])
            .await?;
        }
        redis.completed(&ids, A_WHILE).await?;
        Tally::of(&ids, &witness).no_harm()?;
        witness.none_cut(&ids)?;
        Ok(())
    })
    .await
}

/// A worker whose job of so many seconds SIGTERM cuts at once, and that then has no time left to say so.
fn deaf(seconds: u32) -> Value {
    let mut template = sleeping_without_grace(seconds);
    template["spec"]["terminationGracePeriodSeconds"] = json!(0);
    template
}

async fn pods(ns: &Namespace) -> Result<Vec<String>> {
    let pods = ns.pods_of(HW7).await?;
    let stays = pods
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok(stays.map(ResourceExt::name_any).collect())
}

/// What `kubectl drain` does, for the pods of this namespace alone: no new ones on the node, those there are evicted.
async fn drain_of_its_pods(ns: &Namespace) -> Result<()> {
    let node = ns
        .kubectl(["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"])
        .await?;
    let label = format!("workerpool.dev/drained={}", ns.name());
    ns.kubectl(["label", "pods", "--selector=workerpool.dev/pool", &label])
        .await?;
    ns.kubectl([
        "label",
        "pods",
        "--selector=app.kubernetes.io/name=workerpool-api",
        &label,
    ])
    .await?;
    let drained = ns
        .kubectl([
            "drain",
            &node,
            &format!("--pod-selector={label}"),
            "--ignore-daemonsets",
            "--timeout=60s",
        ])
        .await;
    // Other tests need the node, whatever became of this.
    ns.kubectl(["uncordon", &node]).await?;
    drained.context("drain")?;
    Ok(())
}
