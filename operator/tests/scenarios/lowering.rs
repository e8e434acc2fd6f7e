//! Down, without cutting a job.

use std::{io::Read, net::TcpStream, time::Duration};

use http::Method;
use operator::scale_down;
use queue::Consumer;
use serde_json::json;

use super::world::{World, pod, replica_set};

const SCALE: &str = "/deployments/hw7/scale";

fn no_window() -> serde_json::Value {
    json!({"scaling": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}})
}

/// A pool of three, of which the pod `busy` has the only job.
async fn one_of_three_is_busy(pods: Vec<serde_json::Value>) -> (World, Consumer) {
    let world = World::with_pool(no_window()).deployed(3).with_jobs(1).await;
    world.api.hold(vec![replica_set("set", 3)], pods);
    let worker = world.busy("busy", 1).await;
    (world.settled().await, worker)
}

#[tokio::test]
async fn idle_pods_are_marked_and_preferred_before_the_count_falls_by_exactly_them() {
    let (mut world, _worker) = one_of_three_is_busy(vec![pod("a"), pod("busy"), pod("c")]).await;

    let scale = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(
        scale.body,
        json!({"metadata": {"resourceVersion": "2000"}, "spec": {"replicas": 1}}),
        "only if nobody wrote since"
    );
    let mut costs: Vec<_> = world
        .api
        .calls()
        .into_iter()
        .filter(|call| call.method == Method::PATCH && call.path.contains("/pods/"))
        .map(|call| (call.path, call.body["metadata"]["annotations"].clone()))
        .collect();
    costs.sort_by(|(one, _), (other, _)| one.cmp(other));
    let cost = json!({"controller.kubernetes.io/pod-deletion-cost": "-1000000"});
    assert_eq!(
        costs,
        [
            ("/api/v1/namespaces/default/pods/a".to_owned(), cost.clone()),
            ("/api/v1/namespaces/default/pods/c".to_owned(), cost),
        ],
        "the victims, and only they"
    );
    // A marked pod claims nothing more.
    world.push(1).await;
    let marked = world
        .busy("a", 0)
        .await
        .claim(&queue::Nonce::fresh(), 1)
        .await
        .unwrap();
    assert!(marked.jobs.is_empty() && marked.quiet_for.is_some(), "{marked:?}");
}

/// A ReplicaSet of three with our label in its template, of which the controller has counted so many as not leaving.
fn seen(fully_labeled: u32) -> serde_json::Value {
    let mut set = replica_set("set", 3);
    set["spec"]["template"] = json!({"metadata": {"labels": {"workerpool.dev/leaving": "false"}}});
    set["status"] = json!({"replicas": 3, "fullyLabeledReplicas": fully_labeled});
    set
}

/// A pod with a cost that was set in this term of leadership.
fn leaving(name: &str, term: u64) -> serde_json::Value {
    let mut pod = pod(name);
    pod["metadata"]["labels"] = json!({"workerpool.dev/leaving": term.to_string()});
    pod["metadata"]["annotations"] = json!({"controller.kubernetes.io/pod-deletion-cost": "-1000000"});
    pod
}

#[tokio::test]
async fn count_does_not_fall_before_the_controller_has_seen_the_costs() {
    let world = World::with_pool(no_window()).deployed(3).with_jobs(1).await;
    world
        .api
        .hold(vec![seen(3)], vec![pod("a"), pod("busy"), pod("c")]);
    let _worker = world.busy("busy", 1).await;
    let mut world = world.settled().await;
    world.reconcile_until(&Method::PATCH, "/pods/c").await;
    for _ in 0..3 {
        world.api.forget_calls();
        world.reconcile_until(&Method::GET, "/replicasets").await;
        let calls = world.api.summary();
        assert!(!calls.contains(&"PATCH hw7/scale".to_owned()), "{calls:?}");
    }
    world
        .api
        .hold(vec![seen(1)], vec![leaving("a", 1), pod("busy"), leaving("c", 1)]);
    let scale = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(scale.body["spec"]["replicas"], 1);
}

#[tokio::test]
async fn cost_that_an_earlier_term_left_on_a_busy_pod_is_cleared_before_others_go() {
    let (mut world, _worker) = one_of_three_is_busy(vec![pod("a"), leaving("busy", 0), pod("c")]).await;
    let scale = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(scale.body["spec"]["replicas"], 1);
    let cleared = world.api.only(&Method::PATCH, "/pods/busy").body;
    assert_eq!(
        cleared["metadata"]["annotations"],
        json!({"controller.kubernetes.io/pod-deletion-cost": null})
    );
}

