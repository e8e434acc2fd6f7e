//! Pools whose pods are not ready: the calls that this costs, and the status that comes of it.

use http::Method;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use operator::targets::Kind;
use serde_json::{Value, json};

use super::{
    api::Call,
    world::{World, pod, replica_set},
};

const STATUS: &str = "/hw7/status";
const SCALE: &str = "/hw7/scale";

/// The operator was started again 20 s after its pods were made, which the status says: a look at them is due.
fn since_20_s(mut world: World) -> World {
    let since = Timestamp::now() - SignedDuration::from_secs(20);
    world.edit(|pool| {
        pool.status = serde_json::from_value(json!({"conditions": [{
            "type": "PodsReady", "status": "Unknown", "reason": "Starting", "message": "starting",
            "observedGeneration": 2, "lastTransitionTime": since.to_string(),
        }]}))
        .unwrap();
    });
    world
}

/// A pool that asks for two pods, of which so many are ready.
fn two_pods(ready: u32) -> World {
    let world = World::with_pool(json!({"scaling": {"minReplicas": 2}})).deployed_with_ready(2, ready);
    let world = since_20_s(world);
    let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}});
    let unready = |name: &str| {
        let mut pod = pod(name);
        pod["status"] = json!({
            "phase": "Pending",
            "conditions": [{"type": "Ready", "status": "False"}, {"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [{"name": "worker", "image": "typo:1", "ready": false, "restartCount": 0, "state": waiting}],
        });
        pod
    };
    world.api.hold(
        vec![replica_set("set", 2)],
        vec![unready("hw7-a"), unready("hw7-b")],
    );
    world
}

fn lists(world: &World) -> Vec<Call> {
    let mut calls = world.api.calls();
    calls.retain(|call| call.method == Method::GET);
    calls
}

fn condition(status: &Value, kind: &str) -> (String, String) {
    let conditions = status["conditions"].as_array().unwrap();
    let found = conditions
        .iter()
        .find(|condition| condition["type"] == kind)
        .unwrap();
    let word = |field: &str| found[field].as_str().unwrap().to_owned();
    (word("reason"), word("message"))
}

/// Reconciles until the status says this of the pods; answers it.
async fn status_with(world: &mut World, reason: &str) -> Value {
    loop {
        let status = world.reconcile_until(&Method::PATCH, STATUS).await.body["status"].clone();
        if condition(&status, "PodsReady").0 == reason {
            return status;
        }
        world.api.forget_status();
    }
}

#[tokio::test]
async fn pods_that_are_ready_are_not_listed() {
    let mut world = two_pods(2);
    let status = world.reconcile_until(&Method::PATCH, STATUS).await.body["status"].clone();
    world.reconcile().await.unwrap();
    assert_eq!(
        condition(&status, "PodsReady"),
        ("AllReady".to_owned(), "all 2 pods are ready".to_owned())
    );
    assert_eq!(status["pods"], "2/2");
    assert!(lists(&world).is_empty(), "{:?}", world.api.summary());
    assert!(!world.scrape().contains("pods_not_ready{"), "{}", world.scrape());
}

#[tokio::test]
async fn unready_pods_are_listed_once_and_their_trouble_is_reported() {
    let mut world = two_pods(0);
    let status = status_with(&mut world, "ImagePullFailed").await;
    let lists = lists(&world);
    let paths: Vec<_> = lists
        .iter()
        .map(|call| call.path.rsplit('/').next().unwrap())
        .collect();
    assert_eq!(paths, ["replicasets", "pods"]);
    let (sets, pods) = (&lists[0].query, &lists[1].query);
    assert!(
        sets.contains("labelSelector=workerpool.dev%2Fpool%3Dhw7"),
        "{sets}"
    );
    assert!(
        pods.contains("labelSelector=workerpool.dev%2Fpool%3Dhw7"),
        "{pods}"
    );
    assert!(pods.contains("limit=50"), "{pods}");

    let (reason, message) = condition(&status, "Ready");
    assert_eq!(reason, "ImagePullFailed");
    assert!(message.starts_with("0 of 2 pods are ready for 2"), "{message}");
    assert!(
        message.ends_with("s: ImagePullFailed: typo:1: not found, pod hw7-a"),
        "{message}"
    );
    assert_eq!(condition(&status, "PodsReady"), (reason, message.clone()));
    assert_eq!(
        world.api.event("PodsNotReady").await,
        format!("ImagePullFailed: {message}")
    );
    let series = "pool_pods_not_ready{namespace=\"default\",pool=\"hw7\",reason=\"ImagePullFailed\"} 2";
    assert!(world.scrape().contains(series), "{}", world.scrape());

    // The next look is 15 s away.
    world.reconcile().await.unwrap();
    world.reconcile().await.unwrap();
    assert_eq!(lists.len(), self::lists(&world).len());
    assert_eq!(world.api.count_events("NotReady"), 0, "it has been said");
}

#[tokio::test]
async fn count_does_not_wait_for_pods_that_cannot_be_listed() {
    let mut world = two_pods(1);
    world.api.refuse_once("/replicasets", 500);
    world.push(40).await;
    let call = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(call.body["spec"]["replicas"], 8);
    let errors = "reconcile_errors_total{kind=\"server_error\"} 1";
    super::api::until(|| {
        let counted = world.scrape().contains(errors);
        std::future::ready(counted.then_some(()))
    })
    .await;
    world.reconcile().await.unwrap();
}

#[tokio::test]
async fn refused_pool_goes_on_reporting_its_pods() {
    let mut world = two_pods(0);
    world.older_pool("first", json!({}));
    let status = status_with(&mut world, "ImagePullFailed").await;
    assert_eq!(condition(&status, "Ready").0, "QueueTaken");
    assert_eq!((&status["replicas"], &status["pods"]), (&json!(2), &json!("0/2")));
    assert_eq!(status["selector"], "workerpool.dev/pool=hw7");
    assert_eq!(
        (&status["mode"], &status["desiredReplicas"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn refused_pool_does_not_report_pods_of_somebody_else() {
    let world = World::with_pool(json!({})).beside("hw7", 3);
    world.reconcile().await.unwrap();
    let status = world.api.only(&Method::PATCH, STATUS).body["status"].clone();
    assert_eq!((&status["replicas"], &status["pods"]), (&json!(0), &json!("0/0")));
}

/// The template works neither at first nor later, in a pool of at most 20; then a pod of it is ready.
#[tokio::test]
async fn template_that_never_worked_gets_three_pods_until_one_is_ready() {
    let mut world = two_pods(0);
    world.edit(|pool| pool.spec.scaling.max_replicas = 20);
    world.pool_changes_to("2001", |pool| {
        let condition = &mut pool.status.as_mut().unwrap().conditions[0];
        condition.observed_generation = pool.metadata.generation;
    });
    let status = status_with(&mut world, "ImagePullFailed").await;
    assert_eq!(status["provenTemplate"], Value::Null);
    world.push(100).await;
    assert_eq!(
        world.reconcile_until(&Method::PATCH, SCALE).await.body["spec"]["replicas"],
        3
    );
    assert!(
        world
            .api
            .event("ScaledUp")
            .await
            .starts_with("from 2 to 3 replicas: Unproven"),
        "{:?}",
        world.api.summary()
    );

    world.api.forget_calls();
    world.ready = Some(1);
    world.deploy(3);
    assert_eq!(
        world.reconcile_until(&Method::PATCH, SCALE).await.body["spec"]["replicas"],
        20
    );
    world.deploy(20);
    let status = world.reconcile_until(&Method::PATCH, STATUS).await.body["status"].clone();
    assert_eq!(status["provenTemplate"].as_str().map(str::len), Some(16));
}

#[tokio::test]
async fn adopted_replica_set_is_listed_by_name_for_its_refusal() {
    let target = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web"});
    let mut world = World::with_pool(json!({"scaleTargetRef": target}));
    world.ready = Some(0);
    let mut world = since_20_s(world.beside_a(Kind::ReplicaSet, "web", 2));
    let mut set = replica_set("deployment", 2);
    set["status"] = json!({"replicas": 0, "conditions": [{
        "type": "ReplicaFailure", "status": "True", "message": "pods \"web-x\" is forbidden: exceeded quota: q",
    }]});
    // The API server of this test does not select.
    world.api.hold(vec![replica_set("other", 2), set], Vec::new());
    let status = status_with(&mut world, "QuotaExceeded").await;
    let (_, message) = condition(&status, "PodsReady");
    assert!(message.ends_with("QuotaExceeded: exceeded quota: q"), "{message}");
    let list = world.api.only(&Method::GET, "/replicasets");
    assert!(
        list.query.contains("fieldSelector=metadata.name%3Dweb"),
        "{}",
        list.query
    );
}
