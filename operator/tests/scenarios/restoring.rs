//! A target gets back the count that it had.

use http::Method;
use kube::runtime::controller::Action;
use serde_json::{Value, json};

use super::world::World;

const POOL: &str = "/workerpools/hw7";
const SCALE: &str = "/deployments/web/scale";
const FOUND: &str = "workerpool.dev/found-replicas";

fn spec() -> Value {
    json!({"scaleTargetRef": {"name": "web"}, "deletionPolicy": "Restore"})
}

/// The pool as the watch shows it once the count was noted.
fn noted(world: &mut World) {
    world.edit(|pool| {
        pool.metadata.finalizers = Some(vec!["other".to_owned(), "workerpool.dev/restore".to_owned()]);
        pool.metadata.annotations = Some([(FOUND.to_owned(), "2".to_owned())].into());
    });
}

fn delete(world: &mut World) {
    noted(world);
    world.edit(|pool| pool.metadata.deletion_timestamp = pool.metadata.creation_timestamp.clone());
}

#[tokio::test]
async fn count_of_a_target_is_noted_before_it_is_changed_and_once() {
    let mut world = World::with_pool(spec()).beside("web", 2);
    world.reconcile().await.unwrap();
    let note = world.api.only(&Method::PATCH, POOL);
    assert_eq!(note.body["metadata"]["annotations"][FOUND], "2");
    assert_eq!(
        note.body["metadata"]["finalizers"],
        json!(["workerpool.dev/restore"])
    );
    let calls = world.api.summary();
    let first_write = calls.iter().find(|call| !call.starts_with("GET"));
    assert_eq!(first_write.unwrap(), "PATCH workerpools/hw7");

    let world_with_jobs = world.with_jobs(50).await;
    world = world_with_jobs;
    world.reconcile_until(&Method::PATCH, SCALE).await;
    noted(&mut world);
    world.reconcile().await.unwrap();
    // The same call: there is no second one.
    world.api.only(&Method::PATCH, POOL);
}

#[tokio::test]
async fn pool_that_retains_is_not_touched() {
    let world = World::with_pool(json!({"scaleTargetRef": {"name": "web"}})).beside("web", 2);
    world.reconcile().await.unwrap();
    assert!(
        !world.api.summary().contains(&"PATCH workerpools/hw7".to_owned()),
        "{:?}",
        world.api.summary()
    );
}

#[tokio::test]
async fn target_of_a_deleted_pool_gets_its_count_back_before_the_pool_goes() {
    let mut world = World::with_pool(spec()).beside("web", 7);
    delete(&mut world);
    assert_eq!(world.reconcile().await.unwrap(), Action::await_change());
    assert_eq!(world.api.summary(), ["PATCH web/scale", "PATCH workerpools/hw7"]);
    assert_eq!(
        world.api.only(&Method::PATCH, SCALE).body,
        json!({"spec": {"replicas": 2}})
    );
    let release = world.api.only(&Method::PATCH, POOL);
    assert_eq!(release.body["metadata"]["finalizers"], json!(["other"]));
    assert_eq!(
        world.api.event("Restored").await,
        "gave its target 2 replicas back"
    );
}

#[tokio::test]
async fn deleted_pool_whose_target_is_gone_goes() {
    let mut world = World::with_pool(spec());
    delete(&mut world);
    world.api.refuse_once(SCALE, 404);
    world.reconcile().await.unwrap();
    world.api.only(&Method::PATCH, POOL);
    world.api.event("NotRestored").await;
}

#[tokio::test]
async fn count_that_cannot_be_given_back_is_tried_again() {
    let mut world = World::with_pool(spec()).beside("web", 7);
    delete(&mut world);
    world.api.refuse_once(SCALE, 500);
    world.reconcile().await.unwrap_err();
    assert_eq!(
        world.api.summary(),
        ["PATCH web/scale"],
        "the pool is kept for now"
    );
    world.reconcile().await.unwrap();
    world.api.only(&Method::PATCH, POOL);
}

#[tokio::test]
async fn pool_that_is_to_retain_after_all_is_released() {
    let mut world = World::with_pool(spec()).beside("web", 2);
    noted(&mut world);
    world.edit(|pool| pool.spec.deletion_policy = crds::target::DeletionPolicy::Retain);
    world.reconcile().await.unwrap();
    let release = world.api.only(&Method::PATCH, POOL);
    assert_eq!(release.body["metadata"]["finalizers"], json!(["other"]));
    assert_eq!(release.body["metadata"]["annotations"], json!({FOUND: null}));
}
