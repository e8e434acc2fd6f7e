//! Targets that are no Deployments.

use http::Method;
use kube::runtime::watcher;
use operator::{autoscalers::ScaledObject, targets::Kind};
use serde_json::{Value, json};

use super::world::{World, pod};

const SET_SCALE: &str = "/apis/apps/v1/namespaces/default/statefulsets/db/scale";
const CREW_SCALE: &str = "/apis/example.com/v2/namespaces/default/crews/a/scale";

fn down_at_once(kind: &str, name: &str) -> Value {
    json!({
        "scaleTargetRef": {"kind": kind, "name": name},
        "scaling": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}},
    })
}

/// A pod of the target.
fn pod_of(kind: &str, name: &str) -> Value {
    let mut pod = pod(name);
    pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": kind, "name": "x", "uid": "deployment", "controller": true}]);
    pod
}

/// A pool on a Crew named `a`, of a version that the cluster does not have; it has another one.
fn pool_on_a_crew() -> World {
    let world = World::with_pool(json!({
        "scaleTargetRef": {"apiVersion": "example.com/v1", "kind": "Crew", "name": "a"},
        "scaling": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}},
    }));
    let version = json!({"groupVersion": "example.com/v2", "version": "v2"});
    let group = json!({"name": "example.com", "versions": [version], "preferredVersion": version});
    world.api.answer_at(
        "/apis",
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]}),
    );
    world.api.refuse_once("/apis/example.com/v1", 404);
    world
        .api
        .answer_at("/apis/example.com/v2", resources(&["crews", "crews/scale"], true));
    world
}

fn resources(names: &[&str], namespaced: bool) -> Value {
    let resource = |name: &&str| {
        let kind = if name.ends_with("/scale") { "Scale" } else { "Crew" };
        json!({"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "patch"]})
    };
    let resources: Vec<_> = names.iter().map(resource).collect();
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "example.com/v2", "resources": resources})
}

fn scale(replicas: u32, version: &str) -> Value {
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": "a", "namespace": "default", "resourceVersion": version},
        "spec": {"replicas": replicas}, "status": {"replicas": replicas, "selector": "crew=a"}})
}

async fn refusal(world: &World) -> String {
    world.reconcile().await.unwrap();
    let status = world.api.only(&Method::PATCH, "/hw7/status").body;
    let ready = &status["status"]["conditions"][0];
    assert_eq!(ready["status"], "False", "{ready}");
    format!(
        "{}: {}",
        ready["reason"].as_str().unwrap(),
        ready["message"].as_str().unwrap()
    )
}

fn writes(world: &World) -> Vec<String> {
    let mut calls = world.api.summary();
    calls.retain(|call| !call.starts_with("GET") && !call.ends_with("/status"));
    calls
}

#[tokio::test]
async fn stateful_set_is_scaled_up_by_its_scale() {
    let world = World::with_pool(down_at_once("StatefulSet", "db"))
        .beside_a(Kind::StatefulSet, "db", 1)
        .with_jobs(14)
        .await;
    let mut world = world.settled().await;
    let scale = world.reconcile_until(&Method::PATCH, SET_SCALE).await;
    assert_eq!(scale.body["spec"]["replicas"], 3);
}

#[tokio::test]
async fn count_of_a_stateful_set_falls_by_its_highest_pods_that_are_idle_and_without_costs() {
    let world = World::with_pool(down_at_once("StatefulSet", "db"))
        .beside_a(Kind::StatefulSet, "db", 4)
        .with_jobs(1)
        .await;
    let pods = ["db-0", "db-1", "db-2", "db-3"].map(|name| pod_of("StatefulSet", name));
    world.api.hold(Vec::new(), pods.to_vec());
    // The lowest could stay alone, but for this one.
    let worker = world.busy("db-1", 1).await;
    let mut world = world.settled().await;

    let scale = world.reconcile_until(&Method::PATCH, SET_SCALE).await;
    assert_eq!(
        scale.body,
        json!({"metadata": {"resourceVersion": "2000"}, "spec": {"replicas": 2}})
    );
    assert_eq!(writes(&world), ["PATCH db/scale"], "no pod is touched");
    // It is let become idle: once it is, it goes.
    world.push(1).await;
    let claims = worker.claim(&queue::Nonce::fresh(), 1).await.unwrap();
    assert!(claims.jobs.is_empty() && claims.quiet_for.is_some(), "{claims:?}");
}

