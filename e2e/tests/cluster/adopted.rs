//! The original's own Deployment, scaled by a pool instead of by line 10.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use serde_json::{Value, json};
use workerpool_e2e::{A_WHILE, HW7, Namespace, in_namespace, pool};

use crate::autoscaled::{WEB, web};

const WORKERS: &str = "bradenp-hw7-worker-deployment";
const FLASK: &str = "bradenp-hw7-flask-deployment";

#[tokio::test]
#[ignore = "needs a cluster"]
async fn the_originals_deployment_is_adopted_and_its_apis_pods_are_left_alone_and_uncounted() -> Result<()> {
    in_namespace("adopted", async |ns| {
        let redis = ns.deploy_redis().await?;
        ns.apply_files("e2e/images/original/deploy").await?;
        ns.ready(WORKERS, 2).await?;
        ns.ready(FLASK, 1).await?;
        let flask_pods = names(ns, FLASK).await?;
        let template = template_of(ns).await?;
        overlap_is_real(ns).await?;

        ns.apply(&adopting(300)).await?;
        ns.pool_until(HW7, "is ready", |pool| pool.is("Ready", "True"))
            .await?;

        // The two workers that line 10 asked for take a job each; what is left waiting needs more of them.
        let api = ns.api_listening_at("bradenp-hw7-flask-service").await?;
        let ids = api.submit(6).await?;
        let at_work = ns.pool_until(
            HW7,
            "counts what the original's workers have as running",
            |pool| pool.at("/status/queue/running").as_i64() >= Some(2),
        );
        at_work.await?;
        ns.given(WORKERS, 4).await?;
        ns.ready(WORKERS, 4).await?;
        let counted = ns.pool_until(HW7, "counts four ready workers", |pool| {
            pool.count("replicas") == Some(4) && pool.count("readyReplicas") == Some(4)
        });
        counted.await?;
        redis.completed(&ids, A_WHILE).await?;

        ensure!(
            names(ns, FLASK).await? == flask_pods,
            "the API's pods were touched"
        );
        let flask = ns
            .deployment(FLASK)
            .await?
            .context("the API's Deployment is gone")?;
        ensure!(
            flask.spec.and_then(|spec| spec.replicas) == Some(1),
            "the API's Deployment was scaled"
        );
        ensure!(
            template_of(ns).await? == template,
            "more than the count of the adopted Deployment was changed"
        );

        ns.apply(&adopting(0)).await?;
        ns.given(WORKERS, 1).await?;

        // deletionPolicy: Retain is the default.
        ns.kubectl(["delete", "workerpool", HW7]).await?;
        let left = ns
            .deployment(WORKERS)
            .await?
            .context("the adopted Deployment was deleted with the pool")?;
        ensure!(
            left.metadata.deletion_timestamp.is_none(),
            "the adopted Deployment is being deleted"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_deployment_gets_the_count_back_that_it_had_whatever_people_did_meanwhile() -> Result<()> {
    in_namespace("restored", async |ns| {
        ns.deploy_redis().await?;
        ns.apply(&web(2)).await?;
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": WEB});
        let spec = json!({"replicas": 1, "scaleTargetRef": target, "deletionPolicy": "Restore"});
        ns.apply(&pool(HW7, spec)).await?;
        ns.given(WEB, 1).await?;

        // The pool puts that right at once, so it is not what was found.
        let deployment = format!("deployment/{WEB}");
        ns.kubectl(["scale", &deployment, "--replicas=3"]).await?;
        ns.given(WEB, 1).await?;
        ns.kubectl(["delete", "workerpool", HW7]).await?;
        ns.given(WEB, 2).await?;
        Ok(())
    })
    .await
}

/// A pool for the original's workers that shrinks after so many seconds. As long as the test needs them they must not go.
fn adopting(window: u32) -> Value {
    let spec = json!({
        "scaling": {
            "minReplicas": 1,
            "maxReplicas": 4,
            "jobsPerReplica": 1,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": window}},
        },
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": WORKERS},
    });
    pool(HW7, spec)
}

async fn names(ns: &Namespace, deployment: &str) -> Result<BTreeSet<String>> {
    Ok(ns
        .pods_of(deployment)
        .await?
        .iter()
        .map(ResourceExt::name_any)
        .collect())
}

async fn template_of(ns: &Namespace) -> Result<String> {
    ns.kubectl([
        "get",
        "deployment",
        WORKERS,
        "-o",
        "jsonpath={.spec.template}{.metadata.ownerReferences}",
    ])
    .await
}

/// The worker's selector matches the API's pod, too; without this the test would prove nothing.
async fn overlap_is_real(ns: &Namespace) -> Result<()> {
    let matched = ns
        .kubectl([
            "get",
            "pods",
            "--selector",
            "username=bradenp,env=hw7",
            "-o",
            "name",
        ])
        .await?;
    ensure!(matched.lines().count() == 3, "the selector matches:\n{matched}");
    Ok(())
}
