//! This version serves what a released version stored. Each folder of `e2e/fixtures` is one version; the README there says what is in it.
//!
//! No operator runs while the objects are stored, and meanwhile the CustomResourceDefinitions are the old ones: so this is a program of
//! its own, and never runs beside tests that need either.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use redis::AsyncCommands;
use serde_json::{Value, json};
use workerpool_e2e::wait::{Look, eventually};
use workerpool_e2e::{
    A_WHILE, Api, CountHistory, Data, Fixtures, JobFate, Namespace, Pool, StoredDeployment, Witness,
    established, in_namespace, project, without_operator,
};

const PASSWORD: &str = "open-sesame";
/// The number of the database with the queues.
const QUEUES: u8 = 2;
/// Statuses that a job does not leave.
const ENDS: [&str; 3] = ["complete", "failed", "cancelled"];

#[tokio::test]
#[ignore = "needs a cluster"]
async fn upgrade_from_0_1_0_changes_no_count_and_loses_no_job() -> Result<()> {
    upgrade_from("0.1.0").await
}

async fn upgrade_from(version: &str) -> Result<()> {
    in_namespace("upgrade", async |ns| {
        let mut fixtures = Fixtures::of(version, ns.name());
        let redis = ns.deploy_each_kind_of_redis(PASSWORD).await?;
        ns.kubectl(["apply", "-f", &fixtures.path("surroundings.yaml")])
            .await?;
        let before = without_operator(async || store(ns, &redis, &mut fixtures).await).await?;

        let api = ns.deploy_api().await?;
        let pools = fixtures.objects("stored/pools.json")?;
        for pool in &pools {
            is_served_as_before(ns, pool).await?;
        }
        for fate in fixtures.ledger()? {
            comes_to_its_end(&redis, &api, &before.witness, &fate).await?;
        }
        for job in fixtures.objects("stored/jobs.json")? {
            resource_agrees(ns, &job).await?;
        }
        before.no_count_changed()?;
        pools_take_jobs(ns, &pools).await?;
        before.no_pod_template_rolled_twice(ns).await
    })
    .await
}

/// Deployments as they were before the new operator started, and the witnesses of what happened since.
struct Before {
    deployments: Vec<(StoredDeployment, Deployment, CountHistory)>,
    witness: Witness,
}

/// Restores definitions, objects and the contents of Redis as the old version had them. In the end the definitions are the new ones,
/// also after an error.
async fn store(ns: &Namespace, redis: &Data, fixtures: &mut Fixtures) -> Result<Before> {
    let old = fixtures.path("crds");
    ns.kubectl(["apply", "-f", &old]).await?;
    let stored = store_objects(ns, fixtures).await;
    let new = project().join("crds/yaml").to_string_lossy().into_owned();
    ns.kubectl(["apply", "-f", &new]).await?;
    for kind in ["workerpools", "jobs"] {
        established(&format!("{kind}.workerpool.dev")).await?;
    }
    stored?;
    redis.load(&fixtures.append_only_file()?).await?;
    let witness = Witness::of(redis).await?;
    let mut deployments = Vec::new();
    for stored in fixtures.deployments()? {
        store_deployment(ns, &stored).await?;
        let found = in_its_first_revision(ns, stored.name()).await?;
        let template = found
            .spec
            .as_ref()
            .map(|spec| serde_json::to_value(&spec.template))
            .transpose()?;
        ensure!(
            template.as_ref() == Some(stored.template()),
            "{} has other pods: {template:?}",
            stored.name()
        );
        let history = ns.counts_of(stored.name()).await?;
        deployments.push((stored, found, history));
    }
    Ok(Before { deployments, witness })
}

async fn store_objects(ns: &Namespace, fixtures: &mut Fixtures) -> Result<()> {
    for file in ["stored/pools.json", "stored/jobs.json"] {
        for object in fixtures.objects(file)? {
            let created = store_resource(ns, &object).await?;
            fixtures.renew_uid(&object, &created)?;
        }
    }
    continue_epochs(ns, &fixtures.json("stored/lease.json")?).await
}

/// Creates a pool or Job, and then gives it its status, as the API server wants it. The generation is a new object's, so no generation was
/// observed yet: by that a test sees that the operator has looked.
async fn store_resource(ns: &Namespace, object: &Value) -> Result<Value> {
    let kept = ["name", "labels", "annotations", "finalizers"]
        .map(|field| (field, object["metadata"][field].clone()));
    let metadata: BTreeMap<_, _> = kept.into_iter().filter(|(_, value)| !value.is_null()).collect();
    let mut wanted = json!({
        "apiVersion": object["apiVersion"],
        "kind": object["kind"],
        "metadata": metadata,
        "spec": object["spec"],
        "status": object["status"],
    });
    if let Some(status) = wanted["status"].as_object_mut() {
        status.remove("observedGeneration");
    }
    let resource = resource_of(object);
    // A definition that was just applied takes a moment to be in force: until then this is refused, or not kept as it is.
    eventually(
        &format!("{resource} would be stored as it was"),
        A_WHILE,
        async || {
            let tried = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
            let tried: Value = serde_json::from_str(&ns.kubectl_with(&tried, &wanted).await?)?;
            Ok(Look::when(tried["spec"] == wanted["spec"], (), || {
                tried["spec"].to_string()
            }))
        },
    )
    .await?;
    ns.kubectl_with(&["create", "-f", "-"], &wanted).await?;
    let mut status = get(ns, &resource).await?;
    status["status"] = wanted["status"].clone();
    ns.kubectl_with(&["replace", "--subresource=status", "-f", "-"], &status)
        .await?;
    get(ns, &resource).await
}

