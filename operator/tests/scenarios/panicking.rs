//! What becomes of pools beside one whose reconciliation panics.

use std::{sync::Arc, time::Duration};

use crds::WorkerPool;
use http::Method;
use kube::{ResourceExt, runtime::controller::Action};
use operator::reconcile::{on_error, reconcile};
use serde_json::{Value, json};

use super::{api::until, world::World};

/// Status, reason and message of `Ready`, as the pool's status said it last.
fn ready(world: &World, pool: &WorkerPool) -> Option<[String; 3]> {
    let end = format!("/{}/status", pool.name_any());
    let calls = world.api.calls();
    let last = calls.iter().rfind(|call| call.is(&Method::PATCH, &end))?;
    let conditions = last.body["status"]["conditions"].as_array()?;
    let ready = conditions.iter().find(|one| one["type"] == "Ready")?;
    Some(["status", "reason", "message"].map(|field| ready[field].as_str().unwrap().to_owned()))
}

fn spec(queue: &str) -> Value {
    json!({"queues": [{"name": queue}], "scaling": {"minReplicas": 1}})
}

#[tokio::test]
async fn pool_that_panics_fails_alone_and_goes_on_when_it_can() {
    let mut world = World::with_pool(spec("first"));
    let pools = [
        Arc::clone(&world.pool),
        world.younger_pool("second", spec("second")),
        world.younger_pool("third", spec("third")),
    ];
    let [first, second, third] = &pools;
    let before = world.ctx.memories.of(second);
    before.lock().await.replicas = Some(7);
    world.api.panic_at(Some("/deployments/second"));
    let mut results = Vec::new();
    for pool in &pools {
        results.push(reconcile(Arc::clone(pool), Arc::clone(&world.ctx)).await);
    }
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    let panicked = results[1].as_ref().unwrap_err();
    assert_eq!(panicked.kind(), "panicked");
    for pool in [first, third] {
        let applied = format!("/deployments/{}", pool.name_any());
        world.api.only(&Method::PATCH, &applied);
    }
    let [status, reason, message] = ready(&world, second).unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("False", "InternalError"));
    assert!(message.contains("boom"), "{message}");
    let note = world.api.event("NotReady").await;
    assert!(note.contains("boom"), "{note}");
    let state = world.ctx.memories.of(second);
    let state = state.lock().await;
    assert!(
        state.history.is_none() && state.replicas.is_none(),
        "nothing is left of before"
    );
    drop(state);

    let wait = on_error(second, panicked, &world.ctx);
    assert_eq!(wait, Action::requeue(Duration::from_millis(500)));
    world.api.panic_at(None);
    until(|| async {
        reconcile(Arc::clone(second), Arc::clone(&world.ctx))
            .await
            .unwrap();
        ready(&world, second).filter(|[status, ..]| status == "True")
    })
    .await;
}

#[tokio::test]
async fn panic_while_status_is_written_is_error_of_its_pool_too() {
    let world = World::with_pool(json!({})).deployed(0).settled().await;
    world.api.panic_at(Some("/hw7/status"));
    assert_eq!(world.reconcile().await.unwrap_err().kind(), "panicked");
    world.api.panic_at(None);
    until(|| async {
        world.reconcile().await.unwrap();
        ready(&world, &world.pool).filter(|[status, ..]| status == "True")
    })
    .await;
}