#[tokio::test]
async fn busy_highest_pod_of_a_stateful_set_holds_its_count() {
    let world = World::with_pool(down_at_once("StatefulSet", "db"))
        .beside_a(Kind::StatefulSet, "db", 2)
        .with_jobs(1)
        .await;
    let pods = ["db-0", "db-1"].map(|name| pod_of("StatefulSet", name));
    world.api.hold(Vec::new(), pods.to_vec());
    let _worker = world.busy("db-1", 1).await;
    let mut world = world.settled().await;
    world.reconcile().await.unwrap();
    // The answer of who is idle.
    world.woken().await;
    world.reconcile().await.unwrap();
    world.api.event("BusyWorkers").await;
    assert_eq!(writes(&world), Vec::<String>::new());
}

#[tokio::test]
async fn pods_of_a_replica_set_are_chosen_as_those_of_a_deployment() {
    let world = World::with_pool(down_at_once("ReplicaSet", "set"))
        .beside_a(Kind::ReplicaSet, "set", 2)
        .with_jobs(1)
        .await;
    let pods = ["a", "b"].map(|name| pod_of("ReplicaSet", name));
    world.api.hold(Vec::new(), pods.to_vec());
    let _worker = world.busy("a", 1).await;
    let mut world = world.settled().await;
    let scale = world
        .reconcile_until(&Method::PATCH, "/replicasets/set/scale")
        .await;
    assert_eq!(scale.body["spec"]["replicas"], 1);
    assert_eq!(writes(&world), ["PATCH pods/b", "PATCH set/scale"]);
}

#[tokio::test]
async fn any_kind_with_a_scale_is_followed_by_it_in_the_version_that_there_is() {
    let world = pool_on_a_crew().with_jobs(14).await;
    world.api.answer_at(CREW_SCALE, scale(1, "40"));
    let mut world = world.settled().await;
    let up = world.reconcile_until(&Method::PATCH, CREW_SCALE).await;
    assert_eq!(
        up.body,
        json!({"metadata": {"resourceVersion": "40"}, "spec": {"replicas": 3}})
    );
    let status = world.reconcile_until(&Method::PATCH, "/hw7/status").await.body;
    assert_eq!(status["status"]["selector"], "crew=a");
}

#[tokio::test]
async fn any_kind_goes_down_only_to_as_many_as_hold_a_job() {
    let world = pool_on_a_crew().with_jobs(2).await;
    world.api.answer_at(CREW_SCALE, scale(4, "40"));
    let (_a, _b) = (world.busy("a", 1).await, world.busy("b", 1).await);
    let mut world = world.settled().await;
    let down = world.reconcile_until(&Method::PATCH, CREW_SCALE).await;
    assert_eq!(
        down.body,
        json!({"metadata": {"resourceVersion": "40"}, "spec": {"replicas": 2}})
    );
}

#[tokio::test]
async fn kind_that_the_cluster_does_not_have_is_refused() {
    let world = World::with_pool(
        json!({"scaleTargetRef": {"apiVersion": "example.com/v1", "kind": "Crew", "name": "a"}}),
    );
    world.api.refuse_once("/apis/example.com/v1", 404);
    world.api.answer_at(
        "/apis",
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []}),
    );
    let refusal = refusal(&world).await;
    assert!(
        refusal.starts_with("TargetKindNotFound: this cluster has no example.com/v1/Crew; install its"),
        "{refusal}"
    );
    world.api.event("Refused").await;
}

#[tokio::test]
async fn kind_without_a_scale_and_one_outside_of_namespaces_are_refused() {
    for answer in [
        resources(&["crews"], true),
        resources(&["crews", "crews/scale"], false),
    ] {
        let world = pool_on_a_crew();
        world.api.answer_at("/apis/example.com/v2", answer);
        let refusal = refusal(&world).await;
        assert!(
            refusal.starts_with("TargetNotScalable: example.com/v1/Crew has no /scale"),
            "{refusal}"
        );
    }
}

