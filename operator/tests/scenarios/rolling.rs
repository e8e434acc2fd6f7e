//! A roll-out that is stuck, as by a bad image, does not keep pods that are no longer wanted.

use std::time::Duration;

use http::Method;
use kube::runtime::controller::Action;
use operator::targets::Kind;
use queue::{Consumer, Ended, Ending, Finish, Nonce};
use serde_json::{Value, json};

use super::{
    api::until,
    world::{World, pod, replica_set},
};

const SCALE: &str = "/deployments/hw7/scale";

fn of_set(set: &str, mut pod: Value) -> Value {
    pod["metadata"]["ownerReferences"][0]["uid"] = json!(set);
    pod
}

/// A pod of the new ReplicaSet whose image cannot be pulled.
fn stuck(name: &str) -> Value {
    let mut pod = of_set("new", pod(name));
    pod["status"] = json!({"phase": "Pending"});
    pod
}

/// Shows the watch the pool's Deployment of two, with one pod more of a template that does not start.
fn roll_out(world: &mut World) {
    let mut deployment = world.built_deployment(None);
    deployment["metadata"]["uid"] = json!("deployment");
    deployment["metadata"]["resourceVersion"] = json!("2000");
    deployment["spec"]["replicas"] = json!(2);
    deployment["status"] = json!({"replicas": 3, "readyReplicas": 2, "updatedReplicas": 1});
    world.watch_shows(Kind::Deployment, deployment);
}

fn sets() -> Vec<Value> {
    vec![replica_set("old", 2), replica_set("new", 1)]
}

fn pods() -> Vec<Value> {
    vec![of_set("old", pod("a")), of_set("old", pod("b")), stuck("c")]
}

/// A pool that is pinned to 0 in the middle of a roll-out that is stuck; so many jobs wait.
async fn pinned_to_zero(jobs: usize) -> World {
    let mut world = World::with_pool(json!({"replicas": 0}));
    roll_out(&mut world);
    world.api.hold(sets(), pods());
    if jobs > 0 {
        world.push(jobs).await;
    }
    world
}

/// Whether a count or a deletion cost is written.
fn is_write(call: &str) -> bool {
    call == "PATCH hw7/scale" || call.starts_with("PATCH pods/")
}

fn wrote_count(world: &World) -> bool {
    world.api.summary().contains(&"PATCH hw7/scale".to_owned())
}

/// Waits, as the controller does, until the worker is told to take nothing.
async fn drained(world: &World, worker: &Consumer) {
    until(|| async {
        world.reconcile().await.unwrap();
        let claims = worker.claim(&Nonce::fresh(), 1).await.unwrap();
        assert!(claims.jobs.is_empty(), "it took a job: {claims:?}");
        claims.quiet_for
    })
    .await;
}

