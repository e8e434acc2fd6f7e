//! Up, pinned, paused, put right.

use std::time::Duration;

use http::Method;
use kube::runtime::controller::Action;
use serde_json::{Value, json};

use super::world::World;

const SCALE: &str = "/deployments/hw7/scale";

/// Written only if nobody wrote since.
fn count(replicas: u32) -> Value {
    json!({"metadata": {"resourceVersion": "2000"}, "spec": {"replicas": replicas}})
}

fn conditions(status: &Value) -> Vec<String> {
    let conditions = status["status"]["conditions"].as_array().unwrap().iter();
    conditions
        .map(|condition| {
            let text = |field: &str| condition[field].as_str().unwrap().to_owned();
            format!("{} {} {}", text("type"), text("status"), text("reason"))
        })
        .collect()
}

#[tokio::test]
async fn new_pool_gets_its_deployment_with_a_count_before_the_queue_was_read() {
    let world = World::with_pool(json!({}));
    world.reconcile().await.unwrap();
    assert_eq!(world.api.summary(), ["PATCH deployments/hw7"]);
    let apply = world.api.only(&Method::PATCH, "/deployments/hw7");
    assert_eq!(apply.body["spec"]["replicas"], 0);
    assert_eq!(apply.body["metadata"]["ownerReferences"][0]["uid"], "hw7");
    assert!(
        apply
            .query
            .contains("fieldManager=workerpool-operator%2Fdeployment"),
        "{}",
        apply.query
    );
    assert_eq!(
        world.api.event("DeploymentCreated").await,
        "made its Deployment, 0 replicas"
    );
}

#[tokio::test]
async fn waiting_jobs_become_replicas_in_one_step_through_scale_alone() {
    let world = World::with_pool(json!({}))
        .deployed(0)
        .with_jobs(12)
        .await
        .settled()
        .await;
    let action = world.reconcile().await.unwrap();
    assert_eq!(world.api.summary(), ["PATCH hw7/scale"]);
    assert!(
        action != Action::await_change(),
        "the status is told a little later"
    );
    let scale = world.api.only(&Method::PATCH, SCALE);
    assert_eq!(scale.body, count(3));
    assert!(
        scale.query.contains("fieldManager=workerpool-operator%2Fscale"),
        "{}",
        scale.query
    );
    assert_eq!(
        world.api.event("ScaledUp").await,
        "from 0 to 3 replicas: JobsPerReplica (12 waiting, 0 running)"
    );
}

#[tokio::test]
async fn job_of_a_foreign_program_wakes_the_pool_without_a_poll() {
    let mut world = World::with_pool(json!({})).deployed(0).settled().await;
    world.reconcile().await.unwrap();
    world.push(1).await;
    world.woken().await;
    world.reconcile().await.unwrap();
    assert_eq!(world.api.only(&Method::PATCH, SCALE).body["spec"]["replicas"], 1);
}

#[tokio::test]
async fn count_just_written_is_not_written_again_while_the_watch_lags() {
    let world = World::with_pool(json!({}))
        .deployed(0)
        .with_jobs(12)
        .await
        .settled()
        .await;
    world.reconcile().await.unwrap();
    world.reconcile().await.unwrap();
    world.api.only(&Method::PATCH, SCALE);
}

#[tokio::test]
async fn pin_is_obeyed_at_once_though_redis_cannot_be_reached() {
    let spec = json!({"replicas": 4, "redis": {"address": "127.0.0.1:1"}});
    let mut world = World::with_pool(spec).deployed(0);
    world.reconcile().await.unwrap();
    assert_eq!(world.api.only(&Method::PATCH, SCALE).body, count(4));
    let status = world.reconcile_until(&Method::PATCH, "/hw7/status").await.body;
    assert_eq!(status["status"]["mode"], "Pinned");
    assert!(
        conditions(&status).contains(&"ScalingActive False Pinned".to_owned()),
        "{status}"
    );
    assert!(
        conditions(&status).contains(&"Ready True OK".to_owned()),
        "{status}"
    );
}