#[tokio::test]
async fn kind_that_the_operator_may_not_scale_is_refused_with_the_rule_that_is_missing() {
    let world = pool_on_a_crew();
    world.api.refuse_once("/crews/a/scale", 403);
    assert_eq!(
        refusal(&world).await,
        "TargetForbidden: the operator may not scale crews; make a ClusterRole with the label \
         workerpool.dev/aggregate-to-operator: \"true\" and the rule {apiGroups: [\"example.com\"], resources: [crews/scale], \
         verbs: [get, patch]}"
    );
    world.api.event("NotReady").await;
}

#[tokio::test]
async fn right_that_is_missing_only_for_the_write_is_told_too() {
    let world = pool_on_a_crew().with_jobs(14).await;
    world.api.answer_at(CREW_SCALE, scale(1, "40"));
    let world = world.settled().await;
    world.api.refuse_once("/crews/a/scale", 403);
    // Read a moment ago: what is refused is the write.
    let error = world.reconcile().await.unwrap_err();
    assert_eq!(error.kind(), "forbidden");
    assert!(error.to_string().contains("resources: [crews/scale]"), "{error}");
}

#[tokio::test]
async fn missing_target_of_any_kind_is_told() {
    let world = pool_on_a_crew();
    world.api.refuse_once("/crews/a/scale", 404);
    assert_eq!(refusal(&world).await, "TargetNotFound: there is no Crew a");

    let world = World::with_pool(down_at_once("ReplicaSet", "set"));
    let refusal = refusal(&world).await;
    assert!(
        refusal.ends_with("one that a Deployment keeps is scaled by that Deployment"),
        "{refusal}"
    );
}

#[tokio::test]
async fn target_of_a_scaled_object_is_refused_until_it_is_free() {
    let world = World::with_pool(down_at_once("StatefulSet", "db"))
        .beside_a(Kind::StatefulSet, "db", 1)
        .with_jobs(14)
        .await;
    let object: ScaledObject = serde_json::from_value(json!({
        "metadata": {"namespace": "default", "name": "jobs"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db"}},
    }))
    .unwrap();
    world.hear_of(watcher::Event::Apply(object.clone())).await;
    assert_eq!(
        refusal(&world).await,
        "TargetAutoscaled: the ScaledObject jobs scales the StatefulSet db already; delete it, or this pool"
    );
    world.api.event("Refused").await;
    assert_eq!(writes(&world), Vec::<String>::new());

    world.hear_of(watcher::Event::Delete(object)).await;
    let mut world = world;
    world.reconcile_until(&Method::PATCH, SET_SCALE).await;
}

#[tokio::test]
async fn younger_pool_on_the_same_target_in_another_version_is_refused() {
    let mut world = pool_on_a_crew();
    world.older_pool(
        "first",
        json!({
            "queues": [{"name": "other"}],
            "scaleTargetRef": {"apiVersion": "example.com/v2", "kind": "Crew", "name": "a"},
        }),
    );
    assert_eq!(
        refusal(&world).await,
        "TargetTaken: the older pool default/first scales the Crew a already"
    );
}

#[tokio::test]
async fn crew_gets_its_count_back() {
    let mut world = pool_on_a_crew();
    world.edit(|pool| {
        pool.spec.deletion_policy = crds::target::DeletionPolicy::Restore;
        pool.metadata.finalizers = Some(vec!["workerpool.dev/restore".to_owned()]);
        pool.metadata.annotations =
            Some([("workerpool.dev/found-replicas".to_owned(), "2".to_owned())].into());
        pool.metadata.deletion_timestamp = pool.metadata.creation_timestamp.clone();
    });
    world.reconcile().await.unwrap();
    let restored = world.api.only(&Method::PATCH, CREW_SCALE);
    assert_eq!(restored.body, json!({"spec": {"replicas": 2}}));
}
