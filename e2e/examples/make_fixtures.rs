//! Makes the part of a version's fixtures that comes out of a running system: stored objects, an append-only file, and the ledger of
//! its jobs. `e2e/fixtures/make` calls this; the folder's README says what is in them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use redis::AsyncCommands;
use serde_json::{Value, json};
use workerpool_e2e::wait::{Look, eventually};
use workerpool_e2e::{A_WHILE, Api, Data, HW7, Namespace, in_namespace, job, local_replica, project};

const PASSWORD: &str = "open-sesame";
/// The number of the database with the queues.
const QUEUES: u8 = 2;
/// The count that each pool's Deployment has in the end.
const COUNTS: [(&str, i32); 12] = [
    (HW7, 2),
    ("stock", 0),
    ("warm", 1),
    ("with-password", 0),
    ("with-tls", 0),
    ("behind-sentinel", 0),
    ("service", 1),
    ("web", 1),
    ("pinned", 2),
    ("paused", 1),
    ("mixed", 0),
    ("planned", 0),
];

#[tokio::main]
async fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).context("name the folder to write into")?);
    in_namespace("fixtures", async |ns| make(ns, &folder).await).await
}

async fn make(ns: &Namespace, folder: &Path) -> Result<()> {
    let redis = ns.deploy_each_kind_of_redis(PASSWORD).await?;
    let api = ns.deploy_api().await?;
    ns.apply_files("e2e/fixtures/applied/surroundings.yaml").await?;
    ns.apply_files("e2e/fixtures/applied/pools.yaml").await?;
    other_pools(ns).await?;
    // Last, for marks end within a minute.
    let ledger = jobs_in_each_state(ns, &redis, &api).await?;
    ns.given(HW7, 2).await?;

    let stored = folder.join("stored");
    std::fs::create_dir_all(&stored)?;
    for (kinds, file) in [
        ("workerpools.workerpool.dev", "pools"),
        ("jobs.workerpool.dev", "jobs"),
        ("deployments.apps", "deployments"),
    ] {
        let objects = stored_objects(ns, kinds).await?;
        write(ns, &stored.join(format!("{file}.json")), &objects)?;
    }
    write(ns, &stored.join("lease.json"), &lease(ns).await?)?;
    write(ns, &folder.join("ledger.json"), &Value::Array(ledger))?;
    let file = append_only_file(&redis).await?;
    std::fs::create_dir_all(folder.join("redis"))?;
    std::fs::write(folder.join("redis/appendonly.aof"), file)?;
    let surroundings = project().join("e2e/fixtures/applied/surroundings.yaml");
    std::fs::copy(surroundings, folder.join("surroundings.yaml"))?;
    Ok(())
}

/// Waits until all pools are served, and pauses the one that is to be.
async fn other_pools(ns: &Namespace) -> Result<()> {
    for (deployment, count) in COUNTS.iter().filter(|(name, _)| *name != HW7) {
        ns.ready(deployment, *count).await?;
    }
    let paused = r#"{"spec":{"paused":true}}"#;
    ns.kubectl(["patch", "workerpool", "paused", "--type=merge", "-p", paused])
        .await?;
    ns.pool_until("paused", "is paused", |pool| pool.mode() == "Paused")
        .await?;
    for name in [
        "stock",
        "warm",
        "with-password",
        "with-tls",
        "behind-sentinel",
        "service",
        "adopted",
        "pinned",
        "several",
        "planned",
    ] {
        ns.pool_until(name, "is ready", |pool| pool.is("Ready", "True"))
            .await?;
    }
    Ok(())
}