/// The old operator's epoch goes on: a lower one could not mark a pod any more.
async fn continue_epochs(ns: &Namespace, stored: &Value) -> Result<()> {
    let system = "--namespace=workerpool-system";
    let lease = ns
        .kubectl(["get", "lease", "workerpool-operator", system, "-o", "json"])
        .await?;
    let lease: Value = serde_json::from_str(&lease)?;
    let transitions = |lease: &Value| lease["spec"]["leaseTransitions"].as_i64().unwrap_or_default();
    let highest = transitions(&lease).max(transitions(stored));
    let patch = json!({"spec": {"leaseTransitions": highest}}).to_string();
    ns.kubectl([
        "patch",
        "lease",
        "workerpool-operator",
        system,
        "--type=merge",
        "-p",
        &patch,
    ])
    .await?;
    Ok(())
}

/// Creates a Deployment with the field managers that it had, so that an apply of the new operator removes what it would remove in an
/// upgrade.
async fn store_deployment(ns: &Namespace, stored: &StoredDeployment) -> Result<()> {
    if let Some(mut applied) = stored.applied() {
        let first = if stored.is_scaled() { 0 } else { stored.replicas() };
        applied["spec"]["replicas"] = json!(first);
        let manager = "--field-manager=workerpool-operator/deployment";
        ns.kubectl_with(&["apply", "--server-side", manager, "-f", "-"], &applied)
            .await?;
    }
    if stored.is_scaled() {
        let deployment = format!("deployment/{}", stored.name());
        let patch = json!({"spec": {"replicas": stored.replicas()}}).to_string();
        let manager = "--field-manager=workerpool-operator/scale";
        ns.kubectl([
            "patch",
            &deployment,
            "--subresource=scale",
            "--type=merge",
            manager,
            "-p",
            &patch,
        ])
        .await?;
    }
    ns.given(stored.name(), i32::try_from(stored.replicas())?).await?;
    Ok(())
}

async fn in_its_first_revision(ns: &Namespace, name: &str) -> Result<Deployment> {
    eventually(
        &format!("Deployment {name} has its first revision"),
        A_WHILE,
        async || {
            let found = ns.deployment(name).await?.context("no such Deployment")?;
            let revision = revision(&found);
            Ok(Look::when(revision == Some(1), found, || format!("{revision:?}")))
        },
    )
    .await
}

fn revision(deployment: &Deployment) -> Option<u32> {
    let annotations = deployment.metadata.annotations.as_ref()?;
    annotations.get("deployment.kubernetes.io/revision")?.parse().ok()
}

/// The new operator has looked at it, and says what the old one said: the decision too, where no job was there that may be done by now.
async fn is_served_as_before(ns: &Namespace, stored: &Value) -> Result<()> {
    let stored = Pool(stored.clone());
    let is_idle = ["waiting", "running"]
        .iter()
        .all(|jobs| stored.at("/status/queue")[jobs] == 0);
    let said = |pool: &Pool| {
        let condition = |kind: &str| {
            pool.condition(kind).map(|condition| {
                // Release 0.1.0 gave `Ready` the reason `Applied` where it is `OK` now.
                let is_old_word = kind == "Ready" && condition.reason == "Applied";
                let reason = if is_old_word {
                    "OK".to_owned()
                } else {
                    condition.reason
                };
                (condition.status, reason)
            })
        };
        let said = ["Accepted", "Ready", "QueueReadable"].map(condition);
        let decided = is_idle.then(|| (condition("ScalingActive"), pool.count("desiredReplicas")));
        (pool.mode().to_owned(), said, decided)
    };
    ensure!(
        stored.is("Accepted", "True"),
        "the old operator did not serve {}",
        stored.at("/metadata/name")
    );
    let as_before = ns.pool_until(name(&stored.0), "is served as before", |pool| {
        pool.at("/status/observedGeneration") == pool.at("/metadata/generation")
            && said(pool) == said(&stored)
    });
    as_before.await?;
    Ok(())
}

