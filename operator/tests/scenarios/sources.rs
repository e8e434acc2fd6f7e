//! Pools over queues of other systems, and over several.

use std::time::{Duration, Instant};

use http::Method;
use queue::test_server::{RedisCluster, RedisServer};
use serde_json::{Value, json};

use super::world::{World, pod, replica_set};

/// A master is dead to the others after a second, and its replica is elected within some more; the machine may be busy.
const FAILOVER: Duration = Duration::from_secs(30);

const SCALE: &str = "/deployments/web/scale";

/// Two of RQ's queues, the second of which also says what runs.
fn two(scaling: Value) -> Value {
    json!({
        "queues": [
            {"name": "mails", "source": {"waiting": [{"key": "rq:queue:mails"}]}},
            {"name": "thumbs", "weight": 2, "source": {
                "waiting": [{"key": "rq:queue:thumbs"}],
                "running": [{"type": "SortedSet", "key": "rq:wip:thumbs"}],
            }},
        ],
        "scaling": scaling,
        "scaleTargetRef": {"name": "web"},
    })
}

async fn push(world: &World, key: &str, count: usize) {
    let jobs: Vec<_> = (0..count).map(|n| n.to_string()).collect();
    ask(world, redis::cmd("RPUSH").arg(key).arg(jobs)).await;
}

async fn ask(world: &World, command: &redis::Cmd) {
    let client = redis::Client::open(("127.0.0.1", world.redis.port())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let _: redis::Value = command.query_async(&mut connection).await.unwrap();
}

async fn status(world: &mut World) -> Value {
    let call = world.reconcile_until(&Method::PATCH, "/hw7/status").await;
    call.body["status"].clone()
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let conditions = status["conditions"].as_array().unwrap();
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
        .unwrap()
}

#[tokio::test]
async fn demand_of_two_queues_is_added_up_with_their_weights_and_each_is_told() {
    let world = World::with_pool(two(json!({}))).beside("web", 0);
    push(&world, "rq:queue:mails", 7).await;
    push(&world, "rq:queue:thumbs", 4).await;
    let mut world = world.settled().await;
    world.reconcile().await.unwrap();
    // 7 + 2 · 4, of which 5 make a replica.
    assert_eq!(world.api.only(&Method::PATCH, SCALE).body["spec"]["replicas"], 3);
    assert_eq!(
        world.api.event("ScaledUp").await,
        "from 0 to 3 replicas: JobsPerReplica (11 waiting, 0 running)"
    );
    let status = status(&mut world).await;
    assert_eq!(status["queue"]["waiting"], 11);
    let queues = json!([
        {"name": "mails", "waiting": 7, "running": 0},
        {"name": "thumbs", "waiting": 4, "running": 0},
    ]);
    assert_eq!(status["queues"], queues);
    assert_eq!(status["decision"]["queue"], Value::Null);
}

#[tokio::test]
async fn with_combine_max_the_fullest_queue_decides_and_is_named() {
    let world = World::with_pool(two(json!({"combine": "Max"}))).beside("web", 0);
    push(&world, "rq:queue:mails", 7).await;
    push(&world, "rq:queue:thumbs", 4).await;
    let mut world = world.settled().await;
    world.reconcile().await.unwrap();
    assert_eq!(world.api.only(&Method::PATCH, SCALE).body["spec"]["replicas"], 2);
    assert_eq!(
        world.api.event("ScaledUp").await,
        "from 0 to 2 replicas: JobsPerReplica by the queue thumbs (11 waiting, 0 running)"
    );
    assert_eq!(status(&mut world).await["decision"]["queue"], "thumbs");
}

#[tokio::test]
async fn push_to_any_of_them_wakes_the_pool_without_a_poll() {
    let mut world = World::with_pool(two(json!({}))).beside("web", 0).settled().await;
    world.reconcile().await.unwrap();
    push(&world, "rq:queue:thumbs", 1).await;
    world.woken().await;
    world.reconcile().await.unwrap();
    assert_eq!(world.api.only(&Method::PATCH, SCALE).body["spec"]["replicas"], 1);
}

#[tokio::test]
async fn count_falls_to_the_jobs_that_run_without_asking_any_pod() {
    let window = json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}});
    let world = World::with_pool(two(window)).beside("web", 6);
    let mut run = redis::cmd("ZADD");
    run.arg("rq:wip:thumbs")
        .arg(&[("1", "a"), ("1", "b"), ("1", "c")]);
    ask(&world, &run).await;
    let world = world.settled().await;
    world.reconcile().await.unwrap();
    let calls = world.api.summary();
    assert_eq!(calls, ["PATCH web/scale"], "nothing else can be asked");
    assert_eq!(world.api.only(&Method::PATCH, SCALE).body["spec"]["replicas"], 3);
    // Nothing of ours is written for them.
    let mut raw = redis::Client::open(("127.0.0.1", world.redis.port())).unwrap();
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut raw).unwrap();
    keys.sort();
    assert_eq!(keys, ["rq:wip:thumbs"]);
}

