//! A job as a resource: applied, waited for, deleted.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use workerpool_e2e::wait::{Look, eventually};
use workerpool_e2e::{A_WHILE, Data, HW7, Namespace, in_namespace, job, pool, sleeping};

/// A Job whose queue is gone is let go after 30 s; what Kubernetes does by itself comes on top.
const LET_GO: Duration = Duration::from_secs(120);

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_job_shows_what_its_queue_knows_and_jobs_over_http_make_no_resources() -> Result<()> {
    in_namespace("jobs-shown", async |ns| {
        ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        ns.apply(&pool(HW7, json!({"replicas": 1, "template": sleeping(4)})))
            .await?;
        ns.ready(HW7, 1).await?;
        ns.apply(&job(
            "shown",
            json!({"start": "in.png", "end": "64x64", "payload": {"sizes": [64, 32]}}),
        ))
        .await?;
        let running = until(ns, "shown", "runs", |job| {
            job["status"]["state"] == "Running" && job["status"]["queueState"] == "in progress"
        })
        .await?;
        let pods = ns.ips_of(HW7).await?;
        let worker = &running["status"]["worker"];
        let pod = worker["pod"].as_str().context("no pod in the status")?;
        let ip = worker["ip"].as_str().unwrap_or_default();
        ensure!(
            pods.get(ip).is_some_and(|name| name == pod),
            "{worker} is none of {pods:?}"
        );

        let table = ns.kubectl(["get", "jobs.workerpool.dev"]).await?;
        let header: Vec<&str> = table
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        ensure!(
            header
                == [
                    "NAME", "POOL", "STATE", "ATTEMPTS", "PROGRESS", "WORKER", "STARTED", "AGE"
                ],
            "{table}"
        );

        ns.kubectl(["wait", "wj/shown", "--for=condition=Complete", "--timeout=60s"])
            .await?;
        let id = uid(ns, "shown").await?;
        let over_http: Value = serde_json::from_str(&api.get(&format!("/jobs/{id}")).await?)?;
        ensure!(
            over_http["status"] == "complete"
                && over_http["start"] == "in.png"
                && over_http["payload"] == json!({"sizes": [64, 32]}),
            "{over_http}"
        );
        let done = get(ns, "shown").await?;
        ensure!(
            done["metadata"]["finalizers"].is_null(),
            "nothing is left to cancel: {done}"
        );
        for reason in ["Submitted", "Completed"] {
            event(ns, reason).await?;
        }

        let ids = api.submit(1).await?;
        api.completed(&ids, A_WHILE).await?;
        let names = ns.kubectl(["get", "wj", "-o", "name"]).await?;
        ensure!(names.trim() == "job.workerpool.dev/shown", "{names}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_job_that_takes_too_long_each_time_has_failed_and_says_why() -> Result<()> {
    in_namespace("jobs-failed", async |ns| {
        ns.deploy_redis().await?;
        ns.apply(&pool(HW7, json!({"replicas": 1, "template": sleeping(300)})))
            .await?;
        ns.apply(&job("slow", json!({"timeoutSeconds": 1, "maxAttempts": 1})))
            .await?;
        ns.kubectl(["wait", "wj/slow", "--for=condition=Failed", "--timeout=120s"])
            .await?;
        let failed = get(ns, "slow").await?;
        ensure!(
            failed["status"]["state"] == "Failed" && failed["status"]["attempts"] == 1,
            "{}",
            failed["status"]
        );
        let why = condition(&failed, "Failed");
        ensure!(
            why["message"]
                .as_str()
                .is_some_and(|message| message.contains("given up after 1")),
            "{why}"
        );
        event(ns, "Failed").await
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn deleting_a_job_cancels_it_waiting_or_running() -> Result<()> {
    in_namespace("jobs-cancelled", async |ns| {
        let redis = ns.deploy_redis().await?;
        ns.apply(&pool(HW7, json!({"replicas": 1, "template": sleeping(300)})))
            .await?;
        ns.ready(HW7, 1).await?;
        ns.apply(&job("running", json!({}))).await?;
        until(ns, "running", "runs", |job| job["status"]["state"] == "Running").await?;
        ns.apply(&job("waiting", json!({}))).await?;
        until(ns, "waiting", "waits", |job| job["status"]["state"] == "Waiting").await?;
        for name in ["waiting", "running"] {
            let id = uid(ns, name).await?;
            ns.kubectl(["delete", "wj", name, "--timeout=60s"]).await?;
            cancelled(&redis, &id).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_job_waits_for_a_pool_that_does_not_exist_yet_and_outlives_one_that_is_deleted() -> Result<()> {
    in_namespace("jobs-pool", async |ns| {
        let redis = ns.deploy_redis().await?;
        ns.apply(&job("early", json!({}))).await?;
        until(ns, "early", "says what it waits for", |job| {
            condition(job, "Accepted")["reason"] == "PoolNotFound"
        })
        .await?;
        let file = pool(HW7, json!({"replicas": 0, "template": sleeping(1)}));
        ns.apply(&file).await?;
        until(ns, "early", "is submitted", |job| {
            condition(job, "Accepted")["reason"] == "Submitted"
        })
        .await?;

        ns.kubectl(["delete", "wp", HW7]).await?;
        until(ns, "early", "says that its pool is gone", |job| {
            condition(job, "Accepted")["reason"] == "PoolDeleted"
        })
        .await?;
        let id = uid(ns, "early").await?;
        ensure!(
            status(&redis, &id).await? == "submitted",
            "the job no longer waits in Redis"
        );
        ns.apply(&file).await?;
        ns.kubectl(["scale", "workerpool", HW7, "--replicas=1"]).await?;
        ns.kubectl(["wait", "wj/early", "--for=condition=Complete", "--timeout=180s"])
            .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_job_is_deleted_in_time_though_its_redis_is_gone() -> Result<()> {
    in_namespace("jobs-orphan", async |ns| {
        ns.deploy_redis().await?;
        ns.apply(&pool(HW7, json!({"replicas": 0}))).await?;
        ns.apply(&job("orphan", json!({}))).await?;
        until(ns, "orphan", "is submitted", |job| {
            condition(job, "Accepted")["reason"] == "Submitted"
        })
        .await?;
        ns.kubectl(["scale", "deployment", "redis", "--replicas=0"])
            .await?;
        ns.ready("redis", 0).await?;
        ns.kubectl(["delete", "wj", "orphan", "--wait=false"]).await?;
        is_gone(ns, "orphan", LET_GO).await?;
        event(ns, "NotCancelled").await
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_job_is_deleted_after_its_time_to_live() -> Result<()> {
    in_namespace("jobs-ttl", async |ns| {
        let redis = ns.deploy_redis().await?;
        ns.apply(&pool(HW7, json!({"replicas": 1, "template": sleeping(0)})))
            .await?;
        // Long enough to ask for its UID meanwhile.
        ns.apply(&job("brief", json!({"ttlSecondsAfterFinished": 15})))
            .await?;
        let id = uid(ns, "brief").await?;
        is_gone(ns, "brief", A_WHILE).await?;
        ensure!(
            status(&redis, &id).await? == "complete",
            "it was deleted before its end"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn progress_and_a_short_result_stand_in_the_status_and_a_long_one_says_where_it_is() -> Result<()> {
    in_namespace("jobs-result", async |ns| {
        ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        ns.apply(&pool(HW7, telling())).await?;
        ns.ready(HW7, 1).await?;
        ns.apply(&job("short", json!({"start": "3"}))).await?;
        until(ns, "short", "tells how far it is", |job| {
            job["status"]["progress"] == json!({"percent": 42, "message": "half way"})
        })
        .await?;
        ns.kubectl(["wait", "wj/short", "--for=condition=Complete", "--timeout=180s"])
            .await?;
        let result = get(ns, "short").await?["status"]["result"].clone();
        ensure!(result["text"] == "aaa" && result["sizeBytes"] == 3, "{result}");

        ns.apply(&job("long", json!({"start": "5000"}))).await?;
        ns.kubectl(["wait", "wj/long", "--for=condition=Complete", "--timeout=180s"])
            .await?;
        let result = get(ns, "long").await?["status"]["result"].clone();
        let path = result["path"].as_str().with_context(|| result.to_string())?;
        ensure!(result["text"].is_null(), "{result}");
        ensure!(
            api.get(path).await? == "a".repeat(5000),
            "what lies at {path} is another"
        );
        Ok(())
    })
    .await
}

/// A pool whose program says that it is half way, and gives as many letters as `start` says.
fn telling() -> Value {
    let program = r#"echo "42 half way" >&3; sleep 3; printf "%${JOB_START}s" "" | tr " " a"#;
    json!({
        "replicas": 1,
        "worker": {"handler": {"command": ["sh", "-c", program]}},
        "template": {"spec": {"containers": [{"name": "worker", "image": "busybox:1"}]}},
    })
}

async fn get(ns: &Namespace, name: &str) -> Result<Value> {
    let found = ns.kubectl(["get", "wj", name, "-o", "json"]).await?;
    Ok(serde_json::from_str(&found)?)
}

async fn uid(ns: &Namespace, name: &str) -> Result<String> {
    let job = get(ns, name).await?;
    Ok(job["metadata"]["uid"].as_str().context("no UID")?.to_owned())
}

async fn until(ns: &Namespace, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
    eventually(&format!("Job {name} {what}"), A_WHILE, async || {
        let job = get(ns, name).await?;
        let status = job["status"].to_string();
        Ok(Look::when(holds(&job), job, || status))
    })
    .await
}

fn condition<'a>(job: &'a Value, kind: &str) -> &'a Value {
    let conditions = job["status"]["conditions"].as_array();
    let found =
        conditions.and_then(|conditions| conditions.iter().find(|condition| condition["type"] == kind));
    found.unwrap_or(&Value::Null)
}

async fn is_gone(ns: &Namespace, name: &str, within: Duration) -> Result<()> {
    eventually(&format!("Job {name} is gone"), within, async || {
        let found = ns
            .kubectl(["get", "wj", name, "--ignore-not-found", "-o", "name"])
            .await?;
        Ok(Look::when(found.trim().is_empty(), (), || found))
    })
    .await
}

/// Events are published by the way.
async fn event(ns: &Namespace, reason: &str) -> Result<()> {
    eventually(&format!("an event {reason}"), A_WHILE, async || {
        let events = ns
            .kubectl([
                "get",
                "events",
                "--field-selector=involvedObject.kind=Job",
                "-o",
                "jsonpath={.items[*].reason}",
            ])
            .await?;
        Ok(Look::when(
            events.split_whitespace().any(|seen| seen == reason),
            (),
            || events,
        ))
    })
    .await
}

async fn cancelled(redis: &Data, id: &str) -> Result<()> {
    eventually(&format!("job {id} is cancelled"), A_WHILE, async || {
        let status = status(redis, id).await?;
        Ok(Look::when(status == "cancelled", (), || status))
    })
    .await
}

/// As it stands in Redis.
async fn status(redis: &Data, id: &str) -> Result<String> {
    let job = redis.job(id).await?;
    Ok(job.get("status").cloned().unwrap_or_default())
}
