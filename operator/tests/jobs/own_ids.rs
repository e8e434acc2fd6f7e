//! Jobs with an id of their user's choice: what is created again is not run again.

use queue::{Consumer, Ended, Ending, Identity, JobResult, Nonce, Queue, Terms};
use serde_json::{Value, json};

use crate::{World, api::eventually};

const ID: &str = "report-2026-11";

fn spec(start: &str) -> Value {
    json!({"poolName": "pool", "id": ID, "start": start})
}

/// A worker of the pool's queue.
fn worker(world: &World) -> Consumer {
    let identity = Identity {
        nonce: Nonce::fresh(),
        pod_uid: None,
        pod_name: None,
        ip: "10.0.0.7".to_owned(),
        host: None,
    };
    let queue = Queue::new("queue".parse().unwrap());
    Consumer::new(&world.redis.server(), queue, identity, Terms::default()).unwrap()
}

/// Runs the one job of this id; it gives a result.
async fn run(worker: &Consumer) {
    let waiting = worker
        .claim(&Nonce::fresh(), Consumer::MAX_SLOTS)
        .await
        .unwrap()
        .jobs;
    let named: Vec<_> = waiting.iter().filter(|job| job.job.id.as_str() == ID).collect();
    assert_eq!(named.len(), 1, "{waiting:?}");
    let result = Some(JobResult::new("text/plain", "done").unwrap());
    let ended = Ended {
        id: named[0].job.id.clone(),
        token: named[0].token.clone(),
        how: Ending::Complete { result },
    };
    worker.finish(&[ended]).await.unwrap();
}

fn reason(world: &World, name: &str, condition: &str) -> Option<String> {
    let status = world.api.status(name);
    let conditions = status["conditions"].as_array()?;
    let found = conditions.iter().find(|found| found["type"] == condition)?;
    Some(found["reason"].as_str()?.to_owned())
}

#[tokio::test]
async fn job_created_again_with_its_id_is_complete_and_not_run_again() {
    let world = World::new().await;
    world.api.create_as("report", "uid-1", spec("november"));
    world.is_submitted("report").await;
    let worker = worker(&world);
    run(&worker).await;
    let is_complete = || reason(&world, "report", "Complete").is_some();
    eventually("the first is complete", is_complete).await;

    // Its time to live ends, and a GitOps tool creates it again.
    world.api.remove("report");
    world.api.create_as("report", "uid-2", spec("november"));
    eventually("the second is complete", is_complete).await;
    let status = world.api.status("report");
    assert_eq!(status["attempts"], 1);
    assert_eq!(status["result"]["text"], "done");

    // Another job under the same id is a mistake, and is reported as one.
    world.api.create_as("other", "uid-3", spec("december"));
    let refused = || reason(&world, "other", "Failed").as_deref() == Some("IdTaken");
    eventually("the other is refused", refused).await;
    assert_eq!(reason(&world, "report", "Complete").as_deref(), Some("Completed"));
}

#[tokio::test]
async fn jobs_that_share_an_id_at_once_both_show_its_end() {
    let world = World::new().await;
    world.api.create_as("one", "uid-1", spec("november"));
    world.api.create_as("two", "uid-2", spec("november"));
    world.is_submitted("one").await;
    world.is_submitted("two").await;
    run(&worker(&world)).await;
    for name in ["one", "two"] {
        eventually("both are complete", || reason(&world, name, "Complete").is_some()).await;
    }
}