/// Brings jobs of the queue `queue` into each state, by the API, as resources, and by Python; answers the ledger.
async fn jobs_in_each_state(ns: &Namespace, redis: &Data, api: &Api) -> Result<Vec<Value>> {
    let mut ledger = Vec::new();
    pin(ns, &json!(3)).await?;
    ns.ready(HW7, 3).await?;

    // Ended.
    let small = post(api, "small", "there", Value::Null).await?;
    let with_payload = post(
        api,
        "payload",
        "there",
        json!({"sizes": [64, 32], "text": "Ä \"quoted\""}),
    )
    .await?;
    let large = post(api, "large", "2000", Value::Null).await?;
    let flaky = post(api, "flaky", "later", Value::Null).await?;
    resource(ns, "complete", json!({"start": "resource", "end": "done"})).await?;
    resource(
        ns,
        "failed",
        json!({"start": "fail", "end": "in.png", "maxAttempts": 1}),
    )
    .await?;
    resource(
        ns,
        "delayed",
        json!({"start": "flaky", "end": "later", "maxAttempts": 5}),
    )
    .await?;
    let numbers: Vec<String> = (1..=2000).map(|number| format!("{number}\n")).collect();
    for (id, was, result) in [
        (&small, "complete, by the API", "small to there\n".to_owned()),
        (
            &with_payload,
            "complete, by the API, with a payload",
            "payload to there\n".to_owned(),
        ),
        (
            &large,
            "complete, by the API, with a result of several KiB",
            numbers.concat(),
        ),
        (
            &uid(ns, "complete").await?,
            "complete, a resource",
            "resource to done\n".to_owned(),
        ),
    ] {
        is(redis, id, "complete").await?;
        ledger.push(entry(id, was, "complete", "complete", Some(&result)));
    }
    let failed = uid(ns, "failed").await?;
    is(redis, &failed, "failed").await?;
    ledger.push(entry(&failed, "dead, a resource", "failed", "failed", None));
    let delayed = uid(ns, "delayed").await?;
    for (id, was) in [(&flaky, "delayed, by the API"), (&delayed, "delayed, a resource")] {
        member(redis, "delayed", id).await?;
        ledger.push(entry(id, was, "submitted", "complete", Some("flaky to later\n")));
    }
    no_job(redis).await?;

    // Running: two hold their workers, and the third worker is let go, which leaves its mark.
    let hold = post(api, "hold", "api", json!({"kept": true})).await?;
    resource(ns, "running", json!({"start": "hold", "end": "resource"})).await?;
    let running = uid(ns, "running").await?;
    for (id, was, result) in [
        (
            &hold,
            "running, by the API, with a payload and progress",
            "hold to api\n",
        ),
        (
            &running,
            "running, a resource, with progress",
            "hold to resource\n",
        ),
    ] {
        is(redis, id, "in progress").await?;
        ledger.push(entry(id, was, "in progress", "complete", Some(result)));
    }
    ns.kubectl([
        "wait",
        "wj/running",
        "--for=jsonpath={.status.progress.percent}=40",
        "--timeout=60s",
    ])
    .await?;
    pin(ns, &json!(2)).await?;
    ns.given(HW7, 2).await?;
    pin(ns, &Value::Null).await?;

    // A foreign worker has one: HotQueue's, which is gone before anybody sees how.
    let foreign = post(api, "foreign", "worker", Value::Null).await?;
    let taken = ns.python(TAKE, &[redis.host()]).await?;
    ensure!(taken.trim() == foreign, "Python took {taken}, not {foreign}");
    member(redis, "suspects", &foreign).await?;
    ledger.push(entry(
        &foreign,
        "in progress at a foreign worker",
        "in progress",
        "in progress",
        None,
    ));

    // Cancelled.
    let cancelled = post(api, "cancelled", "there", Value::Null).await?;
    resource(ns, "cancelled", json!({"start": "cancelled", "end": "there"})).await?;
    let resource_cancelled = uid(ns, "cancelled").await?;
    is(redis, &resource_cancelled, "submitted").await?;
    for (id, was) in [
        (&cancelled, "cancelled, by the API"),
        (&resource_cancelled, "cancelled, a resource"),
    ] {
        let (status, answer) = api.request("DELETE", &format!("/jobs/{id}")).await?;
        ensure!(status == 200, "{status} {answer}");
        is(redis, id, "cancelled").await?;
        ledger.push(entry(id, was, "cancelled", "cancelled", None));
    }

    // Waiting.
    for (was, payload) in [
        ("waiting, by the API", Value::Null),
        ("waiting, by the API, with a payload", json!([1.10, "x"])),
    ] {
        let id = post(api, "waiting", "there", payload).await?;
        ledger.push(entry(
            &id,
            was,
            "submitted",
            "complete",
            Some("waiting to there\n"),
        ));
    }
    let python = ns.python(PUT, &[redis.host()]).await?;
    for (id, was) in python
        .lines()
        .zip(["waiting, by HotQueue", "waiting, by HotQueue without pickle"])
    {
        ledger.push(entry(id, was, "submitted", "complete", Some("python to there\n")));
    }
    resource(
        ns,
        "waiting",
        json!({"start": "waiting", "end": "resource", "payload": {"a": 1}}),
    )
    .await?;
    let waiting = uid(ns, "waiting").await?;
    is(redis, &waiting, "submitted").await?;
    ledger.push(entry(
        &waiting,
        "waiting, a resource, with a payload",
        "submitted",
        "complete",
        Some("waiting to resource\n"),
    ));

    for (name, state) in [
        ("complete", "Complete"),
        ("failed", "Failed"),
        ("delayed", "Scheduled"),
        ("running", "Running"),
        ("cancelled", "Cancelled"),
        ("waiting", "Waiting"),
    ] {
        let state = format!("--for=jsonpath={{.status.state}}={state}");
        ns.kubectl(["wait", &format!("wj/{name}"), &state, "--timeout=60s"])
            .await?;
    }
    Ok(ledger)
}