#[tokio::test]
async fn costs_of_earlier_terms_are_cleared_only_as_they_were_seen() {
    let world = World::with_pool(no_window());
    let mut left = leaving("a", 6);
    left["metadata"]["resourceVersion"] = json!("17");
    world.api.hold(Vec::new(), vec![left]);
    // This term has written to the pod meanwhile.
    world.api.refuse_once("/pods/a", 409);
    scale_down::clear_leftovers(world.ctx.client.clone(), 7, Duration::ZERO).await;
    let calls = world.api.calls();
    let query = &calls[0].query;
    assert!(
        query.contains("workerpool.dev%2Fleaving+notin+%28false%2C7%29"),
        "{query}"
    );
    assert_eq!(calls[1].body["metadata"]["resourceVersion"], "17");
    assert!(calls.len() > 2, "it is looked again whether any are left");
}

#[tokio::test]
async fn costs_of_earlier_terms_are_cleared_though_the_api_server_refused_it_before() {
    let world = World::with_pool(no_window());
    world.api.hold(Vec::new(), vec![leaving("a", 6)]);
    world.api.refuse_once("/pods", 500);
    world.api.refuse_once("/pods/a", 500);
    scale_down::clear_leftovers(world.ctx.client.clone(), 7, Duration::from_millis(1)).await;
    let calls = world.api.calls();
    let tried = calls.iter().filter(|call| call.path.ends_with("/pods/a")).count();
    assert!(tried > 1, "refused, and tried again: {calls:?}");
}

#[tokio::test]
async fn empty_pool_goes_to_zero_without_costs() {
    let world = World::with_pool(no_window()).deployed(2);
    world
        .api
        .hold(vec![replica_set("set", 2)], vec![pod("a"), pod("b")]);
    let mut world = world.settled().await;
    let scale = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(scale.body["spec"]["replicas"], 0);
    assert!(
        !world.api.calls().iter().any(|call| call.path.contains("/pods/")),
        "all go: nothing to prefer"
    );
}

#[tokio::test]
async fn busy_pods_hold_the_count_and_the_reason_says_so() {
    let world = World::with_pool(no_window()).deployed(2).with_jobs(2).await;
    world
        .api
        .hold(vec![replica_set("set", 2)], vec![pod("a"), pod("b")]);
    let (_a, _b) = (world.busy("a", 1).await, world.busy("b", 1).await);
    let world = world.settled().await;
    world.reconcile().await.unwrap();
    let status = world.api.only(&Method::PATCH, "/hw7/status").body;
    let active = &status["status"]["conditions"][3];
    assert_eq!(
        (active["type"].as_str(), active["reason"].as_str()),
        (Some("ScalingActive"), Some("BusyWorkers"))
    );
    assert_eq!(status["status"]["desiredReplicas"], 1);
    assert_eq!(world.api.summary(), ["PATCH hw7/status"]);
    world.api.event("BusyWorkers").await;
}

#[tokio::test]
async fn busy_pods_hold_the_count_for_no_longer_than_the_drain_timeout() {
    let spec = json!({"scaling": {"behavior": {"scaleDown": {
        "stabilizationWindowSeconds": 0, "drainTimeoutSeconds": 1,
    }}}});
    let world = World::with_pool(spec).deployed(2).with_jobs(2).await;
    world
        .api
        .hold(vec![replica_set("set", 2)], vec![pod("a"), pod("b")]);
    let (_a, _b) = (world.busy("a", 1).await, world.busy("b", 1).await);
    let mut world = world.settled().await;
    world.reconcile().await.unwrap();
    assert!(
        !world.api.summary().contains(&"PATCH hw7/scale".to_owned()),
        "{:?}",
        world.api.summary()
    );
    let scale = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(scale.body["spec"]["replicas"], 1);
    world.api.event("DrainTimeout").await;
}

#[tokio::test]
async fn pinned_down_pool_keeps_its_busy_pods_too() {
    let world = World::with_pool(json!({"replicas": 0}))
        .deployed(2)
        .with_jobs(1)
        .await;
    world
        .api
        .hold(vec![replica_set("set", 2)], vec![pod("a"), pod("b")]);
    let _a = world.busy("a", 1).await;
    let mut world = world.settled().await;
    let scale = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(scale.body["spec"]["replicas"], 1);
}

