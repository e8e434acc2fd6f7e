//! What policies and quotas of a namespace ask of a pool's Deployment and its pods.

use http::Method;
use serde_json::{Value, json};

use super::world::World;

/// The Deployment as it was applied, which the watch shows from then on.
async fn applied(world: &mut World) -> Value {
    world.api.forget_calls();
    world.reconcile().await.unwrap();
    let applied = world.api.only(&Method::PATCH, "/deployments/hw7").body;
    world.show_deployment(applied.clone(), 2);
    applied
}

#[tokio::test]
async fn label_of_pool_reaches_deployment_and_goes_with_it() {
    let world = World::with_pool(json!({})).deployed(2).with_jobs(7).await;
    let mut world = world.settled().await;
    // As the API server has it: a label raises no generation.
    world.pool_changes_to("2001", |pool| {
        pool.metadata.labels =
            serde_json::from_value(json!({"team": "a", "helm.sh/chart": "shop-1"})).unwrap();
    });
    let labelled = applied(&mut world).await;
    assert_eq!(labelled["metadata"]["labels"]["team"], "a");
    assert_eq!(labelled["metadata"]["labels"]["helm.sh/chart"], json!(null));
    let pods = &labelled["spec"]["template"];
    assert_eq!(pods["metadata"]["labels"]["team"], json!(null));

    world.api.forget_calls();
    world.reconcile().await.unwrap();
    let calls = world.api.calls();
    assert!(
        !calls.iter().any(|call| call.path.ends_with("/deployments/hw7")),
        "applied once"
    );

    world.pool_changes_to("2002", |pool| pool.metadata.labels = None);
    let bare = applied(&mut world).await;
    assert_eq!(bare["metadata"]["labels"]["team"], json!(null));
    assert_eq!(&bare["spec"]["template"], pods, "no pod is rolled");
}

#[tokio::test]
async fn resources_of_stock_worker_are_applied() {
    let mut world = World::with_pool(json!({}));
    let deployment = applied(&mut world).await;
    let worker = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        worker["resources"],
        json!({"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}})
    );
}