fn entry(id: &str, was: &str, status: &str, ends: &str, result: Option<&str>) -> Value {
    let mut entry = json!({"id": id, "was": was, "status": status, "ends": ends});
    if let Some(result) = result {
        entry["result"] = json!(result);
    }
    entry
}

async fn pin(ns: &Namespace, replicas: &Value) -> Result<()> {
    let patch = json!({"spec": {"replicas": replicas}}).to_string();
    ns.kubectl(["patch", "workerpool", HW7, "--type=merge", "-p", &patch])
        .await?;
    Ok(())
}

async fn post(api: &Api, start: &str, end: &str, payload: Value) -> Result<String> {
    api.post_job(&json!({"start": start, "end": end, "payload": payload}))
        .await
}

async fn resource(ns: &Namespace, name: &str, spec: Value) -> Result<()> {
    ns.apply(&job(name, spec)).await?;
    Ok(())
}

async fn uid(ns: &Namespace, name: &str) -> Result<String> {
    ns.kubectl(["get", "wj", name, "-o", "jsonpath={.metadata.uid}"])
        .await
}

async fn is(redis: &Data, id: &str, status: &str) -> Result<()> {
    eventually(&format!("job {id} is {status}"), A_WHILE, async || {
        let job = redis.job(id).await?;
        let seen = job.get("status").cloned().unwrap_or_default();
        Ok(Look::when(seen == status, (), || seen))
    })
    .await
}

async fn member(redis: &Data, set: &str, id: &str) -> Result<()> {
    eventually(&format!("job {id} is among the {set}"), A_WHILE, async || {
        let mut connection = redis.connection(QUEUES).await?;
        let score: Option<f64> = connection.zscore(format!("workerpool:queue:{set}"), id).await?;
        Ok(Look::when(score.is_some(), (), || "it is not".to_owned()))
    })
    .await
}

/// An item that is no job's, which goes to the dead as it came.
async fn no_job(redis: &Data) -> Result<()> {
    let mut connection = redis.connection(QUEUES).await?;
    connection
        .rpush::<_, _, ()>("hotqueue:queue", "\u{1}no job")
        .await?;
    eventually("what is no job is dead", A_WHILE, async || {
        let mut connection = redis.connection(QUEUES).await?;
        let dead: Vec<String> = connection.zrange("workerpool:queue:dead", 0, -1).await?;
        Ok(Look::when(
            dead.iter().any(|id| id.starts_with("item:")),
            (),
            || format!("{dead:?}"),
        ))
    })
    .await
}

