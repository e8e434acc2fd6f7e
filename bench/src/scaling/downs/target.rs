//! The Deployment that both systems scale here, with real pods, and what a person writes for each.

use anyhow::Context;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::scaling::stage::{NODE, Stage};
use crate::scaling::system::{Settings, System};

/// The most workers of a pool.
pub(super) const MOST: usize = 5;
/// The stock worker, as dev/images has it.
const IMAGE: &str = concat!("workerpool:", env!("CARGO_PKG_VERSION"));
/// From SIGTERM to SIGKILL. SIGTERM cuts a job at once here, so that a pod that is deleted in the middle of one shows.
const GRACE_SECONDS: u32 = 1;

/// What one target is made of.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) system: System,
    /// Of the Deployment, of what scales it, and of the queue.
    pub(super) name: &'a str,
    /// Where this program takes jobs.
    pub(super) port: u16,
    /// Whether the Deployment is made apart from a pool that would make it itself.
    pub(super) is_adopted: bool,
}

/// Has a system scale a Deployment of stock workers whose handler posts jobs to this program.
pub(super) async fn make(stage: &Stage, target: Target<'_>) -> anyhow::Result<()> {
    let Target { system, name, .. } = target;
    let params = PostParams::default();
    let mut object = system.object(name, &stage.redis_address, Settings::Best)?;
    let spec = &mut object.data["spec"];
    system.follow_closely(spec, MOST);
    let pod = worker(name, &stage.redis_address, target.port);
    if system == System::Workerpool && !target.is_adopted {
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("scaleTargetRef");
            spec.insert("template".to_owned(), json!({"spec": pod}));
        }
    } else {
        let deployments = stage.deployments();
        let deployment = deployments.create(&params, &deployment(name, &pod)?).await;
        deployment.context("a target")?;
    }
    let created = stage.objects(system).create(&params, &object).await;
    created.with_context(|| name.to_owned())?;
    Ok(())
}

/// Has a system keep a target at a count, whatever its queue says; `None`: follow the queue again.
pub(super) async fn pin(
    objects: &Api<DynamicObject>,
    system: System,
    name: &str,
    count: Option<usize>,
) -> anyhow::Result<()> {
    let patch = match system {
        System::Workerpool => json!({"spec": {"replicas": count}}),
        System::Keda => {
            let count = count.map(|count| count.to_string());
            json!({"metadata": {"annotations": {"autoscaling.keda.sh/paused-replicas": count}}})
        }
    };
    let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
    let patched = objects.patch(name, &params, &patch).await;
    patched.with_context(|| format!("pinning {name}"))?;
    Ok(())
}

fn deployment(name: &str, pod: &Value) -> anyhow::Result<Deployment> {
    let labels = json!({"target": name});
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"bench": "target"}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    });
    serde_json::from_value(deployment).context("the target's shape")
}

/// The same pod for both.
fn worker(queue: &str, redis: &str, port: u16) -> Value {
    let value = |name: &str, value: String| json!({"name": name, "value": value});
    let field =
        |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let worker = json!({
        "name": "worker",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/workerpool-worker"],
        "env": [
            value("WORKERPOOL_REDIS_ADDRESS", redis.to_owned()),
            value("WORKERPOOL_QUEUE", queue.to_owned()),
            value("WORKERPOOL_HANDLER", "http".to_owned()),
            value("WORKERPOOL_HTTP_URL", format!("http://{NODE}:{port}/")),
            value("WORKERPOOL_GRACE_SECONDS", "0".to_owned()),
            field("WORKER_IP", "status.podIP"),
            field("WORKERPOOL_POD_NAME", "metadata.name"),
            field("WORKERPOOL_POD_UID", "metadata.uid"),
        ],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 2},
    });
    json!({
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "containers": [worker],
    })
}
