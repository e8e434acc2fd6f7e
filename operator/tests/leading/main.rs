//! Two operators, of which one leads: what becomes of the other when that one is killed, stopped, cut off, or told to end; and
//! what becomes of a pool when those beside it fare badly (`isolation`).
//!
//! Real processes with their own settings, but for the API server, which writes down every write.

// Fixtures are not tests to clippy, and they too may say what they expect.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod isolation;
mod server;
mod settings;

use std::{
    process::{Child, Command},
    time::Instant,
};

use queue::test_server::RedisServer;
use rustix::process::{Pid, Signal, kill_process};
use server::{ApiServer, Write, eventually};

/// A default pool gives one replica to so many jobs.
const JOBS_PER_REPLICA: usize = 5;

/// What the pool scales.
const WEB: &str = "web";

/// Longer than by default: on a busy machine a leader must lose the Lease when a test means it to, and not before.
fn lease_seconds() -> String {
    std::env::var("WORKERPOOL_LEASE_SECONDS").unwrap_or_else(|_| "6".to_owned())
}

/// Two operators `a` and `b`; `a` leads.
struct World {
    started: Instant,
    api: ApiServer,
    redis: RedisServer,
    a: Operator,
    _b: Operator,
}

/// A process that is killed when its test ends.
struct Operator(Child);

impl Operator {
    async fn start(api: &ApiServer, name: &'static str, folder: &std::path::Path) -> Self {
        let address = api.way_for(name).await;
        let kubeconfig = folder.join(name);
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {{server: '{address}'}}}}], \
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}], users: [{{name: u, user: {{}}}}]}}"
        );
        std::fs::write(&kubeconfig, text).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_workerpool-operator"))
            .env("KUBECONFIG", kubeconfig)
            .env("HOSTNAME", name)
            .env("WORKERPOOL_TELEMETRY_ADDRESS", "127.0.0.1:0")
            .env("WORKERPOOL_LEASE_SECONDS", lease_seconds())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl World {
    async fn new() -> Self {
        let redis = RedisServer::start().unwrap();
        let address = redis.server().address.to_string();
        Self::with(redis, &[(&address, "queue", WEB)]).await
    }

    async fn with(redis: RedisServer, pools: &[(&str, &str, &str)]) -> Self {
        let started = Instant::now();
        let api = ApiServer::new(pools);
        let folder = std::env::temp_dir().join(format!("leading-{}-{}", std::process::id(), redis.port()));
        std::fs::create_dir_all(&folder).unwrap();
        let a = Operator::start(&api, "a", &folder).await;
        eventually("a leads", || api.holder().starts_with("a_")).await;
        let b = Operator::start(&api, "b", &folder).await;
        eventually("b stands by", || api.looks("b") > 1).await;
        std::fs::remove_dir_all(&folder).unwrap();
        Self {
            started,
            api,
            redis,
            a,
            _b: b,
        }
    }

    /// Jobs for one more replica.
    async fn push(&self) {
        self.push_to("queue").await;
    }

    async fn push_to(&self, queue: &str) {
        let client = redis::Client::open(("127.0.0.1", self.redis.port())).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let ids: Vec<_> = (0..JOBS_PER_REPLICA)
            .map(|_| queue::JobId::fresh().as_str().to_owned())
            .collect();
        let mut pipeline = redis::pipe();
        pipeline.cmd("SELECT").arg(2).ignore();
        pipeline
            .cmd("RPUSH")
            .arg(format!("hotqueue:{queue}"))
            .arg(&ids)
            .ignore();
        pipeline.query_async::<()>(&mut connection).await.unwrap();
    }

    async fn has_replicas(&self, count: u64) {
        eventually("the count follows the queue", || self.api.replicas(WEB) == count).await;
    }

    /// So many replicas, by `a`, which is done with them.
    async fn has_replicas_by_a(&self, count: u64) {
        self.has_replicas(count).await;
        let reported = || {
            let writes = self.api.writes_of("a", self.started);
            let last = |end| writes.iter().rposition(|write: &Write| write.path.ends_with(end));
            last("/status") > last("/scale")
        };
        eventually("a has reported", reported).await;
    }

    async fn led_by_b(&self) {
        eventually("b leads", || self.api.holder().starts_with("b_")).await;
    }

    fn assert_only_the_lease_was_asked_for_by_a(&self, since: Instant) {
        let mut writes = self.api.writes_of("a", since);
        writes.retain(|write| !write.is_of_lease() || write.code < 300);
        assert!(writes.is_empty(), "{writes:?}");
    }
}