/// The objects of a kind that a pool or a user made, without what the API server gives to each version.
async fn stored_objects(ns: &Namespace, kinds: &str) -> Result<Value> {
    let list: Value = serde_json::from_str(
        &ns.kubectl(["get", kinds, "--show-managed-fields", "-o", "json"])
            .await?,
    )?;
    let servers = [
        "redis",
        "locked",
        "encrypted",
        "first",
        "second",
        "sentinel",
        "api",
    ];
    let items = list["items"].as_array().context("no list")?.iter();
    let kept = items.filter(|item| {
        let name = item["metadata"]["name"].as_str().unwrap_or_default();
        !servers.contains(&name)
    });
    let items: Vec<Value> = kept
        .cloned()
        .map(|mut item| {
            if let Some(metadata) = item["metadata"].as_object_mut() {
                metadata.remove("resourceVersion");
                // Only that of Deployments matters: the operator applies nothing else.
                if kinds != "deployments.apps" {
                    metadata.remove("managedFields");
                }
            }
            item
        })
        .collect();
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}))
}

async fn lease(ns: &Namespace) -> Result<Value> {
    let lease = ns
        .kubectl([
            "get",
            "lease",
            "workerpool-operator",
            "--namespace=workerpool-system",
            "-o",
            "json",
        ])
        .await?;
    let lease: Value = serde_json::from_str(&lease)?;
    Ok(json!({"spec": {"leaseTransitions": lease["spec"]["leaseTransitions"]}}))
}

fn write(ns: &Namespace, path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value)?.replace(ns.name(), "NAMESPACE");
    std::fs::write(path, text + "\n").with_context(|| path.display().to_string())
}

/// All that Redis holds, as commands, taken by a replica that is on its own from then on. There one item is moved as a wake-up moves
/// it, whose worker has not claimed it yet.
async fn append_only_file(redis: &Data) -> Result<Vec<u8>> {
    let replica = local_replica(redis).await?;
    let mut connection = replica.data().connection(QUEUES).await?;
    let (waiting, arrivals) = ("hotqueue:queue", "workerpool:queue:arrivals");
    let moved: Option<Vec<u8>> = redis::cmd("LMOVE")
        .arg(&[waiting, arrivals, "LEFT", "RIGHT"])
        .query_async(&mut connection)
        .await?;
    let marks: usize = connection.hlen("workerpool:queue:quiet").await?;
    let leases: usize = connection.zcard("workerpool:queue:leases").await?;
    let workers: usize = connection.hlen("workerpool:queue:workers").await?;
    if moved.is_none() || marks == 0 || leases != 2 || workers < 2 {
        bail!("not as it should be: {moved:?} moved, {marks} marks, {leases} leases, {workers} workers");
    }
    replica.rewritten().await
}

/// As the original's worker takes a job.
const TAKE: &str = "
import sys, redis
from hotqueue import HotQueue
queue = HotQueue('queue', host=sys.argv[1], port=6379, db=2)
rd = redis.StrictRedis(host=sys.argv[1], port=6379, db=3)
jid = queue.get(block=True, timeout=30)
rd.hset('job.' + jid, 'worker', '10.9.8.7')
rd.hset('job.' + jid, 'status', 'in progress')
print(jid)
";

/// As the original's API puts jobs in, and as one without a serializer does.
const PUT: &str = "
import pickle, sys, uuid, redis
from hotqueue import HotQueue
rd = redis.StrictRedis(host=sys.argv[1], port=6379, db=3)
for serializer in [pickle, None]:
    jid = str(uuid.uuid4())
    rd.hset('job.' + jid, mapping={'id': jid, 'status': 'submitted', 'start': 'python', 'end': 'there'})
    HotQueue('queue', serializer=serializer, host=sys.argv[1], port=6379, db=2).put(jid)
    print(jid)
";