/// An open job comes to the end that the ledger says; a job that has ended, or is another program's, stays as it is.
async fn comes_to_its_end(redis: &Data, api: &Api, witness: &Witness, fate: &JobFate) -> Result<()> {
    let JobFate { id, was, ends, .. } = fate;
    eventually(&format!("job {id} ({was}) is {ends}"), A_WHILE, async || {
        all_is_due(redis).await?;
        let job = redis.job(id).await?;
        let status = job.get("status").cloned().unwrap_or_default();
        Ok(Look::when(status == *ends, (), || format!("{job:?}")))
    })
    .await?;
    let runs = witness.count(id, "in progress");
    let (ran, done) = (runs > 0, witness.count(id, "complete"));
    let has_to_run = fate.status != *ends;
    ensure!(
        ran == has_to_run && done == usize::from(has_to_run),
        "job {id} ({was}): {:?}",
        witness.transitions(id)
    );
    if let Some(result) = &fate.result {
        let (_, found) = api.download(&format!("/jobs/{id}/result")).await?;
        let found = String::from_utf8_lossy(&found);
        ensure!(
            found == *result,
            "job {id} ({was}) gave {found:?}, not {result:?}"
        );
    }
    Ok(())
}

/// An attempt that failed waits for up to an hour; a test does not.
async fn all_is_due(redis: &Data) -> Result<()> {
    let mut connection = redis.connection(QUEUES).await?;
    let delayed = "workerpool:queue:delayed";
    let ids: Vec<String> = connection.zrange(delayed, 0, -1).await?;
    for id in ids {
        redis::cmd("ZADD")
            .arg(&[delayed, "XX", "1", &id])
            .query_async::<()>(&mut connection)
            .await?;
    }
    Ok(())
}

/// A Job that had ended says what it said, the queue's word as its state too; one that had not is complete, in the words of now.
async fn resource_agrees(ns: &Namespace, stored: &Value) -> Result<()> {
    let resource = resource_of(stored);
    let had_ended = stored["status"]["state"]
        .as_str()
        .is_some_and(|state| ENDS.contains(&state));
    eventually(&format!("{resource} has ended"), A_WHILE, async || {
        let status = get(ns, &resource).await?["status"].clone();
        let same = if had_ended {
            status == stored["status"]
        } else {
            status["state"] == "Complete" && status["queueState"] == "complete"
        };
        Ok(Look::when(same, (), || status.to_string()))
    })
    .await
}

/// Each pool is given two Jobs, more than the one sees that starts for more than one only. They are done, or wait in the queue of a pool
/// whose pods are another program's.
async fn pools_take_jobs(ns: &Namespace, pools: &[Value]) -> Result<()> {
    for pool in pools {
        for number in 1..=2 {
            let job = json!({
                "apiVersion": "workerpool.dev/v1alpha1",
                "kind": "Job",
                "metadata": {"name": format!("after-{}-{number}", name(pool))},
                "spec": {"poolName": name(pool), "start": "after", "end": "the upgrade"},
            });
            ns.apply(&job).await?;
        }
    }
    for pool in pools {
        let is_adopted = pool["spec"]["scaleTargetRef"].is_object();
        let condition = if is_adopted { "Accepted" } else { "Complete" };
        let condition = format!("--for=condition={condition}");
        let job = format!("wj/after-{}-2", name(pool));
        ns.kubectl(["wait", &job, &condition, "--timeout=180s"]).await?;
    }
    Ok(())
}

impl Before {
    /// No Deployment was given another count since before the operator came.
    fn no_count_changed(&self) -> Result<()> {
        for (stored, _, history) in &self.deployments {
            let counts = history.counts();
            let unchanged = counts.iter().all(|count| i64::from(*count) == stored.replicas());
            ensure!(
                unchanged && !counts.is_empty(),
                "{} had {} replicas, and then {counts:?}",
                stored.name(),
                stored.replicas()
            );
        }
        Ok(())
    }

    /// Each Deployment is the same one with the same selector, and its pods changed once at most: where the operator was upgraded.
    async fn no_pod_template_rolled_twice(&self, ns: &Namespace) -> Result<()> {
        for (stored, found, _) in &self.deployments {
            let now = ns
                .deployment(stored.name())
                .await?
                .context("a Deployment is gone")?;
            ensure!(
                now.metadata.uid == found.metadata.uid,
                "{} was created again",
                stored.name()
            );
            let selector = now
                .spec
                .as_ref()
                .map(|spec| serde_json::to_value(&spec.selector))
                .transpose()?;
            ensure!(
                selector.as_ref() == Some(stored.selector()),
                "{} selects {selector:?}",
                stored.name()
            );
            let revision = revision(&now);
            let most = if stored.applied().is_some() { 2 } else { 1 };
            ensure!(
                revision.is_some_and(|revision| revision <= most),
                "{} is at revision {revision:?}",
                stored.name()
            );
        }
        Ok(())
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn resource_of(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
    format!("{kind}.workerpool.dev/{}", name(object))
}

async fn get(ns: &Namespace, resource: &str) -> Result<Value> {
    let text = ns.kubectl(["get", resource, "-o", "json"]).await?;
    Ok(serde_json::from_str(&text)?)
}
