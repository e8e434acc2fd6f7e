//! What others change in a pool's own Deployment is put back, and what is not ours is left alone.

use http::Method;
use kube::runtime::controller::Action;
use operator::targets::Kind;
use serde_json::{Value, json};

use super::{api::Call, world::World};

const APPLY: &str = "/deployments/hw7";
const LIST: &str = "/namespaces/default/deployments";
const STATUS: &str = "/hw7/status";

/// Shows the watch the pool's Deployment of two, at this generation and version.
fn show(world: &mut World, generation: i64, version: u32, change: impl FnOnce(&mut Value)) {
    let mut deployment = world.built_deployment(None);
    deployment["metadata"]["uid"] = json!("deployment");
    deployment["metadata"]["generation"] = json!(generation);
    deployment["metadata"]["resourceVersion"] = json!(version.to_string());
    deployment["spec"]["replicas"] = json!(2);
    deployment["status"] = json!({
        "observedGeneration": generation, "replicas": 2, "readyReplicas": 2, "updatedReplicas": 2,
    });
    change(&mut deployment);
    world.watch_shows(Kind::Deployment, deployment);
}

/// A pool of two whose Deployment was last verified at generation 7 and is shown at this one, as after a restart.
async fn shown_at(generation: i64) -> World {
    let mut world = World::with_pool(json!({"replicas": 2}));
    world.pool_changes_to("1000", |pool| {
        pool.status = serde_json::from_value(json!({"deploymentGeneration": 7})).unwrap();
    });
    show(&mut world, generation, 2000, |_| {});
    world.api.applying_leaves(generation);
    world
}

fn applies(world: &World) -> Vec<Call> {
    let mut calls = world.api.calls();
    calls.retain(|call| call.is(&Method::PATCH, APPLY));
    calls
}

#[tokio::test]
async fn deployment_at_known_generation_is_not_applied_after_restart() {
    let world = shown_at(7).await.settled().await;
    world.reconcile().await.unwrap();
    let status = world.api.only(&Method::PATCH, STATUS).body;
    assert_eq!(status["status"]["deploymentGeneration"], 7);
    assert_eq!(world.api.summary(), ["PATCH hw7/status"]);
    world.api.forget_calls();
    assert_eq!(world.reconcile().await.unwrap(), Action::await_change());
    assert!(world.api.summary().is_empty(), "{:?}", world.api.summary());
}

#[tokio::test]
async fn drift_is_corrected_once_and_names_who_changed_what() {
    let mut world = shown_at(7).await.settled().await;
    world.api.answer_at(
        "/apis/apps/v1/namespaces/default/deployments",
        json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": [{
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"name": "hw7", "managedFields": [
                {"manager": "workerpool-operator/deployment", "operation": "Apply", "time": "2026-01-01T00:00:01Z"},
                {"manager": "kubectl-set", "operation": "Update", "time": "2026-01-01T00:00:02Z"},
            ]},
        }]}),
    );
    show(&mut world, 8, 2001, |_| {});
    world.api.applying_leaves(9);
    world.reconcile().await.unwrap();
    let apply = world.api.only(&Method::PATCH, APPLY);
    assert!(apply.query.contains("force=true"), "{}", apply.query);
    assert_eq!(apply.body["metadata"]["resourceVersion"], "2001");
    assert_eq!(apply.body["spec"]["replicas"], 2);
    let list = world.api.only(&Method::GET, LIST);
    assert!(list.query.contains("metadata.name%3Dhw7"), "{}", list.query);
    let note = world.api.event("DriftCorrected").await;
    assert!(
        note.contains("Deployment hw7 (last by kubectl-set)") && note.contains("spec.template"),
        "{note}"
    );

    show(&mut world, 9, 3001, |_| {});
    world.reconcile().await.unwrap();
    assert_eq!(applies(&world).len(), 1, "{:?}", world.api.summary());
    let calls = world.api.calls();
    let status = calls.iter().rev().find(|call| call.is(&Method::PATCH, STATUS));
    assert_eq!(status.unwrap().body["status"]["deploymentGeneration"], 9);
}

#[tokio::test]
async fn change_of_fields_that_are_not_ours_is_verified_once_without_event() {
    let mut world = shown_at(7).await.settled().await;
    // As `kubectl rollout restart` does.
    show(&mut world, 8, 2001, |_| {});
    world.api.applying_leaves(8);
    world.reconcile().await.unwrap();
    world.reconcile().await.unwrap();
    assert_eq!(applies(&world).len(), 1, "{:?}", world.api.summary());
    assert_eq!(world.api.count_events("DriftCorrected"), 0);
}

#[tokio::test]
async fn status_of_earlier_release_has_deployment_verified_once() {
    let mut world = World::with_pool(json!({"replicas": 2}));
    show(&mut world, 7, 2000, |_| {});
    world.api.applying_leaves(7);
    world.reconcile().await.unwrap();
    world.reconcile().await.unwrap();
    assert_eq!(world.api.summary(), ["PATCH deployments/hw7"]);
}