#[tokio::test]
async fn count_that_running_jobs_hold_is_not_written_again_and_again() {
    let mut spec =
        two(json!({"jobsPerReplica": 100, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}));
    spec["worker"] = json!({"concurrency": 2});
    let world = World::with_pool(spec).beside("web", 2);
    let mut run = redis::cmd("ZADD");
    run.arg("rq:wip:thumbs")
        .arg(&[("1", "a"), ("1", "b"), ("1", "c")]);
    ask(&world, &run).await;
    let mut world = world.settled().await;
    let status = status(&mut world).await;
    world.reconcile().await.unwrap();
    assert_eq!(world.api.summary(), ["PATCH hw7/status"]);
    // One would do, but three jobs hold two at least.
    assert_eq!(status["desiredReplicas"], 1);
    assert_eq!(condition(&status, "ScalingActive")["reason"], "BusyWorkers");
}

#[tokio::test]
async fn queue_that_cannot_be_read_is_named_and_the_other_may_raise_the_count_but_not_lower_it() {
    let window = json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}});
    let world = World::with_pool(two(window)).beside("web", 1);
    ask(&world, redis::cmd("SET").arg("rq:queue:thumbs").arg("a text")).await;
    let mut world = world.settled().await;
    let status = status(&mut world).await;
    assert!(!world.api.summary().contains(&"PATCH web/scale".to_owned()));
    let readable = condition(&status, "QueueReadable");
    assert_eq!(
        (&readable["status"], &readable["reason"]),
        (&json!("False"), &json!("WrongType"))
    );
    let message = readable["message"].as_str().unwrap();
    assert!(message.starts_with("queue thumbs: "), "{message}");
    assert!(
        message.contains("the key rq:queue:thumbs is a string, not a list"),
        "{message}"
    );
    assert_eq!(
        status["queues"][0],
        json!({"name": "mails", "waiting": 0, "running": 0})
    );
    assert!(status["queues"][1]["error"].is_string(), "{status}");

    push(&world, "rq:queue:mails", 12).await;
    let call = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(call.body["spec"]["replicas"], 3);
}

/// A pool of its own pods over two queues of workerpool's own.
fn of_its_own(window: Value) -> Value {
    json!({"queues": [{"name": "a"}, {"name": "b"}], "scaling": window})
}

#[tokio::test]
async fn pool_of_its_own_pods_over_several_queues_makes_workers_that_take_from_all() {
    let world = World::with_pool(of_its_own(json!({})));
    world.push_to("b", 7).await;
    let mut world = world.settled().await;
    let call = world.reconcile_until(&Method::PATCH, "/deployments/hw7").await;
    assert_eq!(
        call.body["spec"]["replicas"], 2,
        "7 jobs, of which 5 make a replica"
    );
    let env = &call.body["spec"]["template"]["spec"]["containers"][0]["env"];
    let value = |name: &str| {
        let mut env = env.as_array().unwrap().iter();
        env.find(|env| env["name"] == name).unwrap()["value"].clone()
    };
    assert_eq!(value("WORKERPOOL_QUEUES"), "a,b");
    assert_eq!(value("WORKERPOOL_QUEUE"), "a");
    let status = status(&mut world).await;
    assert_eq!(condition(&status, "Accepted")["status"], "True");
}