#[tokio::test]
async fn killed_leader_is_followed_by_the_standby_which_writes_what_is_due() {
    let mut world = World::new().await;
    world.push().await;
    world.has_replicas_by_a(1).await;
    assert!(
        world.api.writes_of("b", world.started).is_empty(),
        "a standby writes nothing"
    );
    let killed = Instant::now();
    world.a.0.kill().unwrap();
    world.push().await;
    world.has_replicas(2).await;
    println!("fail-over after {:?}", killed.elapsed());
    assert!(world.api.holder().starts_with("b_"), "{}", world.api.holder());
}

#[tokio::test]
async fn leader_that_is_told_to_end_gives_the_lease_back() {
    let world = World::new().await;
    let told = Instant::now();
    world.a.signal(Signal::TERM);
    world.led_by_b().await;
    println!("handed over after {:?}", told.elapsed());
    let writes = world.api.writes_of("a", told);
    assert!(
        writes
            .last()
            .is_some_and(|write| write.is_of_lease() && write.code == 200),
        "its last word is that the Lease is free: {writes:?}"
    );
    world.push().await;
    world.has_replicas(1).await;
}

#[tokio::test]
async fn leader_that_was_stopped_past_its_lease_starts_no_write_when_it_goes_on() {
    let world = World::new().await;
    world.push().await;
    world.has_replicas_by_a(1).await;
    world.a.signal(Signal::STOP);
    world.push().await;
    world.has_replicas(2).await;
    world.led_by_b().await;

    // What it was stopped in the middle of has long arrived.
    let goes_on = Instant::now();
    let looks = world.api.looks("a");
    world.a.signal(Signal::CONT);
    world.push().await;
    world.has_replicas(3).await;
    eventually("a stands by", || world.api.looks("a") > looks + 2).await;
    world.assert_only_the_lease_was_asked_for_by_a(goes_on);
}

#[tokio::test]
async fn write_of_a_leader_that_was_cut_off_is_refused_when_it_arrives_late() {
    let world = World::new().await;
    world.push().await;
    world.has_replicas_by_a(1).await;
    let cut = Instant::now();
    world.api.set_way("a", false);
    // It hears of these too, and asks for a second replica; that hangs.
    world.push().await;
    world.led_by_b().await;
    world.has_replicas(2).await;
    world.push().await;
    world.has_replicas(3).await;

    let looks = world.api.looks("a");
    world.api.set_way("a", true);
    eventually("a stands by", || world.api.looks("a") > looks + 2).await;
    let late = world.api.writes_of("a", cut);
    assert!(
        late.iter()
            .any(|write| write.path.ends_with("/scale") && write.code == 409),
        "it arrived, and was refused: {late:?}"
    );
    assert_eq!(world.api.replicas(WEB), 3);
}

#[tokio::test]
async fn lease_that_somebody_deleted_is_made_anew_by_its_leader_who_goes_on() {
    let world = World::new().await;
    world.push().await;
    world.has_replicas_by_a(1).await;
    for count in [2, 3] {
        let leadership = world.api.delete_lease();
        eventually("there is a Lease again", || world.api.leadership().is_some()).await;
        assert!(world.api.holder().starts_with("a_"), "{}", world.api.holder());
        assert_eq!(world.api.leadership(), Some(leadership), "the same term");
        world.push().await;
        world.has_replicas_by_a(count).await;
    }
    let writes = world.api.writes_of("b", world.started);
    assert!(writes.is_empty(), "nobody else led: {writes:?}");
}
