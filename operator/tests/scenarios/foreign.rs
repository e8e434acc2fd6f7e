//! Workers that are not ours: those of an adopted Deployment, and those that a pool's own template runs.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use http::Method;
use serde_json::{Value, json};

use super::{
    api::until,
    world::{World, pod},
};

const STATUS: &str = "/hw7/status";
const SCALE: &str = "/deployments/web/scale";
const PODS: &str = "GET default/pods";

/// A pool that adopts the Deployment `web`, with these fields more.
fn adopting(more: Value) -> Value {
    let mut spec = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "scaling": {"jobsPerReplica": 1, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}},
    });
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    spec
}

fn pod_at(name: &str, set: &str, address: &str) -> Value {
    let mut pod = pod(name);
    pod["metadata"]["labels"] = json!({"pod-template-hash": "5f9"});
    pod["metadata"]["ownerReferences"][0]["name"] = json!(set);
    pod["status"]["podIP"] = json!(address);
    pod
}

fn ending(mut pod: Value) -> Value {
    pod["metadata"]["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
    pod
}

/// The Deployment has two pods, of which `busy` has taken a job; something else with the same labels has taken one, too.
async fn adopted(spec: Value) -> (World, Vec<TcpStream>) {
    one_of_two_is_busy(World::with_pool(spec).beside("web", 2), "web").await
}

async fn one_of_two_is_busy(world: World, deployment: &str) -> (World, Vec<TcpStream>) {
    let set = format!("{deployment}-5f9");
    let pods = [
        pod_at("busy", &set, "127.0.0.3"),
        pod_at("idle", &set, "127.0.0.2"),
        pod_at("other", "api-5f9", "127.0.0.4"),
    ];
    with_pods(world, pods).await
}

async fn with_pods(world: World, pods: [Value; 3]) -> (World, Vec<TcpStream>) {
    world.api.hold(vec![], pods.into());
    let mut connections = Vec::new();
    for address in ["127.0.0.3", "127.0.0.4"] {
        let mut connection = world.foreign_worker(address).await;
        world.push(1).await;
        connection.read_exact(&mut [0]).unwrap();
        connections.push(connection);
    }
    connections.push(world.foreign_worker("127.0.0.2").await);
    (world, connections)
}

#[tokio::test]
async fn job_of_an_adopted_deployments_worker_runs_until_it_asks_for_the_next() {
    let (world, mut connections) = adopted(adopting(json!({}))).await;
    let mut world = world.settled().await;
    let status = world.reconcile_until(&Method::PATCH, STATUS).await.body;
    assert_eq!(status["status"]["queue"]["running"], 1, "{status}");
    assert_eq!(status["status"]["desiredReplicas"], 1, "{status}");
    assert!(
        !world.api.summary().contains(&PODS.to_owned()),
        "listed once, before"
    );

    world.api.forget_calls();
    connections[0].write_all(b"BLPOP hotqueue:queue 0\r\n").unwrap();
    let scale = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(scale.body["spec"]["replicas"], 0, "nobody told of it");
}

#[tokio::test]
async fn worker_that_calls_something_else_while_it_works_keeps_its_pod_until_it_waits() {
    let (world, mut connections) = adopted(adopting(json!({}))).await;
    // As `q.put(next)` does, but for the job that it would bring. The operator begins to look only now.
    connections[0].write_all(b"LLEN hotqueue:queue\r\n").unwrap();
    let mut world = world.settled().await;
    let status = world.reconcile_until(&Method::PATCH, STATUS).await.body;
    assert_eq!(status["status"]["queue"]["running"], 1, "{status}");
    assert_eq!(status["status"]["desiredReplicas"], 1, "{status}");

    world.api.forget_calls();
    connections[0].write_all(b"BLPOP hotqueue:queue 0\r\n").unwrap();
    let scale = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(scale.body["spec"]["replicas"], 0, "nobody told of it");
}

#[tokio::test]
async fn pods_of_our_own_workers_are_not_asked_for() {
    let world = World::with_pool(json!({"scaling": {"minReplicas": 2}})).deployed(2);
    let ours = pod_at("a", "hw7-5f9", "127.0.0.3");
    world.api.hold(vec![], vec![ours]);
    world.reconcile().await.unwrap();
    let calls = world.api.summary();
    assert!(!calls.contains(&PODS.to_owned()), "{calls:?}");
    let world = world.settled().await;
    let clients = world.command("INFO", "commandstats").await;
    assert!(!clients.contains("cmdstat_client|list"), "{clients}");
}

#[tokio::test]
async fn where_redis_does_not_tell_who_is_connected_only_our_own_jobs_run() {
    let spec = adopting(json!({"scaling": {"minReplicas": 2}}));
    let (world, _connections) = adopted(spec).await;
    world.command("ACL", "SETUSER default -client|list").await;
    let mut world = world.settled().await;
    let status = world.reconcile_until(&Method::PATCH, STATUS).await.body;
    assert_eq!(status["status"]["queue"]["running"], 0, "{status}");
    assert_eq!(status["status"]["mode"], "Queue", "{status}");
}

#[tokio::test]
async fn worker_of_a_pod_that_is_to_end_is_told_so_when_it_waits() {
    let pods = [
        ending(pod_at("busy", "web-5f9", "127.0.0.3")),
        ending(pod_at("idle", "web-5f9", "127.0.0.2")),
        pod_at("staying", "web-5f9", "127.0.0.4"),
    ];
    let (world, connections) = with_pods(World::with_pool(adopting(json!({}))).beside("web", 2), pods).await;
    let [mut busy, mut staying, mut idle] = <[TcpStream; 3]>::try_from(connections).unwrap();
    world.reconcile().await.unwrap();
    assert_eq!(line(&idle).await, UNBLOCKED);

    // The others' jobs are over, and they ask for the next.
    for connection in [&mut busy, &mut staying] {
        for _ in ["two", "length", "list", "length", "item"] {
            line(connection).await;
        }
        connection.write_all(b"BLPOP hotqueue:queue 0\r\n").unwrap();
    }
    assert_eq!(line(&busy).await, UNBLOCKED);
    idle.write_all(b"BLPOP hotqueue:queue 0\r\n").unwrap();
    assert_eq!(line(&idle).await, UNBLOCKED, "until its pod has ended");
    world.push(1).await;
    assert_eq!(line(&staying).await, "*2");
}

const UNBLOCKED: &str = "-UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// The next line of an answer. The operator goes on meanwhile.
async fn line(connection: &TcpStream) -> String {
    let mut connection = connection.try_clone().unwrap();
    let read = move || {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            connection.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap().trim_end().to_owned()
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

#[tokio::test]
async fn where_nobody_may_be_told_jobs_are_counted_all_the_same() {
    let pods = [
        ending(pod_at("busy", "web-5f9", "127.0.0.3")),
        ending(pod_at("idle", "web-5f9", "127.0.0.2")),
        pod_at("staying", "web-5f9", "127.0.0.4"),
    ];
    let (world, _connections) = with_pods(World::with_pool(adopting(json!({}))).beside("web", 2), pods).await;
    world.command("ACL", "SETUSER default -client|unblock").await;
    let mut world = world.settled().await;
    let status = world.reconcile_until(&Method::PATCH, STATUS).await.body;
    assert_eq!(status["status"]["queue"]["running"], 2, "{status}");
}

#[tokio::test]
async fn job_of_an_unmodified_worker_in_the_pools_own_template_runs_and_keeps_its_pod() {
    let spec = json!({
        "template": {"spec": {"containers": [{"name": "worker", "image": "bradenp/hw7-worker:1"}]}},
        "scaling": {"jobsPerReplica": 1, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}},
    });
    let world = World::with_pool(spec).deployed(2);
    let (world, mut connections) = one_of_two_is_busy(world, "hw7").await;
    let mut world = world.settled().await;
    let status = world.reconcile_until(&Method::PATCH, STATUS).await.body;
    assert_eq!(status["status"]["queue"]["running"], 1, "{status}");
    assert_eq!(status["status"]["desiredReplicas"], 1, "{status}");
    // Workers of ours would promote retries and reap leases by the way; these do not.
    let ticked = "redis.call('SELECT',2)return(redis.call('EXISTS','workerpool:queue:ticks')) 0";
    until(|| async { (world.command("EVAL", ticked).await == "1").then_some(()) }).await;

    world.api.forget_calls();
    connections[0].write_all(b"BLPOP hotqueue:queue 0\r\n").unwrap();
    let scale = world
        .reconcile_until(&Method::PATCH, "/deployments/hw7/scale")
        .await;
    assert_eq!(scale.body["spec"]["replicas"], 0, "nobody told of it");
}