#[tokio::test]
async fn nothing_is_lowered_in_part_in_the_middle_of_a_roll_out() {
    let (world, _worker) = one_of_three_is_busy(vec![pod("a"), pod("busy"), pod("c")]).await;
    world.api.hold(
        vec![replica_set("set", 2), replica_set("old", 1)],
        vec![pod("a"), pod("busy"), pod("c")],
    );
    world.reconcile().await.unwrap();
    let status = world.api.only(&Method::PATCH, "/hw7/status").body;
    assert_eq!(status["status"]["conditions"][3]["reason"], "RollingOut");
    assert!(!world.api.summary().contains(&"PATCH hw7/scale".to_owned()));
}

#[tokio::test]
async fn pods_of_others_with_the_same_labels_are_not_counted() {
    let world = World::with_pool(no_window()).deployed(1);
    let mut stranger = pod("stranger");
    stranger["metadata"]["ownerReferences"] = json!([]);
    world
        .api
        .hold(vec![replica_set("set", 1)], vec![stranger, pod("a")]);
    let mut world = world.settled().await;
    let scale = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(scale.body["spec"]["replicas"], 0);
    assert!(!world.api.calls().iter().any(|call| call.path.contains("/pods/")));
}

#[tokio::test]
async fn count_that_somebody_else_wrote_meanwhile_is_looked_at_again() {
    let world = World::with_pool(no_window()).deployed(2);
    world
        .api
        .hold(vec![replica_set("set", 2)], vec![pod("a"), pod("b")]);
    let mut world = world.settled().await;
    world.api.refuse_once(SCALE, 409);
    world.reconcile_until(&Method::PATCH, SCALE).await;
    world.api.forget_calls();
    world.reconcile_until(&Method::PATCH, SCALE).await;
}

/// How long the worker in this pod is told to take nothing, once that is longer than the mark of a scale-down.
async fn kept_quiet(world: &World, pod: &str) -> Duration {
    let worker = world.busy(pod, 0).await;
    super::api::until(|| async {
        let claims = worker.claim(&queue::Nonce::fresh(), 1).await.unwrap();
        claims.quiet_for.filter(|time| *time > Duration::from_secs(31))
    })
    .await
}

#[tokio::test]
async fn pods_that_go_keep_their_marks_for_longer_than_their_grace_time() {
    let mut slow = pod("a");
    slow["spec"]["terminationGracePeriodSeconds"] = json!(100);
    let (mut world, _worker) = one_of_three_is_busy(vec![slow, pod("busy"), pod("c")]).await;
    world.reconcile_until(&Method::PATCH, SCALE).await;
    world.push(1).await;
    let time = kept_quiet(&world, "a").await;
    assert!(time > Duration::from_secs(100), "{time:?}");
}

/// Reconciles until the API server has answered a lower count with this code.
async fn lowering_fails(world: &World, code: u16) {
    world.api.refuse_once(SCALE, code);
    super::api::until(|| async { world.reconcile().await.err() }).await;
    world.api.only(&Method::PATCH, SCALE);
}

