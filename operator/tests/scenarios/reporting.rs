//! When status is written, and when not.

use http::Method;
use kube::runtime::controller::Action;
use serde_json::{Value, json};

use super::world::World;

const STATUS: &str = "/hw7/status";

#[tokio::test]
async fn nothing_new_means_no_call_at_all() {
    let world = World::with_pool(json!({})).deployed(0).settled().await;
    world.reconcile().await.unwrap();
    world.api.forget_calls();
    assert_eq!(world.reconcile().await.unwrap(), Action::await_change());
    assert!(world.api.summary().is_empty());
}

#[tokio::test]
async fn depth_alone_waits_for_its_time() {
    let mut world = World::with_pool(json!({"scaling": {"jobsPerReplica": 100}}))
        .deployed(1)
        .with_jobs(1)
        .await
        .settled()
        .await;
    world.reconcile().await.unwrap();
    world.api.forget_calls();
    world.push(1).await;
    world.woken().await;
    let action = world.reconcile().await.unwrap();
    assert!(world.api.summary().is_empty(), "{:?}", world.api.summary());
    assert!(action != Action::await_change(), "it is written later");
}

#[tokio::test]
async fn status_tells_depth_and_counts() {
    let world = World::with_pool(json!({}))
        .deployed(2)
        .with_jobs(7)
        .await
        .settled()
        .await;
    world.reconcile().await.unwrap();
    let call = world.api.only(&Method::PATCH, "/hw7/status");
    assert!(
        call.query.contains("fieldManager=workerpool-operator%2Fstatus"),
        "{}",
        call.query
    );
    let status = &call.body["status"];
    assert_eq!(
        status["queue"],
        json!({"waiting": 7, "running": 0, "delayed": 0, "dead": 0})
    );
    assert_eq!(status["replicas"], 2);
    assert_eq!(status["readyReplicas"], 2);
    assert_eq!(status["desiredReplicas"], 2);
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(status["selector"], "workerpool.dev/pool=hw7");
}

#[tokio::test]
async fn data_at_risk_is_told_in_plain_words_and_the_pool_stays_ready() {
    // A test's server keeps no append-only file.
    let world = World::with_pool(json!({})).deployed(0).settled().await;
    world.reconcile().await.unwrap();
    let status = &world.api.only(&Method::PATCH, "/hw7/status").body["status"];
    let condition = |kind: &str| {
        let conditions = status["conditions"].as_array().unwrap();
        let found = conditions.iter().find(|condition| condition["type"] == kind);
        found.unwrap().clone()
    };
    let safe = condition("DataSafe");
    assert_eq!(
        (&safe["status"], &safe["reason"]),
        (&json!("False"), &json!("AtRisk"))
    );
    assert!(safe["message"].as_str().unwrap().contains("appendonly"), "{safe}");
    assert_eq!(condition("Ready")["status"], "True");
    let event = world.api.event("DataAtRisk").await;
    assert!(event.contains("appendonly"), "{event}");
}

/// What the status says of a pool with this spec, and that the event is told.
async fn halted(spec: Value, event: &str) -> (Value, String) {
    let mut world = World::with_pool(spec).deployed(2);
    let call = world.reconcile_until(&Method::PATCH, STATUS).await;
    let status = call.body["status"].clone();
    let note = world.api.event(event).await;
    (status, note)
}

fn scaling_active(status: &Value) -> (&str, &str) {
    let conditions = status["conditions"].as_array().unwrap();
    let found = conditions
        .iter()
        .find(|one| one["type"] == "ScalingActive")
        .unwrap();
    (
        found["status"].as_str().unwrap(),
        found["message"].as_str().unwrap(),
    )
}

#[tokio::test]
async fn pool_that_somebody_halts_says_so_in_status_and_event_from_the_beginning() {
    let (paused, note) = halted(json!({"paused": true}), "Paused").await;
    assert_eq!(paused["mode"], "Paused");
    assert_eq!(scaling_active(&paused), ("False", note.as_str()));

    let (pinned, note) = halted(json!({"replicas": 2}), "Pinned").await;
    assert_eq!(pinned["mode"], "Pinned");
    assert_eq!(scaling_active(&pinned), ("False", note.as_str()));

    let behavior = json!({"scaleDown": {"selectPolicy": "Disabled"}});
    let (one_way, note) = halted(json!({"scaling": {"behavior": behavior}}), "ScalingDisabled").await;
    assert_eq!(
        (&one_way["mode"], &one_way["decision"]["disabled"]),
        (&json!("Queue"), &json!("ScaleDown"))
    );
    let (_, message) = scaling_active(&one_way);
    assert!(message.ends_with(&format!("; {note}")), "{message}");
}

fn version_of(call: &super::api::Call) -> Option<&str> {
    call.body["metadata"]["resourceVersion"].as_str()
}