#[tokio::test]
async fn own_change_of_count_is_no_drift() {
    let mut world = shown_at(7).await.settled().await;
    world.edit(|pool| pool.spec.replicas = Some(3));
    world.reconcile().await.unwrap();
    world.api.only(&Method::PATCH, "/deployments/hw7/scale");
    let three = |deployment: &mut Value| deployment["spec"]["replicas"] = json!(3);
    show(&mut world, 8, 3001, three);
    world.api.forget_calls();
    world.reconcile_until(&Method::PATCH, STATUS).await;
    let status = world.api.only(&Method::PATCH, STATUS).body;
    assert_eq!(status["status"]["deploymentGeneration"], 8);
    assert_eq!(world.api.summary(), ["PATCH hw7/status"]);
}

#[tokio::test]
async fn count_changed_by_others_is_no_drift() {
    let mut world = shown_at(7).await.settled().await;
    // As `kubectl scale deployment` does.
    show(&mut world, 8, 2001, |deployment| {
        deployment["spec"]["replicas"] = json!(1);
    });
    world.api.applying_leaves(8);
    world.reconcile().await.unwrap();
    let apply = world.api.only(&Method::PATCH, APPLY);
    assert_eq!(
        apply.body["spec"]["replicas"], 1,
        "the count as it is: {:?}",
        apply.body
    );
    let scale = world.api.only(&Method::PATCH, "/deployments/hw7/scale");
    assert_eq!(scale.body["spec"]["replicas"], 2);
    show(&mut world, 9, 3001, |_| {});
    world.api.forget_calls();
    world.reconcile_until(&Method::PATCH, STATUS).await;
    assert_eq!(world.api.summary(), ["PATCH hw7/status"]);
    assert_eq!(world.api.count_events("DriftCorrected"), 0);
}

#[tokio::test]
async fn fight_over_deployment_is_bounded_and_edit_of_pool_is_not_delayed() {
    let mut world = shown_at(7).await.settled().await;
    show(&mut world, 8, 2001, |_| {});
    world.api.applying_leaves(9);
    world.reconcile().await.unwrap();
    // It is changed back, and the annotation with it.
    show(&mut world, 10, 3001, |deployment| {
        deployment["metadata"]["annotations"] = json!({"workerpool.dev/applied": "of an old revision"});
    });
    world.api.forget_calls();
    let action = world.reconcile().await.unwrap();
    assert!(applies(&world).is_empty(), "{:?}", world.api.summary());
    assert_ne!(action, Action::await_change(), "it is corrected later");

    world.edit(|pool| pool.spec.worker.concurrency = 2);
    world.reconcile().await.unwrap();
    let apply = world.api.only(&Method::PATCH, APPLY);
    assert_eq!(apply.body["metadata"]["resourceVersion"], "3001");
}

#[tokio::test]
async fn annotation_removed_by_others_is_put_back() {
    let mut world = shown_at(7).await.settled().await;
    world.reconcile().await.unwrap();
    show(&mut world, 8, 2001, |deployment| {
        deployment["metadata"]["annotations"] = json!({});
    });
    world.api.applying_leaves(9);
    world.reconcile().await.unwrap();
    let apply = world.api.only(&Method::PATCH, APPLY);
    assert!(apply.body["metadata"]["annotations"]["workerpool.dev/applied"].is_string());
    world.api.event("DriftCorrected").await;
}

#[tokio::test]
async fn correction_that_meets_another_write_is_tried_again() {
    let mut world = shown_at(7).await.settled().await;
    show(&mut world, 8, 2001, |_| {});
    world.api.refuse_once(APPLY, 409);
    world.reconcile().await.unwrap();
    show(&mut world, 8, 2002, |_| {});
    world.api.applying_leaves(9);
    world.reconcile().await.unwrap();
    let versions: Vec<_> = applies(&world)
        .iter()
        .map(|call| call.body["metadata"]["resourceVersion"].clone())
        .collect();
    assert_eq!(versions, ["2001", "2002"]);
    world.api.event("DriftCorrected").await;
}

#[tokio::test]
async fn adopted_deployment_is_never_applied() {
    let mut world = World::with_pool(json!({"replicas": 2, "scaleTargetRef": {"name": "web"}}));
    let web = |generation: i64, version: &str| {
        json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "deployment", "generation": generation, "resourceVersion": version},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}},
            "status": {"observedGeneration": generation, "replicas": 2, "readyReplicas": 2, "updatedReplicas": 2},
        })
    };
    world.watch_shows(Kind::Deployment, web(1, "2000"));
    let mut world = world.settled().await;
    world.reconcile().await.unwrap();
    world.watch_shows(Kind::Deployment, web(2, "2001"));
    world.reconcile().await.unwrap();
    assert_eq!(world.api.summary(), ["PATCH hw7/status"]);
}