/// Waits until it is known which pods hold nothing: then they are asked again after a second.
async fn answered(world: &World) {
    until(|| async {
        let action = world.reconcile().await.unwrap();
        (action == Action::requeue(Duration::from_secs(1))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn stuck_roll_out_goes_to_zero_when_all_pods_are_idle() {
    let mut world = pinned_to_zero(0).await.settled().await;
    let scale = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(
        scale.body,
        json!({"metadata": {"resourceVersion": "2000"}, "spec": {"replicas": 0}})
    );
    let calls = world.api.summary();
    assert!(
        !calls.iter().any(|call| call.starts_with("PATCH pods/")),
        "{calls:?}"
    );
}

#[tokio::test]
async fn stuck_roll_out_goes_to_zero_without_demand() {
    let spec = json!({"scaling": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}});
    let mut world = World::with_pool(spec);
    roll_out(&mut world);
    world.api.hold(sets(), pods());
    let mut world = world.settled().await;
    let scale = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(scale.body["spec"]["replicas"], 0);
}

#[tokio::test]
async fn busy_old_pod_is_drained_and_not_cut_in_stuck_roll_out() {
    let world = pinned_to_zero(3).await;
    let busy = world.busy("a", 0).await;
    let job = busy.claim(&Nonce::fresh(), 1).await.unwrap().jobs.remove(0);
    let mut world = world.settled().await;
    let idle = world.busy("b", 0).await;
    drained(&world, &idle).await;
    // Its lane asks for more all the time: the pin is obeyed though jobs wait.
    drained(&world, &busy).await;
    for _ in 0..3 {
        world.reconcile_until(&Method::GET, "/replicasets").await;
        let calls = world.api.summary();
        assert!(!calls.iter().any(|call| is_write(call)), "{calls:?}");
        world.api.forget_calls();
    }
    let ended = Ended {
        id: job.job.id,
        token: job.token,
        how: Ending::Complete { result: None },
    };
    assert_eq!(busy.finish(&[ended]).await.unwrap(), [Finish::Finished]);
    let scale = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(scale.body["spec"]["replicas"], 0);
}

#[tokio::test]
async fn demand_that_returns_lifts_marks_in_stuck_roll_out() {
    let world = pinned_to_zero(3).await;
    let _busy = world.busy("a", 1).await;
    let mut world = world.settled().await;
    let idle = world.busy("b", 0).await;
    drained(&world, &idle).await;
    answered(&world).await;
    // In part nothing is lowered, and nobody waits for them to become idle.
    world.edit(|pool| pool.spec.replicas = Some(1));
    until(|| async {
        world.reconcile().await.unwrap();
        let claims = idle.claim(&Nonce::fresh(), 1).await.unwrap();
        (!claims.jobs.is_empty()).then_some(())
    })
    .await;
    assert!(!wrote_count(&world), "{:?}", world.api.summary());
}

#[tokio::test]
async fn pods_just_being_made_are_awaited_in_stuck_roll_out() {
    let world = pinned_to_zero(0).await;
    world
        .api
        .hold(vec![replica_set("old", 2), replica_set("new", 2)], pods());
    let mut world = world.settled().await;
    world.reconcile_until(&Method::GET, "/pods").await;
    assert!(!wrote_count(&world), "{:?}", world.api.summary());
    // It has come, and works.
    let mut all = pods();
    all.push(of_set("new", pod("d")));
    world
        .api
        .hold(vec![replica_set("old", 2), replica_set("new", 2)], all);
    world.push(1).await;
    let _busy = world.busy("d", 1).await;
    world.api.forget_calls();
    for _ in 0..2 {
        world.reconcile_until(&Method::GET, "/replicasets").await;
        assert!(!wrote_count(&world), "{:?}", world.api.summary());
        world.api.forget_calls();
    }
}

#[tokio::test]
async fn missing_pods_do_not_keep_stuck_roll_out() {
    let world = pinned_to_zero(0).await;
    // A quota allows no more.
    world
        .api
        .hold(vec![replica_set("old", 2), replica_set("new", 2)], pods());
    let mut world = world.settled().await;
    let scale = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(scale.body["spec"]["replicas"], 0);
}

#[tokio::test]
async fn drain_timeout_ends_wait_for_busy_pod_in_stuck_roll_out() {
    let spec = json!({"replicas": 0, "scaling": {"behavior": {"scaleDown": {"drainTimeoutSeconds": 2}}}});
    let mut world = World::with_pool(spec);
    roll_out(&mut world);
    world.api.hold(sets(), pods());
    let world = world.with_jobs(1).await;
    let _busy = world.busy("a", 1).await;
    let mut world = world.settled().await;
    world.reconcile().await.unwrap();
    assert!(!wrote_count(&world), "{:?}", world.api.summary());
    let scale = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(scale.body["spec"]["replicas"], 0);
    world.api.event("DrainTimeout").await;
}

#[tokio::test]
async fn pool_with_stuck_roll_out_says_that_workers_are_busy() {
    let world = pinned_to_zero(1).await;
    let _busy = world.busy("a", 1).await;
    let world = world.settled().await;
    let reason = until(|| async {
        world.reconcile().await.unwrap();
        let calls = world.api.calls();
        let status = calls
            .iter()
            .rev()
            .find(|call| call.is(&Method::PATCH, "/hw7/status"))?;
        let active = &status.body["status"]["conditions"][3];
        assert_eq!(active["type"], "ScalingActive");
        (active["reason"] == "BusyWorkers").then(|| active["message"].clone())
    });
    tokio::time::timeout(Duration::from_secs(10), reason)
        .await
        .unwrap();
}