#[tokio::test]
async fn status_is_written_only_upon_the_version_that_was_seen_last() {
    let mut world = World::with_pool(json!({})).deployed(0).settled().await;
    world.edit(|pool| pool.metadata.resource_version = Some("700".to_owned()));
    // Somebody wrote meanwhile, another operator perhaps.
    world.api.refuse_once(STATUS, 409);
    world.reconcile().await.unwrap();
    assert_eq!(version_of(&world.api.only(&Method::PATCH, STATUS)), Some("700"));

    // It is written once that is seen, and then upon the version that this gave.
    world.edit(|pool| pool.metadata.resource_version = Some("800".to_owned()));
    world.api.forget_calls();
    world.reconcile().await.unwrap();
    assert_eq!(version_of(&world.api.only(&Method::PATCH, STATUS)), Some("800"));
    world.api.forget_calls();
    world.edit(|pool| pool.spec.paused = true);
    world.reconcile().await.unwrap();
    assert_eq!(version_of(&world.api.only(&Method::PATCH, STATUS)), Some("3000"));
}

/// A pool whose status this operator has written as version 3000, and that nothing happens to.
async fn at_rest() -> World {
    let mut world = World::with_pool(json!({})).deployed(0).settled().await;
    world.edit(|pool| pool.metadata.resource_version = Some("700".to_owned()));
    world.reconcile().await.unwrap();
    let written = world.api.only(&Method::PATCH, STATUS).body["status"].clone();
    world.edit(|pool| {
        pool.status = serde_json::from_value(written).unwrap();
        pool.metadata.generation = Some(1);
        pool.metadata.resource_version = Some("3000".to_owned());
    });
    world.api.forget_calls();
    world
}

#[tokio::test]
async fn status_that_somebody_else_wrote_over_it_is_put_right() {
    let mut world = at_rest().await;
    world.reconcile().await.unwrap();
    assert!(world.api.summary().is_empty(), "{:?}", world.api.summary());

    // A label, say.
    world.pool_changes_to("3001", |_| {});
    world.reconcile().await.unwrap();
    assert!(world.api.summary().is_empty(), "{:?}", world.api.summary());

    // The last word of an operator that led before, which hung for a while.
    world.pool_changes_to("3002", |pool| {
        pool.status.as_mut().unwrap().desired_replicas = Some(9);
    });
    world.reconcile().await.unwrap();
    let call = world.api.only(&Method::PATCH, STATUS);
    assert_eq!(call.body["status"]["desiredReplicas"], 0);
    assert_eq!(version_of(&call), Some("3002"));
}

#[tokio::test]
async fn nothing_is_said_before_the_first_reading_and_nothing_again_after_a_restart() {
    let mut world = World::with_pool(json!({})).deployed(0);
    world.edit(|pool| pool.metadata.generation = Some(1));
    world.reconcile().await.unwrap();
    assert!(world.api.summary().is_empty(), "{:?}", world.api.summary());
    let world = world.settled().await;
    world.reconcile().await.unwrap();
    let said = world.api.only(&Method::PATCH, STATUS).body["status"].clone();

    let mut again = World::with_pool(json!({})).deployed(0);
    again.edit(|pool| {
        pool.metadata.generation = Some(1);
        pool.status = serde_json::from_value(said).unwrap();
    });
    again.reconcile().await.unwrap();
    while again.ctx.queues.view(&again.pool_ref()).is_unread() {
        again.woken().await;
    }
    // Whatever else is not known yet.
    again.reconcile().await.unwrap();
    assert!(again.api.summary().is_empty(), "{:?}", again.api.summary());
}

#[tokio::test]
async fn change_is_published_once_though_status_is_refused_several_times() {
    let spec = json!({"redis": {"address": "127.0.0.1:1"}});
    let mut world = World::with_pool(spec).deployed(5).settled().await;
    for _ in 0..3 {
        world.api.refuse_once(STATUS, 500);
        world.reconcile().await.unwrap_err();
    }
    world.reconcile().await.unwrap();
    // Events are published in their order: what comes before this one is there.
    world.edit(|pool| pool.spec.paused = true);
    world.reconcile().await.unwrap();
    world.api.event("Paused").await;
    assert_eq!(world.api.count_events("QueueUnreadable"), 1);
}

#[tokio::test]
async fn first_count_of_new_pool_is_not_blamed_on_its_queue() {
    let mut world = World::with_pool(json!({"scaling": {"minReplicas": 1}}));
    world.reconcile().await.unwrap();
    let note = world.api.event("ScaledUp").await;
    assert_eq!(
        note,
        "from 0 to 1 replicas: NotReadYet (the queue has not been read yet; a new pool begins with minReplicas)"
    );
    let decisions = "workerpool_operator_decisions_total{reason=\"NotReadYet\"} 1";
    assert!(world.scrape().contains(decisions), "{}", world.scrape());
    world.deploy(1);
    let status = world.reconcile_until(&Method::PATCH, STATUS).await.body["status"].clone();
    let said = status.to_string();
    assert!(said.contains("MinReplicas"), "{said}");
    assert!(!said.contains("QueueUnreadable"), "{said}");
    assert_eq!(world.api.count_events("QueueUnreadable"), 0);
}
