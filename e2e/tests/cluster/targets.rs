//! Targets that are no Deployments: a StatefulSet, whose highest pods go whatever they are doing, and a custom resource.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use workerpool_e2e::wait::{Look, eventually};
use workerpool_e2e::{A_WHILE, HW7, Namespace, Witness, established, in_namespace, pool, waves_of_jobs};

const SET: &str = "numbered";
const CREW: &str = "a-crew";
/// The test's own, so that another's rights do not reach it.
const GROUP: &str = "targets.e2e.workerpool.dev";
/// The ClusterRole that lets the operator scale crews.
const RIGHT: &str = "workerpool-e2e-scales-crews";
const WORK: Duration = Duration::from_secs(4);

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_stateful_set_follows_its_queue_up_and_down_and_no_job_is_cut() -> Result<()> {
    in_namespace("stateful-set", async |ns| {
        let redis = ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        let witness = Witness::of(&redis).await?;
        ns.apply(&numbered_workers()).await?;
        let spec = json!({
            "scaling": {
                "maxReplicas": 5,
                "jobsPerReplica": 1,
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            },
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": SET},
        });
        ns.apply(&pool(HW7, spec)).await?;
        ns.pool_until(HW7, "is ready", |pool| pool.is("Ready", "True"))
            .await?;

        // Some numbers are idle among busy ones, and not always the highest.
        let ids = waves_of_jobs(&api, &redis).await?;
        has_count(ns, "statefulset", SET, "0").await?;

        witness.each_ran_once_for(WORK, &ids)
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_custom_resource_is_scaled_once_somebody_gives_the_right() -> Result<()> {
    in_namespace("crew", async |ns| {
        take_the_right_of_an_earlier_run(ns).await?;
        ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        ns.apply(&crews()).await?;
        established(&format!("crews.{GROUP}")).await?;
        let crew = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Crew", "metadata": {"name": CREW}, "spec": {"replicas": 0}});
        ns.apply(&crew).await?;
        // Of a version that there is not: the kind is the same.
        let target = json!({"apiVersion": format!("{GROUP}/v1beta1"), "kind": "Crew", "name": CREW});
        let spec = json!({
            "scaling": {"jobsPerReplica": 1, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}},
            "scaleTargetRef": target,
        });
        ns.apply(&pool(HW7, spec)).await?;
        let told = ns.pool_until(HW7, "says which right it needs", |pool| {
            let ready = pool.condition("Ready");
            ready.is_some_and(|ready| ready.message.contains("crews/scale"))
        });
        told.await?;

        ns.apply(&right_to_scale_crews()).await?;
        ns.pool_until(HW7, "is ready", |pool| pool.is("Ready", "True"))
            .await?;
        api.submit(3).await?;
        has_count(ns, "crew", CREW, "3").await?;
        ns.kubectl(["scale", "workerpool", HW7, "--replicas=1"]).await?;
        has_count(ns, "crew", CREW, "1").await
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn an_autoscaled_stateful_set_is_refused_until_it_is_free() -> Result<()> {
    in_namespace("autoscaled-set", async |ns| {
        ns.deploy_redis().await?;
        ns.apply(&numbered_workers()).await?;
        let target = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": SET});
        let autoscaler = json!({
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "busy"},
            "spec": {"scaleTargetRef": target, "maxReplicas": 3, "metrics": []},
        });
        ns.apply(&autoscaler).await?;
        ns.apply(&pool(HW7, json!({"replicas": 1, "scaleTargetRef": target})))
            .await?;
        let refused = ns.pool_until(HW7, "is refused", |pool| {
            let accepted = pool.condition("Accepted");
            accepted.is_some_and(|accepted| accepted.message.contains("HorizontalPodAutoscaler busy"))
        });
        refused.await?;
        ns.kubectl(["delete", "horizontalpodautoscaler", "busy"]).await?;
        has_count(ns, "statefulset", SET, "1").await
    })
    .await
}

async fn has_count(ns: &Namespace, kind: &str, name: &str, count: &str) -> Result<()> {
    eventually(
        &format!("{kind} {name} is given {count} replicas"),
        A_WHILE,
        async || {
            let given = ns
                .kubectl(["get", kind, name, "-o", "jsonpath={.spec.replicas}"])
                .await?;
            let given = given.trim();
            Ok(Look::when(given == count, (), || given.to_owned()))
        },
    )
    .await
}

/// The stock worker as somebody runs it without us; SIGTERM cuts a job at once.
fn numbered_workers() -> Value {
    let field =
        |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let value = |name: &str, value: &str| json!({"name": name, "value": value});
    let environment = [
        value("REDIS_IP", "redis"),
        value("WORKERPOOL_SLEEP_SECONDS", &WORK.as_secs().to_string()),
        value("WORKERPOOL_GRACE_SECONDS", "0"),
        field("WORKER_IP", "status.podIP"),
        field("WORKERPOOL_POD_UID", "metadata.uid"),
        field("WORKERPOOL_POD_NAME", "metadata.name"),
    ];
    let container = json!({
        "name": "worker",
        "image": "workerpool:0.1.0",
        "command": ["/workerpool-worker"],
        "env": environment,
    });
    let labels = json!({"app": SET});
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": SET},
        "spec": {
            "replicas": 0,
            "serviceName": SET,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"enableServiceLinks": false, "containers": [container]},
            },
        },
    })
}

fn crews() -> Value {
    let schema = json!({
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"replicas": {"type": "integer", "format": "int32"}}},
            "status": {"type": "object", "properties": {"replicas": {"type": "integer", "format": "int32"}}},
        },
    });
    let version = json!({
        "name": "v1",
        "served": true,
        "storage": true,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
        },
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("crews.{GROUP}")},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"kind": "Crew", "singular": "crew", "plural": "crews"},
            "versions": [version],
        },
    })
}

/// It is the cluster's, and outlives the test.
async fn take_the_right_of_an_earlier_run(ns: &Namespace) -> Result<()> {
    ns.kubectl(["delete", "clusterrole", RIGHT, "--ignore-not-found"])
        .await?;
    eventually("the operator has no right to scale crews", A_WHILE, async || {
        let rights = ns
            .kubectl([
                "get",
                "clusterrole",
                "workerpool-targets",
                "-o",
                "jsonpath={.rules}",
            ])
            .await?;
        Ok(Look::when(!rights.contains(GROUP), (), || rights))
    })
    .await
}

fn right_to_scale_crews() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {
            "name": RIGHT,
            "labels": {"workerpool.dev/aggregate-to-operator": "true"},
        },
        "rules": [{"apiGroups": [GROUP], "resources": ["crews/scale"], "verbs": ["get", "patch"]}],
    })
}