#[tokio::test]
async fn pool_without_its_pin_follows_the_queue_again_and_says_so() {
    let mut world = World::with_pool(json!({"replicas": 1}))
        .deployed(1)
        .with_jobs(12)
        .await
        .settled()
        .await;
    world.reconcile().await.unwrap();
    world.api.forget_calls();
    world.edit(|pool| pool.spec.replicas = None);
    world.reconcile_until(&Method::PATCH, "/hw7/status").await;
    assert_eq!(world.api.only(&Method::PATCH, SCALE).body, count(3));
    world.api.event("FollowingQueue").await;
}

#[tokio::test]
async fn paused_pool_changes_nothing_but_its_status() {
    let mut world = World::with_pool(json!({"paused": true}))
        .deployed(2)
        .with_jobs(100)
        .await
        .settled()
        .await;
    world.edit(|pool| pool.spec.worker.concurrency = 2);
    world.reconcile().await.unwrap();
    assert_eq!(world.api.summary(), ["PATCH hw7/status"]);
}

#[tokio::test]
async fn edited_count_is_put_right() {
    let mut world = World::with_pool(json!({"replicas": 3}))
        .deployed(3)
        .settled()
        .await;
    world.reconcile().await.unwrap();
    world.api.forget_calls();
    world.deploy(1);
    world.reconcile().await.unwrap();
    assert_eq!(world.api.only(&Method::PATCH, SCALE).body, count(3));
}

#[tokio::test]
async fn changed_template_is_applied_with_the_count_it_has() {
    let mut world = World::with_pool(json!({}))
        .deployed(2)
        .with_jobs(7)
        .await
        .settled()
        .await;
    world.edit(|pool| pool.spec.worker.concurrency = 2);
    world.reconcile().await.unwrap();
    let apply = world.api.only(&Method::PATCH, "/deployments/hw7");
    assert_eq!(apply.body["spec"]["replicas"], 2);
    let env = apply.body["spec"]["template"]["spec"]["containers"][0]["env"]
        .as_array()
        .unwrap();
    assert!(
        env.contains(&json!({"name": "WORKERPOOL_CONCURRENCY", "value": "2"})),
        "{env:?}"
    );
}

#[tokio::test]
async fn changed_template_is_not_applied_again_while_watch_lags() {
    let mut world = World::with_pool(json!({}))
        .deployed(2)
        .with_jobs(12)
        .await
        .settled()
        .await;
    world.edit(|pool| pool.spec.worker.concurrency = 2);
    // The second pass may write a count, and the third must not take that for what was applied.
    for _ in 0..3 {
        world.reconcile().await.unwrap();
    }
    let applied = world.api.summary();
    let applies = applied.iter().filter(|call| *call == "PATCH deployments/hw7");
    assert_eq!(applies.count(), 1, "{applied:?}");
}

#[tokio::test]
async fn restarted_operator_keeps_the_count_for_the_whole_window() {
    let world = World::with_pool(json!({})).deployed(5).settled().await;
    let action = world.reconcile().await.unwrap();
    assert_eq!(
        world.api.summary(),
        ["PATCH hw7/status"],
        "an empty queue asks for 0, but not yet"
    );
    assert_eq!(
        action,
        Action::requeue(Duration::from_secs(30)),
        "the window begins with the first reading"
    );
}

#[tokio::test]
async fn queue_that_cannot_be_read_holds_the_count() {
    let spec = json!({"redis": {"address": "127.0.0.1:1"}});
    let world = World::with_pool(spec).deployed(5).settled().await;
    world.reconcile().await.unwrap();
    assert_eq!(world.api.summary(), ["PATCH hw7/status"]);
    let status = world.api.only(&Method::PATCH, "/hw7/status").body;
    assert!(
        conditions(&status).contains(&"ScalingActive False QueueUnreadable".to_owned()),
        "{status}"
    );
    assert_eq!(status["status"]["desiredReplicas"], 5);
    world.api.event("QueueUnreadable").await;
}

#[tokio::test]
async fn adopted_deployment_is_touched_only_through_its_scale() {
    let spec = json!({"scaleTargetRef": {"name": "web"}});
    let world = World::with_pool(spec)
        .beside("web", 1)
        .with_jobs(12)
        .await
        .settled()
        .await;
    world.reconcile().await.unwrap();
    assert_eq!(world.api.summary(), ["PATCH web/scale"]);
}
