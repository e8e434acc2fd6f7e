//! A pool, its Deployment, its Redis, its API server.

use std::{
    io::{Read, Write},
    net::TcpStream,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use crds::WorkerPool;
use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::runtime::{controller::Action, reflector, reflector::store::Writer, watcher};
use operator::{
    PoolRef,
    autoscalers::{Autoscalers, Scaler},
    context::{Context, Memories},
    deployment::{Inputs, WorkerResources, build_deployment},
    error::Error,
    events::Events,
    leader::Leadership,
    metrics::{Metrics, PoolCollector},
    pods::LookPacer,
    queues::Queues,
    reconcile::reconcile,
    source,
    targets::{Kind, Kinds, Workload, Workloads, Writers},
    watches::{self, Watches},
};
use prometheus_client::registry::Registry;
use queue::{Consumer, Identity, Nonce, Queue, Terms, test_server::RedisServer};
use serde_json::{Value, json};

use tokio::net::TcpSocket;

use super::api::{ApiServer, Call};

pub(crate) const IMAGE: &str = "workerpool:test";

/// Everything that one scenario needs.
pub(crate) struct World {
    pub(crate) api: ApiServer,
    pub(crate) redis: RedisServer,
    pub(crate) ctx: Arc<Context>,
    pub(crate) pool: Arc<WorkerPool>,
    /// Pods that are ready of what is deployed from now on; all, if it is `None`.
    pub(crate) ready: Option<u32>,
    registry: Registry,
    pools: Writer<WorkerPool>,
    workloads: Writers,
    wakes: Pin<Box<dyn Stream<Item = PoolRef> + Send>>,
}

impl World {
    /// A pool with this spec on a Redis of its own, and no Deployment.
    pub(crate) fn with_pool(spec: Value) -> Self {
        // All of loopback's addresses may come.
        Self::with_pool_on(
            RedisServer::start_with(&["--protected-mode", "no"]).unwrap(),
            spec,
        )
    }

    /// A pool with this spec on this Redis, and no Deployment.
    pub(crate) fn with_pool_on(redis: RedisServer, spec: Value) -> Self {
        let (api, client) = ApiServer::start();
        let (pools_reader, mut pools) = reflector::store();
        let (workloads_reader, mut workloads) = Workloads::new();
        let mut registry = telemetry::registry("operator", "test");
        let metrics = Arc::new(Metrics::register(&mut registry));
        let (queues, wakes) = Queues::new(Leadership::permanent(1));
        let collector = PoolCollector::new(Arc::clone(&metrics), queues.clone());
        registry.register_collector(Box::new(collector));
        let pool = pool("hw7", &redis, spec, "2026-01-02T00:00:00Z");
        for event in [
            watcher::Event::Init,
            watcher::Event::InitApply(pool.clone()),
            watcher::Event::InitDone,
        ] {
            pools.apply_watcher_event(&event);
        }
        for event in [watcher::Event::Init, watcher::Event::InitDone] {
            for workloads in &mut workloads {
                workloads.apply_watcher_event(&event);
            }
        }
        let watches = Watches::default();
        let others = [watches::POOLS, watches::AUTOSCALERS, watches::SCALED_OBJECTS];
        for kind in others.into_iter().chain(Kind::ALL.map(Kind::names)) {
            watches.heard::<()>(kind, &Ok(watcher::Event::InitDone));
        }
        let ctx = Arc::new(Context {
            events: Events::start(client.clone(), Arc::clone(&metrics), "test", 1000),
            client,
            pools: pools_reader,
            workloads: workloads_reader,
            kinds: Kinds::default(),
            watches,
            queues,
            leadership: Leadership::permanent(1),
            claims: Default::default(),
            autoscalers: Autoscalers::default(),
            metrics,
            worker_image: IMAGE.to_owned(),
            look_pacer: LookPacer::default(),
            worker_resources: WorkerResources::default(),
            memories: Memories::default(),
        });
        ctx.claims().set(&pool);
        Self {
            api,
            redis,
            ctx,
            pool: Arc::new(pool),
            ready: None,
            registry,
            pools,
            workloads,
            wakes: wakes.boxed(),
        }
    }

    /// The pool's own Deployment, as it was applied, with this count.
    pub(crate) fn deployed(mut self, replicas: u32) -> Self {
        self.deploy(replicas);
        self
    }

    /// The same, of whose pods so many are ready.
    pub(crate) fn deployed_with_ready(mut self, replicas: u32, ready: u32) -> Self {
        self.ready = Some(ready);
        self.deploy(replicas);
        self
    }

    /// The pool's own Deployment, as release 0.1.0 applied it: its selector has a label more.
    pub(crate) fn deployed_by_0_1_0(mut self, replicas: u32) -> Self {
        let selector = serde_json::from_value(json!({
            "matchLabels": {"app.kubernetes.io/name": "workerpool-worker", "workerpool.dev/pool": "hw7"},
        }));
        self.deploy_selecting(replicas, Some(&selector.unwrap()));
        self
    }

    /// Shows the watch the pool's own Deployment with this count.
    pub(crate) fn deploy(&mut self, replicas: u32) {
        self.deploy_selecting(replicas, None);
    }

    fn deploy_selecting(&mut self, replicas: u32, selector: Option<&LabelSelector>) {
        let deployment = self.built_deployment(selector);
        self.show_deployment(deployment, replicas);
    }

    /// The pool's own Deployment, as it is applied.
    pub(crate) fn built_deployment(&self, selector: Option<&LabelSelector>) -> Value {
        let server = source::place(&self.pool).unwrap();
        let queues = source::queues(&self.pool).unwrap();
        let queues: Vec<_> = queues.iter().filter_map(|queue| queue.own().cloned()).collect();
        let inputs = Inputs {
            image: IMAGE,
            resources: &self.ctx.worker_resources,
            server: &server,
            queues: &queues,
            selector,
        };
        serde_json::to_value(build_deployment(&self.pool, inputs)).unwrap()
    }

    /// Shows the watch the pool's own Deployment as it was applied, with this count.
    pub(crate) fn show_deployment(&mut self, mut deployment: Value, replicas: u32) {
        deployment["metadata"]["uid"] = json!("deployment");
        self.show(Kind::Deployment, deployment, replicas);
    }

    /// A Deployment that is not the pool's own.
    pub(crate) fn beside(self, name: &str, replicas: u32) -> Self {
        self.beside_a(Kind::Deployment, name, replicas)
    }

    /// Something that is not the pool's own.
    pub(crate) fn beside_a(mut self, kind: Kind, name: &str, replicas: u32) -> Self {
        let workload = json!({
            "metadata": {"name": name, "namespace": "default", "uid": "deployment"},
            "spec": {"selector": {"matchLabels": {"app": name}}},
        });
        self.show(kind, workload, replicas);
        self
    }

    fn show(&mut self, kind: Kind, mut workload: Value, replicas: u32) {
        workload["metadata"]["resourceVersion"] = json!("2000");
        workload["spec"]["replicas"] = json!(replicas);
        let ready = self.ready.unwrap_or(replicas);
        workload["status"] =
            json!({"replicas": replicas, "readyReplicas": ready, "updatedReplicas": replicas});
        self.watch_shows(kind, workload);
    }

    /// Shows the watch something with replicas, as it stands.
    pub(crate) fn watch_shows(&mut self, kind: Kind, workload: Value) {
        let workload: Workload = serde_json::from_value(workload).unwrap();
        self.workloads[kind as usize].apply_watcher_event(&watcher::Event::Apply(workload));
    }

    /// So many jobs by a foreign program.
    pub(crate) async fn with_jobs(self, count: usize) -> Self {
        self.push(count).await;
        self
    }

    /// Jobs by a foreign program.
    pub(crate) async fn push(&self, count: usize) {
        self.push_to("queue", count).await;
    }

    /// The same, into this queue.
    pub(crate) async fn push_to(&self, queue: &str, count: usize) {
        let client = redis::Client::open(("127.0.0.1", self.redis.port())).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let ids: Vec<_> = (0..count)
            .map(|_| queue::JobId::fresh().as_str().to_owned())
            .collect();
        let mut pipeline = redis::pipe();
        pipeline.cmd("SELECT").arg(3).ignore();
        for id in &ids {
            pipeline.cmd("HSET").arg(format!("job.{id}")).arg(&[
                ("id", id.as_str()),
                ("status", "submitted"),
                ("start", "a"),
                ("end", "b"),
            ]);
        }
        pipeline.cmd("SELECT").arg(2).ignore();
        pipeline.cmd("RPUSH").arg(format!("hotqueue:{queue}")).arg(&ids);
        pipeline.query_async::<()>(&mut connection).await.unwrap();
    }

    /// A worker in the pod with this UID takes as many jobs.
    pub(crate) async fn busy(&self, pod: &str, jobs: usize) -> Consumer {
        self.busy_on("queue", pod, jobs).await
    }

    /// The same, of this queue.
    pub(crate) async fn busy_on(&self, queue: &str, pod: &str, jobs: usize) -> Consumer {
        let identity = Identity {
            nonce: Nonce::fresh(),
            pod_uid: Some(pod.to_owned()),
            pod_name: Some(pod.to_owned()),
            ip: "10.0.0.1".to_owned(),
            host: None,
        };
        let queue = Queue::new(queue.parse().unwrap());
        let consumer = Consumer::new(&self.redis.server(), queue, identity, Terms::default()).unwrap();
        consumer.beat().await.unwrap();
        let claims = consumer.claim(&Nonce::fresh(), jobs).await.unwrap();
        assert_eq!(claims.jobs.len(), jobs);
        consumer
    }

    /// What Redis answers to a command with these words.
    pub(crate) async fn command(&self, command: &str, words: &str) -> String {
        let client = redis::Client::open(("127.0.0.1", self.redis.port())).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let words: Vec<_> = words.split(' ').collect();
        let command = redis::cmd(command).arg(words).to_owned();
        command.query_async(&mut connection).await.unwrap()
    }

    /// All metrics, as Prometheus is given them.
    pub(crate) fn scrape(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    /// Something at one of loopback's addresses waits for a job as a HotQueue worker does; the connection is its own.
    pub(crate) async fn foreign_worker(&self, address: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
        let server = format!("127.0.0.1:{}", self.redis.port());
        let connection = socket.connect(server.parse().unwrap()).await.unwrap();
        let mut connection = connection.into_std().unwrap();
        connection.set_nonblocking(false).unwrap();
        connection
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        connection
            .write_all(b"SELECT 2\r\nBLPOP hotqueue:queue 0\r\n")
            .unwrap();
        let mut answer = [0; 5];
        connection.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"+OK\r\n");
        connection
    }

    /// Gives the pool another spec, as an edit does.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut WorkerPool)) {
        let pool = Arc::make_mut(&mut self.pool);
        change(pool);
        pool.metadata.generation = pool.metadata.generation.map(|generation| generation + 1);
        self.pools
            .apply_watcher_event(&watcher::Event::Apply(pool.clone()));
        self.ctx.claims().set(pool);
    }

    /// Shows the watch the pool as it is after a change that leaves its spec alone.
    pub(crate) fn pool_changes_to(&mut self, version: &str, change: impl FnOnce(&mut WorkerPool)) {
        let pool = Arc::make_mut(&mut self.pool);
        change(pool);
        pool.metadata.resource_version = Some(version.to_owned());
        self.pools
            .apply_watcher_event(&watcher::Event::Apply(pool.clone()));
    }

    /// Shows the watch on autoscalers, or on ScaledObjects, an event.
    pub(crate) async fn hear_of<K: Scaler>(&self, event: watcher::Event<K>) {
        let events = futures::stream::iter([Ok(event)]);
        let autoscalers = self.ctx.autoscalers.clone();
        autoscalers.follow(events, |_| {}, |_| {}).await;
    }

    /// A younger pool with this spec, on the same Redis.
    pub(crate) fn younger_pool(&mut self, name: &str, spec: Value) -> Arc<WorkerPool> {
        let pool = pool(name, &self.redis, spec, "2026-01-03T00:00:00Z");
        self.ctx.claims().set(&pool);
        Arc::new(pool)
    }

    /// Another pool with this spec, on the same Redis.
    pub(crate) fn older_pool(&mut self, name: &str, spec: Value) {
        self.ctx
            .claims()
            .set(&pool(name, &self.redis, spec, "2026-01-01T00:00:00Z"));
    }

    /// Reconciles the pool once.
    pub(crate) async fn reconcile(&self) -> Result<Action, Error> {
        reconcile(Arc::clone(&self.pool), Arc::clone(&self.ctx)).await
    }

    /// The pool that the watch on Redis wakes, if it wakes one by then.
    pub(crate) async fn next_woken(&mut self, until: Instant) -> Option<PoolRef> {
        let woken = tokio::time::timeout_at(until.into(), self.wakes.next()).await;
        woken.ok().flatten()
    }

    /// Waits until the watch on Redis wakes the pool.
    pub(crate) async fn woken(&mut self) {
        let woken = tokio::time::timeout(Duration::from_secs(10), self.wakes.next()).await;
        assert_eq!(woken.expect("the pool is woken in time"), Some(self.pool_ref()));
    }

    /// Reconciles, lets the queue be read and the server be asked for risks, and forgets the calls: what comes is decided
    /// with a reading.
    pub(crate) async fn settled(mut self) -> Self {
        self.reconcile().await.unwrap();
        loop {
            self.woken().await;
            let view = self.ctx.queues.view(&self.pool_ref());
            if view.error.is_some() || (view.reading.is_some() && view.risks.is_some()) {
                break;
            }
        }
        self.api.forget_calls();
        self
    }

    /// Reconciles again and again, as woken or asked to, until such a call is made; answers that call.
    pub(crate) async fn reconcile_until(&mut self, method: &http::Method, path_end: &str) -> Call {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let action = self.reconcile().await.unwrap();
            if let Some(call) = self
                .api
                .calls()
                .into_iter()
                .find(|call| call.is(method, path_end))
            {
                return call;
            }
            assert!(
                Instant::now() < deadline,
                "no such call: {:?}",
                self.api.summary()
            );
            let again = if action == Action::await_change() {
                10_000
            } else {
                100
            };
            // Woken or not: that is what the controller does.
            let _ = tokio::time::timeout(Duration::from_millis(again), self.wakes.next()).await;
        }
    }

    pub(crate) fn pool_ref(&self) -> PoolRef {
        PoolRef::from_obj(&*self.pool)
    }
}

fn pool(name: &str, redis: &RedisServer, mut spec: Value, created: &str) -> WorkerPool {
    if spec["redis"].is_null() {
        spec["redis"] = json!({"address": redis.server().address.to_string()});
    }
    serde_json::from_value(json!({
        "apiVersion": "workerpool.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {"name": name, "namespace": "default", "uid": name, "generation": 1, "creationTimestamp": created},
        "spec": spec,
    }))
    .unwrap()
}

/// A pod of the Deployment, ready.
pub(crate) fn pod(name: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "default", "uid": name,
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "set", "uid": "set", "controller": true}],
        },
        "spec": {"nodeName": "node"},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// A ReplicaSet of the Deployment.
pub(crate) fn replica_set(uid: &str, replicas: u32) -> Value {
    json!({
        "metadata": {
            "name": uid, "namespace": "default", "uid": uid,
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "hw7", "uid": "deployment", "controller": true}],
        },
        "spec": {"replicas": replicas},
    })
}
