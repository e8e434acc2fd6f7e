//! A pool's own Deployment: made with it, kept as it should be, gone with it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Container;
use kube::ResourceExt;
use serde_json::{Value, json};
use workerpool_e2e::wait::{Look, eventually};
use workerpool_e2e::{
    A_WHILE, HW7, Namespace, Witness, in_namespace, pool, sleeping, sleeping_without_grace,
};

#[tokio::test]
#[ignore = "needs a cluster"]
async fn an_empty_spec_is_a_whole_pool_and_its_deployment_goes_when_it_goes() -> Result<()> {
    in_namespace("pool-deleted", async |ns| {
        ns.deploy_redis().await?;
        ns.apply(&pool(HW7, json!({}))).await?;
        ns.pool_until(HW7, "is ready", |pool| pool.is("Ready", "True"))
            .await?;
        ns.kubectl(["scale", "workerpool", HW7, "--replicas=1"]).await?;
        ns.ready(HW7, 1).await?;

        ns.kubectl(["delete", "workerpool", HW7]).await?;
        ns.gone(HW7).await?;
        ns.kubectl([
            "wait",
            "pod",
            "--for=delete",
            "--selector=workerpool.dev/pool=hw7",
            "--timeout=60s",
        ])
        .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_deployment_deleted_by_hand_comes_back() -> Result<()> {
    in_namespace("deployment-deleted", async |ns| {
        ns.deploy_redis().await?;
        ns.apply(&pool(
            HW7,
            json!({"scaling": {"minReplicas": 1}, "template": sleeping(1)}),
        ))
        .await?;
        let first = ns.ready(HW7, 1).await?;

        ns.kubectl(["delete", "deployment", HW7]).await?;
        let second = ns.ready(HW7, 1).await?;
        ensure!(
            first.metadata.uid != second.metadata.uid,
            "the Deployment was never deleted"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_count_edited_on_the_deployment_is_put_right() -> Result<()> {
    in_namespace("count-edited", async |ns| {
        ns.deploy_redis().await?;
        ns.apply(&pool(
            HW7,
            json!({"scaling": {"minReplicas": 1}, "template": sleeping(1)}),
        ))
        .await?;
        ns.ready(HW7, 1).await?;

        ns.kubectl(["scale", "deployment", HW7, "--replicas=3"]).await?;
        ns.ready(HW7, 1).await?;
        ns.kubectl(["scale", "deployment", HW7, "--replicas=0"]).await?;
        ns.ready(HW7, 1).await?;
        Ok(())
    })
    .await
}

/// Patches the Deployment as a person or another controller does, under this name.
async fn patch_as(ns: &Namespace, manager: &str, patch: &Value) -> Result<()> {
    let (manager, patch) = (format!("--field-manager={manager}"), patch.to_string());
    ns.kubectl(["patch", "deployment", HW7, &manager, "-p", &patch])
        .await?;
    Ok(())
}

/// The template of the Deployment's worker.
async fn worker_of(ns: &Namespace) -> Result<Container> {
    let found = ns.deployment(HW7).await?.context("no such Deployment")?;
    let containers = found
        .spec
        .and_then(|spec| spec.template.spec)
        .map(|spec| spec.containers);
    let mut containers = containers.unwrap_or_default().into_iter();
    let worker = containers.find(|container| container.name == "worker");
    worker.context("no worker in the template")
}

/// Waits until the template of the Deployment's worker is as described. A correction comes at once, or 10 s after the last look.
async fn worker_until(ns: &Namespace, what: &str, holds: impl Fn(&Container) -> bool) -> Result<()> {
    eventually(what, Duration::from_secs(20), async || {
        let worker = worker_of(ns).await?;
        let seen = format!("{:?} {:?}", worker.image, worker.env);
        Ok(Look::when(holds(&worker), (), || seen))
    })
    .await
}

/// The pool of one whose workers take this many seconds for a job.
fn one_sleeping(seconds: u32) -> Value {
    pool(HW7, json!({"replicas": 1, "template": sleeping(seconds)}))
}

fn sleeps(worker: &Container, seconds: &str) -> bool {
    let mut environment = worker.env.iter().flatten();
    environment.any(|one| one.name == "WORKERPOOL_SLEEP_SECONDS" && one.value.as_deref() == Some(seconds))
}

/// Waits for an event about a correction; answers the events.
async fn drift_told(ns: &Namespace) -> Result<String> {
    eventually("an event reports the correction", A_WHILE, async || {
        let events = ns
            .kubectl([
                "get",
                "events",
                "--field-selector=reason=DriftCorrected",
                "-o",
                "jsonpath={.items[*].message}",
            ])
            .await?;
        Ok(Look::when(!events.is_empty(), events, || "no event".to_owned()))
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn image_set_by_hand_is_corrected_and_sidecar_stays() -> Result<()> {
    in_namespace("image-set", async |ns| {
        ns.deploy_redis().await?;
        ns.apply(&one_sleeping(1)).await?;
        ns.ready(HW7, 1).await?;
        let ours = worker_of(ns).await?.image;

        let mut sidecar = json!({"name": "sidecar", "image": "redis:7"});
        sidecar["command"] = json!(["redis-server"]);
        sidecar["securityContext"] = json!({"runAsUser": 65532});
        let patch = json!({"spec": {"template": {"spec": {"containers": [sidecar]}}}});
        patch_as(ns, "mesh", &patch).await?;
        ns.kubectl(["label", "deployment", HW7, "team=night"]).await?;
        ns.kubectl(["set", "image", "deployment/hw7", "worker=does-not-exist:1"])
            .await?;

        worker_until(ns, "the image is corrected", |worker| worker.image == ours).await?;
        let found = ns.ready(HW7, 1).await?;
        ensure!(found.labels().get("team").is_some_and(|team| team == "night"));
        let containers = found
            .spec
            .context("no spec")?
            .template
            .spec
            .context("no template")?
            .containers;
        ensure!(
            containers.iter().any(|container| container.name == "sidecar"),
            "the sidecar is gone: {containers:?}"
        );
        let events = drift_told(ns).await?;
        ensure!(
            events.contains("by kubectl-set"),
            "no event names who did it: {events}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn rollout_restart_restarts_pods_once() -> Result<()> {
    in_namespace("restarted", async |ns| {
        ns.deploy_redis().await?;
        ns.apply(&one_sleeping(1)).await?;
        ns.ready(HW7, 1).await?;
        ns.kubectl(["rollout", "restart", "deployment", HW7]).await?;
        ns.kubectl(["rollout", "status", "deployment", HW7, "--timeout=120s"])
            .await?;
        // The operator has looked at what was changed.
        eventually("the generation is verified", A_WHILE, async || {
            let generation = ns
                .deployment(HW7)
                .await?
                .and_then(|found| found.metadata.generation);
            let verified = ns.pool(HW7).await?.count("deploymentGeneration");
            let seen = format!("{generation:?}, verified {verified:?}");
            Ok(Look::when(generation == verified, (), || seen))
        })
        .await?;
        let found = ns.ready(HW7, 1).await?;
        let revision = found
            .annotations()
            .get("deployment.kubernetes.io/revision")
            .cloned();
        ensure!(
            revision.as_deref() == Some("2"),
            "the pods were restarted {revision:?} - 1 times"
        );
        let template = found
            .spec
            .and_then(|spec| spec.template.metadata)
            .unwrap_or_default();
        let restarted = "kubectl.kubernetes.io/restartedAt";
        ensure!(
            template
                .annotations
                .is_some_and(|annotations| annotations.contains_key(restarted))
        );
        let events = ns
            .kubectl(["get", "events", "--field-selector=reason=DriftCorrected"])
            .await?;
        ensure!(events.is_empty(), "{events}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn rolled_back_deployment_is_corrected() -> Result<()> {
    in_namespace("rolled-back", async |ns| {
        ns.deploy_redis().await?;
        ns.apply(&one_sleeping(1)).await?;
        ns.ready(HW7, 1).await?;
        ns.apply(&one_sleeping(2)).await?;
        worker_until(ns, "is rolled out", |worker| sleeps(worker, "2")).await?;
        ns.ready(HW7, 1).await?;
        ns.kubectl(["rollout", "undo", "deployment", HW7]).await?;
        drift_told(ns).await?;
        worker_until(ns, "is corrected", |worker| sleeps(worker, "2")).await
    })
    .await
}

/// A pool of two whose roll-out is stuck, as the new image cannot be pulled.
async fn stuck_roll_out(ns: &Namespace, seconds: u32) -> Result<()> {
    let mut template = sleeping_without_grace(seconds);
    ns.apply(&pool(HW7, json!({"replicas": 2, "template": template})))
        .await?;
    ns.ready(HW7, 2).await?;
    template["spec"]["containers"][0]["image"] = json!("does-not-exist:1");
    template["spec"]["containers"][0]["command"] = json!(["/workerpool-worker"]);
    ns.apply(&pool(HW7, json!({"replicas": 2, "template": template})))
        .await?;
    eventually("the roll-out is stuck", A_WHILE, async || {
        let status = ns
            .deployment(HW7)
            .await?
            .and_then(|found| found.status)
            .unwrap_or_default();
        let seen = format!("{status:?}");
        let stuck = status.updated_replicas == Some(1) && status.replicas == Some(3);
        Ok(Look::when(stuck, (), || seen))
    })
    .await
}

async fn has_no_pods(ns: &Namespace, within: Duration) -> Result<()> {
    eventually("no pod is left", within, async || {
        let pods = ns.pods_of(HW7).await?;
        let left = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .count();
        Ok(Look::when(left == 0, (), || format!("{left} pods are left")))
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn stuck_roll_out_pinned_to_zero_has_no_pods_within_20_s() -> Result<()> {
    in_namespace("stuck-roll-out", async |ns| {
        ns.deploy_redis().await?;
        stuck_roll_out(ns, 1).await?;
        ns.kubectl(["scale", "workerpool", HW7, "--replicas=0"]).await?;
        has_no_pods(ns, Duration::from_secs(20)).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn stuck_roll_out_pinned_to_zero_with_backlog_cuts_no_job() -> Result<()> {
    in_namespace("stuck-and-busy", async |ns| {
        let redis = ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        let witness = Witness::of(&redis).await?;
        stuck_roll_out(ns, 10).await?;
        let ids = api.submit(8).await?;
        redis.started(&ids, 2, A_WHILE).await?;
        ns.kubectl(["scale", "workerpool", HW7, "--replicas=0"]).await?;
        // As soon as the jobs that run have ended, whatever waits.
        has_no_pods(ns, Duration::from_secs(30)).await?;
        let started: Vec<String> = ids
            .iter()
            .filter(|id| witness.count(id, "complete") > 0)
            .cloned()
            .collect();
        ensure!(
            (2..=4).contains(&started.len()),
            "{} of 8 jobs were run by two workers before they went",
            started.len()
        );
        witness.each_ran_once_for(Duration::from_secs(10), &started)?;
        let waiting = ids
            .iter()
            .filter(|id| witness.count(id, "in progress") == 0)
            .count();
        ensure!(waiting == ids.len() - started.len(), "a job was cut");
        Ok(())
    })
    .await
}