#[tokio::test]
async fn pod_that_is_busy_with_a_job_of_any_queue_stays() {
    let world = World::with_pool(of_its_own(
        json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}),
    ));
    let world = world.deployed(2);
    world.push_to("b", 1).await;
    // The idle one first, so that nothing but its job keeps the other.
    world
        .api
        .hold(vec![replica_set("set", 2)], vec![pod("busy"), pod("idle")]);
    let _workers = [
        world.busy_on("a", "busy", 0).await,
        world.busy_on("b", "busy", 1).await,
        world.busy_on("a", "idle", 0).await,
        world.busy_on("b", "idle", 0).await,
    ];
    let mut world = world.settled().await;
    let scale = world
        .reconcile_until(&Method::PATCH, "/deployments/hw7/scale")
        .await;
    assert_eq!(scale.body["spec"]["replicas"], 1);
    let calls = world.api.summary();
    let preferred: Vec<_> = calls
        .iter()
        .filter(|call| call.starts_with("PATCH") && (call.contains("busy") || call.contains("idle")))
        .collect();
    assert_eq!(preferred, ["PATCH pods/idle"], "{calls:?}");
}

#[tokio::test]
async fn queue_with_a_source_is_refused_without_a_target_in_a_sentence() {
    let source = json!({"name": "mails", "source": {"waiting": [{"key": "rq:queue:mails"}]}});
    for queues in [json!([source]), json!([{"name": "a"}, source])] {
        let world = World::with_pool(json!({"queues": queues}));
        world.reconcile().await.unwrap();
        let status = world.api.only(&Method::PATCH, "/hw7/status").body["status"].clone();
        let accepted = condition(&status, "Accepted");
        assert_eq!(accepted["reason"], "NeedsScaleTarget");
        let message = accepted["message"].as_str().unwrap();
        assert!(
            message.contains("name their Deployment in scaleTargetRef"),
            "{message}"
        );
    }
}

/// Reconciles as woken until the queue is readable, or is not.
async fn until_readable(world: &mut World, readable: &str) {
    let deadline = Instant::now() + FAILOVER;
    loop {
        world.reconcile().await.unwrap();
        let statuses = world.api.calls();
        let mut statuses = statuses
            .iter()
            .rev()
            .filter(|call| call.is(&Method::PATCH, "/hw7/status"));
        let last = statuses
            .next()
            .map(|call| condition(&call.body["status"], "QueueReadable"));
        if last.is_some_and(|last| last["status"] == readable) {
            return;
        }
        assert!(Instant::now() < deadline, "{last:?}");
        // Woken or not: the status may be held back for a moment.
        world
            .next_woken(Instant::now() + Duration::from_millis(200))
            .await;
    }
}

#[tokio::test]
async fn pool_over_a_redis_cluster_follows_its_queue_and_keeps_its_count_while_a_master_is_replaced() {
    let mut cluster = RedisCluster::start().unwrap();
    let addresses = cluster.server().cluster.unwrap().addresses;
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let spec = json!({
        "redis": {"cluster": {"addresses": addresses}},
        "queues": [{"name": "mails", "source": {"waiting": [{"key": "bull:{b}:wait"}], "running": [{"key": "bull:{b}:active"}]}}],
        "scaling": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}},
        "scaleTargetRef": {"name": "web"},
    });
    // Beside the one that no pool names here.
    let world = World::with_pool_on(RedisServer::start().unwrap(), spec).beside("web", 0);
    let mut world = world.settled().await;
    let push = |cluster: &RedisCluster, count: usize| {
        let jobs = vec!["job"; count];
        cluster
            .call_anywhere(&[&["RPUSH", "bull:{b}:wait"], &jobs[..]].concat())
            .unwrap();
    };
    push(&cluster, 6);
    let scale = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(scale.body["spec"]["replicas"], 2);
    until_readable(&mut world, "True").await;

    world.api.forget_calls();
    // The first node has these keys.
    cluster.kill_master().unwrap();
    until_readable(&mut world, "False").await;
    until_readable(&mut world, "True").await;
    let calls = world.api.summary();
    assert!(
        !calls.contains(&"PATCH web/scale".to_owned()),
        "the count stays: {calls:?}"
    );
    push(&cluster, 6);
    let scale = world.reconcile_until(&Method::PATCH, SCALE).await;
    assert_eq!(scale.body["spec"]["replicas"], 3);
}
