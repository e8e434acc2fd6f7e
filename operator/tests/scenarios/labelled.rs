//! Pools whose template has labels, beside a Deployment that an older release made.

use http::Method;
use serde_json::{Value, json};

use super::world::World;

const NAME: &str = "app.kubernetes.io/name";

fn accepted(world: &World) -> (Value, String) {
    let status = world.api.only(&Method::PATCH, "/hw7/status").body["status"].clone();
    let conditions = status["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|one| one["type"] == "Accepted").unwrap();
    (
        found["status"].clone(),
        found["message"].as_str().unwrap().to_owned(),
    )
}

#[tokio::test]
async fn deployment_of_0_1_0_is_left_as_it_is() {
    let world = World::with_pool(json!({}))
        .deployed_by_0_1_0(2)
        .with_jobs(7)
        .await;
    let world = world.settled().await;
    world.reconcile().await.unwrap();
    assert_eq!(world.api.summary(), ["PATCH hw7/status"]);
    assert_eq!(accepted(&world), (json!("True"), "served".to_owned()));
}

#[tokio::test]
async fn labels_of_template_are_applied_once_and_selector_is_kept() {
    let mut world = World::with_pool(json!({}))
        .deployed_by_0_1_0(2)
        .with_jobs(7)
        .await;
    let labels = json!({NAME: "thumbs", "app.kubernetes.io/managed-by": "Helm"});
    let template = serde_json::from_value(json!({"metadata": {"labels": labels}})).unwrap();
    world.edit(|pool| pool.spec.template = Some(template));
    world.reconcile().await.unwrap();
    let applied = world.api.only(&Method::PATCH, "/deployments/hw7").body;
    assert_eq!(
        applied["spec"]["selector"]["matchLabels"],
        json!({NAME: "workerpool-worker", "workerpool.dev/pool": "hw7"})
    );
    let labels = &applied["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels[NAME], "workerpool-worker");
    assert_eq!(labels["app.kubernetes.io/managed-by"], "Helm");

    // The watch shows what was applied.
    world.show_deployment(applied, 2);
    let world = world.settled().await;
    world.reconcile().await.unwrap();
    assert_eq!(world.api.summary(), ["PATCH hw7/status"]);
    let (status, message) = accepted(&world);
    assert_eq!(status, "True");
    assert!(
        message.starts_with("served; but the template's label app.kubernetes.io/name cannot be taken"),
        "{message}"
    );
}

#[tokio::test]
async fn port_of_another_container_is_refused_before_anything_is_made() {
    let web = json!({"name": "web", "image": "web:1", "ports": [{"containerPort": 8080}]});
    let world = World::with_pool(json!({"template": {"spec": {"containers": [web]}}}));
    world.reconcile().await.unwrap();
    assert_eq!(world.api.summary(), ["PATCH hw7/status"]);
    let (status, message) = accepted(&world);
    assert_eq!(status, "False");
    assert!(
        message.contains("container web has port 8080") && message.contains("spec.worker.telemetryPort"),
        "{message}"
    );
}
