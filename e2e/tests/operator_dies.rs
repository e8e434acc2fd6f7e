//! The operator is killed with SIGKILL while there is work. The kubelet takes up to 10 s to start it again (up to minutes where it is
//! set otherwise), and meanwhile nothing is scaled: so these tests are a program of their own, and never run beside those that wait
//! for a count.

use anyhow::{Context, Result, ensure};
use redis::AsyncCommands;
use serde_json::{Value, json};
use workerpool_e2e::wait::{Look, eventually};
use workerpool_e2e::{
    A_WHILE, HW7, Namespace, Tally, Witness, in_namespace, job, kill_leader_beside_a_standby, kill_operator,
    pool, sleeping, sleeping_without_grace, three_workers_busy_with_nine_jobs,
};

/// The number of the database with the queues.
const QUEUES: u8 = 2;

#[tokio::test]
#[ignore = "needs a cluster"]
async fn an_operator_killed_mid_run_and_restarted_changes_no_count_and_loses_no_job() -> Result<()> {
    in_namespace("operator-killed", async |ns| {
        let redis = ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        let witness = Witness::of(&redis).await?;
        let ids = three_workers_busy_with_nine_jobs(ns, &api, &redis).await?;
        let counts = ns.counts_of(HW7).await?;
        let left = a_cost_left_behind(ns).await?;

        kill_operator().await?;
        cost_is_cleared(ns, &left).await?;
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
async fn twenty_workers_one_and_twenty_again_while_the_operator_dies_cuts_no_job() -> Result<()> {
    in_namespace("up-and-down", async |ns| {
        let redis = ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        let witness = Witness::of(&redis).await?;
        // A pod that is deleted in the middle of a job cuts it.
        ns.apply(&pool(
            HW7,
            json!({"replicas": 20, "template": sleeping_without_grace(1)}),
        ))
        .await?;
        let counts = ns.counts_of(HW7).await?;
        ns.given(HW7, 20).await?;
        let mut ids = api.submit_many(60).await?;
        redis.started(&ids, 20, A_WHILE).await?;

        pin(ns, 1).await?;
        fewer_than(ns, 20).await?;
        pin(ns, 20).await?;
        ids.extend(api.submit_many(60).await?);
        let killed = kill_operator();
        let pinned = async {
            pin(ns, 1).await?;
            redis.started(&ids, 80, A_WHILE).await?;
            pin(ns, 20).await
        };
        let (killed, pinned) = tokio::join!(killed, pinned);
        killed?;
        pinned?;
        ns.given(HW7, 20).await?;
        pin(ns, 1).await?;

        redis.completed(&ids, A_WHILE).await?;
        ns.given(HW7, 1).await?;
        Tally::of(&ids, &witness).no_harm()?;
        witness
            .each_taken_once(&ids)
            .with_context(|| format!("counts: {:?}", counts.counts()))?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn template_that_never_worked_stays_limited_though_operator_is_killed() -> Result<()> {
    in_namespace("limit-stays", async |ns| {
        ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        api.submit_many(100).await?;
        let image = json!({"spec": {"containers": [{"name": "worker", "image": "127.0.0.1:1/typo:1"}]}});
        let spec = json!({"scaling": {"maxReplicas": 20}, "template": image});
        ns.apply(&pool(HW7, spec)).await?;
        ns.given(HW7, 3).await?;
        ns.pool_until(HW7, "is unproven", |pool| {
            let decided = pool.condition("ScalingActive");
            decided.is_some_and(|decided| decided.reason == "Unproven")
        })
        .await?;
        let counts = ns.counts_of(HW7).await?;

        kill_operator().await?;
        // The new operator has read the queue.
        api.submit_many(5).await?;
        ns.pool_until(HW7, "is looked at again", |pool| {
            pool.at("/status/queue/waiting") == 105
        })
        .await?;
        ensure!(counts.counts() == [3], "{:?}", counts.counts());
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn jobs_are_submitted_once_though_the_operator_is_killed_in_the_middle() -> Result<()> {
    in_namespace("jobs-once", async |ns| {
        let redis = ns.deploy_redis().await?;
        let witness = Witness::of(&redis).await?;
        ns.apply(&pool(HW7, json!({"replicas": 3, "template": sleeping(1)})))
            .await?;
        ns.ready(HW7, 3).await?;
        let jobs: Vec<Value> = (0..60).map(|n| job(&format!("job-{n}"), json!({}))).collect();
        let all = json!({"apiVersion": "v1", "kind": "List", "items": jobs});
        let (applied, killed) = tokio::join!(ns.apply(&all), kill_operator());
        applied?;
        killed?;

        ns.kubectl([
            "wait",
            "wj",
            "--all",
            "--for=condition=Complete",
            "--timeout=120s",
        ])
        .await?;
        let ids = ns
            .kubectl(["get", "wj", "-o", "jsonpath={.items[*].metadata.uid}"])
            .await?;
        let ids: Vec<String> = ids.split_whitespace().map(str::to_owned).collect();
        ensure!(ids.len() == 60, "{} Jobs", ids.len());
        Tally::of(&ids, &witness).no_harm()?;
        witness.each_taken_once(&ids)?;
        let jobs = redis.everything().await?;
        ensure!(
            jobs.len() == 60,
            "{} jobs lie in Redis for 60 resources",
            jobs.len()
        );
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_standby_scales_when_the_leader_is_killed() -> Result<()> {
    in_namespace("standby", async |ns| {
        ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        let spec = json!({"scaling": {"jobsPerReplica": 1}, "template": sleeping(300)});
        ns.apply(&pool(HW7, spec)).await?;
        ns.ready(HW7, 0).await?;
        kill_leader_beside_a_standby(async || {
            api.submit(2).await?;
            ns.given(HW7, 2).await?;
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn five_pools_go_up_and_down_though_the_operator_is_killed_each_time() -> Result<()> {
    in_namespace("five-pools", async |ns| {
        let redis = ns.deploy_redis().await?;
        let names: Vec<String> = (1..=5).map(|n| format!("pool-{n}")).collect();
        for name in &names {
            ns.apply(&pool(name, of_its_own_queue(name))).await?;
            ns.given(name, 0).await?;
        }
        let mut connection = redis.connection(QUEUES).await?;

        let push = async {
            for name in &names {
                let key = format!("hotqueue:{name}");
                let _: u64 = connection.rpush(key, &["a", "b", "c"]).await?;
            }
            anyhow::Ok(())
        };
        tokio::try_join!(kill_operator(), push)?;
        for name in &names {
            ns.given(name, 3).await?;
        }
        let empty = async {
            for name in &names {
                let _: u64 = connection.del(format!("hotqueue:{name}")).await?;
            }
            anyhow::Ok(())
        };
        tokio::try_join!(kill_operator(), empty)?;
        for name in &names {
            ns.given(name, 0).await?;
        }
        Ok(())
    })
    .await
}

/// No node takes its pods: nothing but the operator acts on the queue.
fn of_its_own_queue(name: &str) -> Value {
    json!({
        "queues": [{"name": name}],
        "scaling": {"jobsPerReplica": 1, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}},
        "template": {"spec": {
            "nodeSelector": {"workerpool.dev/no-such-node": "true"},
            "containers": [{"name": "worker"}],
        }},
    })
}

/// As an operator leaves it behind that ends in the middle of a scale-down; the pod's name.
async fn a_cost_left_behind(ns: &Namespace) -> Result<String> {
    let selector = format!("workerpool.dev/pool={HW7}");
    let pod = ns
        .kubectl([
            "get",
            "pods",
            "-l",
            &selector,
            "-o",
            "jsonpath={.items[0].metadata.name}",
        ])
        .await?;
    ns.kubectl([
        "annotate",
        "pod",
        &pod,
        "controller.kubernetes.io/pod-deletion-cost=-1000000",
    ])
    .await?;
    ns.kubectl(["label", "--overwrite", "pod", &pod, "workerpool.dev/leaving=0"])
        .await?;
    Ok(pod)
}

async fn cost_is_cleared(ns: &Namespace, pod: &str) -> Result<()> {
    eventually("the cost is cleared", A_WHILE, async || {
        let metadata = ns
            .kubectl([
                "get",
                "pod",
                pod,
                "-o",
                "jsonpath={.metadata.labels}{.metadata.annotations}",
            ])
            .await?;
        let cleared =
            !metadata.contains("deletion-cost") && metadata.contains(r#""workerpool.dev/leaving":"false""#);
        Ok(Look::when(cleared, (), || metadata))
    })
    .await
}

async fn pin(ns: &Namespace, replicas: u32) -> Result<()> {
    ns.kubectl(["scale", "workerpool", HW7, &format!("--replicas={replicas}")])
        .await?;
    Ok(())
}

/// Waits until the Deployment is given fewer replicas.
async fn fewer_than(ns: &Namespace, replicas: i32) -> Result<()> {
    eventually(&format!("fewer than {replicas} replicas"), A_WHILE, async || {
        let given = ns.deployment(HW7).await?.and_then(|found| found.spec?.replicas);
        Ok(Look::when(
            given.is_some_and(|given| given < replicas),
            (),
            || format!("{given:?}"),
        ))
    })
    .await
}
