//! Pools that are not served as they are.

use std::time::Duration;

use http::Method;
use kube::runtime::{controller::Action, watcher};
use operator::autoscalers::Autoscaler;
use serde_json::json;

use super::world::World;

async fn refused(world: &World) -> String {
    world.reconcile().await.unwrap();
    let calls = world.api.summary();
    assert_eq!(calls, ["PATCH hw7/status"], "nothing else is touched");
    let status = world.api.only(&Method::PATCH, "/hw7/status").body;
    let ready = &status["status"]["conditions"][0];
    assert_eq!(
        (ready["type"].as_str(), ready["status"].as_str()),
        (Some("Ready"), Some("False"))
    );
    format!(
        "{}: {}",
        ready["reason"].as_str().unwrap(),
        ready["message"].as_str().unwrap()
    )
}

#[tokio::test]
async fn younger_of_two_pools_on_one_queue_is_refused() {
    let mut world = World::with_pool(json!({}));
    world.older_pool("first", json!({}));
    assert_eq!(
        refused(&world).await,
        "QueueTaken: the older pool default/first follows this queue already"
    );
    world.api.event("Refused").await;
}

#[tokio::test]
async fn deployment_of_the_pools_name_that_is_not_its_own_is_left_alone() {
    let world = World::with_pool(json!({})).beside("hw7", 3);
    let refusal = refused(&world).await;
    assert!(
        refusal.starts_with("DeploymentNotOurs: a Deployment hw7 exists"),
        "{refusal}"
    );
}

#[tokio::test]
async fn missing_target_is_told() {
    let world = World::with_pool(json!({"scaleTargetRef": {"name": "web"}}));
    assert_eq!(
        refused(&world).await,
        "TargetNotFound: there is no Deployment web"
    );
}

#[tokio::test]
async fn target_with_an_autoscaler_is_refused() {
    let world = World::with_pool(json!({"scaleTargetRef": {"name": "web"}})).beside("web", 1);
    let autoscaler = serde_json::from_value(json!({
        "metadata": {"namespace": "default", "name": "hpa"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
    }));
    let event: watcher::Event<Autoscaler> = watcher::Event::Apply(autoscaler.unwrap());
    world.hear_of(event).await;
    assert_eq!(
        refused(&world).await,
        "TargetAutoscaled: the HorizontalPodAutoscaler hpa scales the Deployment web already; delete it, or this pool"
    );
}

#[tokio::test]
async fn what_the_api_server_refuses_is_told_and_tried_again_later() {
    let world = World::with_pool(json!({}));
    world.api.refuse_once("/deployments/hw7", 422);
    let error = world.reconcile().await.unwrap_err();
    assert_eq!(error.kind(), "invalid");
    let status = world.api.only(&Method::PATCH, "/hw7/status").body;
    let ready = &status["status"]["conditions"][0];
    assert_eq!(ready["reason"], "ApplyFailed");
    assert_eq!(
        ready["message"], "cannot apply the Deployment: refused by the test",
        "the API server's own sentence, and no more"
    );

    let wait = operator::reconcile::on_error(&world.pool, &error, &world.ctx);
    assert_eq!(wait, Action::requeue(Duration::from_millis(500)));
    world.api.forget_calls();
    world.reconcile().await.unwrap();
    assert!(
        world.api.summary().is_empty(),
        "left alone until the backoff has passed"
    );
}
