//! How jobs end that do not end well: dead, retried, cancelled; seen and done over HTTP.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use workerpool_e2e::wait::{Look, eventually};
use workerpool_e2e::{A_WHILE, Api, HW7, Namespace, in_namespace, pool, sleeping};

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_job_past_its_timeout_ends_dead_is_seen_over_http_and_ends_well_when_retried() -> Result<()> {
    in_namespace("dead", async |ns| {
        let redis = ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        let worker = |timeout: u32| {
            json!({"jobTimeoutSeconds": timeout, "maxAttempts": 2, "backoff": {"baseSeconds": 1, "capSeconds": 1}})
        };
        let spec = |timeout: u32| json!({"replicas": 1, "worker": worker(timeout), "template": sleeping(3)});
        ns.apply(&pool(HW7, spec(1))).await?;
        let ids = api.submit(1).await?;
        let id = &ids[0];
        ends_as(&api, id, "failed").await?;

        let (status, dead) = api.request("GET", "/dead").await?;
        ensure!(status == 200 && dead.contains(id.as_str()), "{status}: {dead}");
        ns.pool_until(HW7, "counts the dead job", |pool| pool.at("/status/queue/dead") == 1)
            .await?;

        // What killed it is put right, and somebody says so.
        ns.apply(&pool(HW7, spec(60))).await?;
        have_timeout(ns, 60).await?;
        let (status, answer) = api.request("POST", &format!("/jobs/{id}/retry")).await?;
        ensure!(status == 200 || status == 202, "{status}: {answer}");
        redis.completed(&ids, A_WHILE).await?;
        ns.pool_until(HW7, "counts no dead job", |pool| pool.at("/status/queue/dead") == 0)
            .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_job_cancelled_while_a_pod_runs_it_is_stopped_there() -> Result<()> {
    in_namespace("cancelled", async |ns| {
        let redis = ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        let spec = json!({"replicas": 1, "worker": {"leaseSeconds": 6}, "template": sleeping(300)});
        ns.apply(&pool(HW7, spec)).await?;
        let ids = api.submit(2).await?;
        redis.started(&ids, 1, A_WHILE).await?;
        let (running, waiting) = (&ids[0], &ids[1]);

        // Its worker has to hear of it first.
        let (status, answer) = api.request("DELETE", &format!("/jobs/{running}")).await?;
        ensure!(status == 202, "{status}: {answer}");
        ends_as(&api, running, "cancelled").await?;
        // The slot is free again, long before the job would have ended.
        redis.started(std::slice::from_ref(waiting), 1, A_WHILE).await?;

        let last = api.submit(1).await?;
        let (status, answer) = api.request("DELETE", &format!("/jobs/{}", last[0])).await?;
        ensure!(status == 200, "{status}: {answer}");
        ends_as(&api, &last[0], "cancelled").await
    })
    .await
}

/// Until the roll-out is through: a pod of the former timeout would fail the job again.
async fn have_timeout(ns: &Namespace, seconds: u32) -> Result<()> {
    let seconds = seconds.to_string();
    eventually(
        &format!("all pods of {HW7} have a timeout of {seconds} s"),
        A_WHILE,
        async || {
            let pods = ns.pods_of(HW7).await?;
            let timeouts: Vec<_> = pods.iter().map(timeout_of).collect();
            let all = !pods.is_empty() && timeouts.iter().all(|timeout| *timeout == Some(&seconds));
            Ok(Look::when(all, (), || format!("{timeouts:?}")))
        },
    )
    .await
}

fn timeout_of(pod: &Pod) -> Option<&String> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut environment = containers.flat_map(|container| container.env.iter().flatten());
    let timeout = environment.find(|variable| variable.name == "WORKERPOOL_JOB_TIMEOUT_SECONDS")?;
    timeout.value.as_ref()
}

async fn ends_as(api: &Api, id: &str, expected: &str) -> Result<()> {
    eventually(&format!("job {id} is {expected}"), A_WHILE, async || {
        let answer = api.get(&format!("/jobs/{id}")).await?;
        let job: Value = serde_json::from_str(&answer)?;
        Ok(Look::when(job["status"] == expected, (), || answer))
    })
    .await
}