#[tokio::test]
async fn pods_work_on_when_lower_count_is_refused() {
    let (world, _worker) = one_of_three_is_busy(vec![pod("a"), pod("busy"), pod("c")]).await;
    lowering_fails(&world, 403).await;
    let calls = world.api.calls();
    let costs = calls.iter().filter(|call| call.is(&Method::PATCH, "/pods/a"));
    let costs: Vec<_> = costs
        .map(|call| &call.body["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"])
        .collect();
    assert_eq!(costs, [&json!("-1000000"), &json!(null)], "given, and taken back");
    world.push(1).await;
    let worker = world.busy("a", 0).await;
    super::api::until(|| async {
        let claims = worker.claim(&queue::Nonce::fresh(), 1).await.unwrap();
        (!claims.jobs.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn pods_keep_marks_when_nobody_knows_whether_count_fell() {
    let (world, _worker) = one_of_three_is_busy(vec![pod("a"), pod("busy"), pod("c")]).await;
    lowering_fails(&world, 500).await;
    kept_quiet(&world, "a").await;
}

#[tokio::test]
async fn pods_that_stay_as_the_count_rose_again_take_jobs_again() {
    let (mut world, _worker) = one_of_three_is_busy(vec![pod("a"), pod("busy"), pod("c")]).await;
    world.reconcile_until(&Method::PATCH, SCALE).await;
    world.deploy(1);
    world.push(14).await;
    kept_quiet(&world, "a").await;
    world.api.forget_calls();
    let scale = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(scale.body["spec"]["replicas"], 3);
    world.deploy(3);
    let worker = world.busy("a", 0).await;
    super::api::until(|| async {
        world.reconcile().await.unwrap();
        let claims = worker.claim(&queue::Nonce::fresh(), 1).await.unwrap();
        (!claims.jobs.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn demand_that_returns_lifts_marks_and_clears_costs() {
    let (mut world, _worker) = one_of_three_is_busy(vec![pod("a"), pod("busy"), pod("c")]).await;
    world.reconcile_until(&Method::PATCH, "/pods/c").await;
    world.api.forget_calls();

    world.push(14).await;
    world.reconcile_until(&Method::PATCH, "/pods/c").await;
    let cleared = world.api.only(&Method::PATCH, "/pods/c").body;
    assert_eq!(
        cleared["metadata"]["annotations"],
        json!({"controller.kubernetes.io/pod-deletion-cost": null})
    );
    let worker = world.busy("a", 0).await;
    super::api::until(|| async {
        let claims = worker.claim(&queue::Nonce::fresh(), 1).await.unwrap();
        (!claims.jobs.is_empty()).then_some(())
    })
    .await;
    assert!(
        !world.api.summary().contains(&"PATCH hw7/scale".to_owned()),
        "{:?}",
        world.api.summary()
    );
}

#[tokio::test]
async fn marks_that_are_told_of_after_the_scale_down_was_given_up_are_lifted() {
    let world = World::with_pool(no_window()).deployed(2);
    world
        .api
        .hold(vec![replica_set("set", 2)], vec![pod("a"), pod("b")]);
    let mut world = world.settled().await;
    world.reconcile().await.unwrap();
    world.edit(|pool| pool.spec.replicas = Some(2));
    world.reconcile().await.unwrap();
    // The answer, whenever it comes.
    world.woken().await;
    world.reconcile().await.unwrap();

    world.push(1).await;
    let worker = world.busy("a", 0).await;
    super::api::until(|| async {
        let claims = worker.claim(&queue::Nonce::fresh(), 1).await.unwrap();
        (!claims.jobs.is_empty()).then_some(())
    })
    .await;
}

/// A pool of two, of which the foreign worker in the pod `busy` has taken a job and the one in `idle` waits for one.
async fn with_foreign_workers() -> (World, Vec<TcpStream>) {
    let world = World::with_pool(no_window()).deployed(2);
    let at = |name: &str, address: &str| {
        let mut pod = pod(name);
        pod["status"]["podIP"] = json!(address);
        pod
    };
    world.api.hold(
        vec![replica_set("set", 2)],
        vec![at("busy", "127.0.0.3"), at("idle", "127.0.0.2")],
    );
    let mut busy = world.foreign_worker("127.0.0.3").await;
    world.push(1).await;
    busy.read_exact(&mut [0]).unwrap();
    let idle = world.foreign_worker("127.0.0.2").await;
    (world.settled().await, vec![busy, idle])
}

#[tokio::test]
async fn foreign_worker_that_works_is_spared() {
    let (mut world, _connections) = with_foreign_workers().await;
    let scale = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(scale.body["spec"]["replicas"], 1);
    let calls = world.api.summary();
    assert!(calls.contains(&"PATCH pods/idle".to_owned()), "{calls:?}");
    assert!(!calls.contains(&"PATCH pods/busy".to_owned()), "{calls:?}");
}

#[tokio::test]
async fn foreign_worker_that_takes_a_job_at_the_last_moment_is_spared_too() {
    let (mut world, mut connections) = with_foreign_workers().await;
    world.reconcile_until(&Method::PATCH, "/pods/idle").await;
    world.push(1).await;
    connections[1].read_exact(&mut [0]).unwrap();
    world.api.forget_calls();
    world.reconcile_until(&Method::PATCH, "/pods/idle").await;
    let cleared = world.api.only(&Method::PATCH, "/pods/idle").body;
    assert_eq!(
        cleared["metadata"]["annotations"],
        json!({"controller.kubernetes.io/pod-deletion-cost": null})
    );
    assert!(
        !world.api.summary().contains(&"PATCH hw7/scale".to_owned()),
        "{:?}",
        world.api.summary()
    );
}
