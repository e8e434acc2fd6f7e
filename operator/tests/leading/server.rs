//! An API server with pools, their targets and a Lease, that operators reach by a way of their own each, and which writes down
//! who wrote what.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Method, StatusCode, Uri},
    response::Response,
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{broadcast, watch},
};

/// A write that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    /// By whom.
    pub(crate) who: &'static str,
    pub(crate) path: String,
    /// Of an event.
    pub(crate) reason: Option<String>,
    pub(crate) code: u16,
    pub(crate) at: Instant,
}

impl Write {
    pub(crate) fn is_of_lease(&self) -> bool {
        self.path.contains("/leases")
    }
}

/// What the server knows. Clones share it.
#[derive(Clone)]
pub(crate) struct ApiServer {
    inner: Arc<Mutex<Inner>>,
    changes: broadcast::Sender<Change>,
}

/// What watches are told.
#[derive(Clone)]
enum Change {
    Deployment(String),
    /// Whatever they watch, they end.
    End(String),
}

struct Inner {
    pools: Vec<Value>,
    lease: Option<Value>,
    /// By target.
    replicas: HashMap<String, u64>,
    /// With what it is refused to change a target's count.
    refused: HashMap<String, u16>,
    version: u64,
    watches: usize,
    writes: Vec<Write>,
    /// How often each has looked at the Lease.
    looks: HashMap<&'static str, usize>,
    ways: HashMap<&'static str, watch::Sender<bool>>,
}

impl ApiServer {
    /// With a pool for each of these: the Redis that it follows, the queue there, and the Deployment that it scales.
    pub(crate) fn new(pools: &[(&str, &str, &str)]) -> Self {
        let pool = |&(redis, queue, target): &(&str, &str, &str)| {
            json!({
                "apiVersion": "workerpool.dev/v1alpha1", "kind": "WorkerPool",
                "metadata": {"name": target, "namespace": "default", "uid": target, "generation": 1, "resourceVersion": "1",
                    "creationTimestamp": "2026-01-02T00:00:00Z"},
                "spec": {"redis": {"address": redis}, "queues": [{"name": queue}], "scaleTargetRef": {"name": target}},
            })
        };
        let inner = Inner {
            pools: pools.iter().map(pool).collect(),
            lease: None,
            replicas: pools
                .iter()
                .map(|(_, _, target)| ((*target).to_owned(), 0))
                .collect(),
            refused: HashMap::new(),
            version: 10,
            watches: 0,
            writes: Vec::new(),
            looks: HashMap::new(),
            ways: HashMap::new(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            changes: broadcast::channel(100).0,
        }
    }

    /// A way to it, for `who`; answers its address.
    pub(crate) async fn way_for(&self, who: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        self.lock().ways.insert(who, watch::Sender::new(true));
        let server = self.clone();
        let app = Router::new().fallback(move |method: Method, uri: Uri, body: Bytes| async move {
            // Goes on though the client gave up: what was sent arrives, sooner or later.
            tokio::spawn(server.arrive(who, method, uri, body)).await.unwrap()
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}")
    }

    /// Lets nothing of what `who` sends arrive until it is opened again.
    pub(crate) fn set_way(&self, who: &str, open: bool) {
        self.lock().ways[who].send_replace(open);
    }

    pub(crate) fn holder(&self) -> String {
        let inner = self.lock();
        let holder = inner
            .lease
            .as_ref()
            .and_then(|lease| lease["spec"]["holderIdentity"].as_str());
        holder.unwrap_or_default().to_owned()
    }

    /// Somebody deletes the Lease. Answers the number of its leadership.
    pub(crate) fn delete_lease(&self) -> u64 {
        let lease = self.lock().lease.take().unwrap();
        transitions(&lease)
    }

    /// The number of the leadership, if there is a Lease.
    pub(crate) fn leadership(&self) -> Option<u64> {
        self.lock().lease.as_ref().map(transitions)
    }

    pub(crate) fn replicas(&self, target: &str) -> u64 {
        self.lock().replicas[target]
    }

    /// Refuses to change a target's count from now on; `None`: no more.
    pub(crate) fn refuse(&self, target: &str, code: Option<u16>) {
        let mut inner = self.lock();
        match code {
            Some(code) => inner.refused.insert(target.to_owned(), code),
            None => inner.refused.remove(target),
        };
    }

    /// The pool over this target has a spec that no operator of this release can decode, from the next list on; it is made where
    /// there is none.
    pub(crate) fn spoil(&self, target: &str) {
        let mut inner = self.lock();
        let at = inner
            .pools
            .iter()
            .position(|pool| pool["metadata"]["name"] == target);
        let at = at.unwrap_or_else(|| {
            let mut pool = inner.pools[0].clone();
            pool["metadata"]["name"] = json!(target);
            pool["metadata"]["uid"] = json!(target);
            inner.pools.push(pool);
            inner.pools.len() - 1
        });
        let pool = &mut inner.pools[at];
        pool["spec"]["scaling"] = json!({"maxReplicas": "many"});
        pool["metadata"]["generation"] = json!(2);
        pool["metadata"]["resourceVersion"] = json!("2");
    }

    /// Ends all watches, as a server does whose history no longer reaches back to where they began.
    pub(crate) fn end_watches(&self) {
        let gone = json!({"type": "ERROR", "object": refusal(410).1});
        let _ = self.changes.send(Change::End(format!("{gone}\n")));
    }

    /// Watches that are under way, and how many were ever begun.
    pub(crate) fn watches(&self) -> (usize, usize) {
        (self.changes.receiver_count(), self.lock().watches)
    }

    pub(crate) fn looks(&self, who: &str) -> usize {
        self.lock().looks.get(who).copied().unwrap_or(0)
    }

    /// What `who` asked to write from then on.
    pub(crate) fn writes_of(&self, who: &str, since: Instant) -> Vec<Write> {
        let inner = self.lock();
        let writes = inner.writes.iter();
        writes
            .filter(|write| write.who == who && write.at >= since)
            .cloned()
            .collect()
    }

    async fn arrive(self, who: &'static str, method: Method, uri: Uri, body: Bytes) -> Response {
        let mut way = self.lock().ways[who].subscribe();
        let _ = way.wait_for(|open| *open).await;
        let query = uri.query().unwrap_or_default();
        if query.contains("watch=true") {
            return self.watch(uri.path(), way);
        }
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let (code, answer) = self.lock().answer(who, &method, uri.path(), &body);
        if let Some(target) = scaled(uri.path())
            && method == Method::PATCH
            && code == 200
        {
            let change = json!({"type": "MODIFIED", "object": self.lock().deployment(target)});
            // Nobody may be watching.
            let _ = self.changes.send(Change::Deployment(format!("{change}\n")));
        }
        if method != Method::GET {
            self.lock().writes.push(Write {
                who,
                path: uri.path().to_owned(),
                reason: body["reason"].as_str().map(str::to_owned),
                code,
                at: Instant::now(),
            });
        }
        Response::builder()
            .status(StatusCode::from_u16(code).unwrap())
            .header("content-type", "application/json")
            .header("retry-after", "1")
            .body(Body::from(answer.to_string()))
            .unwrap()
    }

    /// Changes of Deployments, as long as the way is open. Of all else there are none.
    fn watch(&self, path: &str, way: watch::Receiver<bool>) -> Response {
        self.lock().watches += 1;
        let of_deployments = path.ends_with("/deployments");
        let events = stream::unfold(Some((self.changes.subscribe(), way)), move |watch| async move {
            let (mut changes, mut way) = watch?;
            loop {
                let change = changes.recv().await.ok()?;
                let _ = way.wait_for(|open| *open).await;
                match change {
                    Change::Deployment(change) if of_deployments => {
                        return Some((Ok::<_, Infallible>(change), Some((changes, way))));
                    }
                    Change::Deployment(_) => {}
                    Change::End(gone) => return Some((Ok(gone), None)),
                }
            }
        });
        Response::new(Body::from_stream(events.boxed()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

impl Inner {
    fn answer(&mut self, who: &'static str, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        let last = path.rsplit('/').next().unwrap_or_default();
        if path.contains("/leases") {
            if *method == Method::GET {
                *self.looks.entry(who).or_default() += 1;
            }
            return self.lease(method, body);
        }
        if let Some(target) = scaled(path) {
            return match *method {
                Method::PATCH => self.scale(target, body),
                _ => (200, self.scale_of(target)),
            };
        }
        match last {
            "workerpools" => (200, list(&self.pools)),
            "deployments" => {
                let deployments: Vec<_> = self
                    .replicas
                    .keys()
                    .map(|target| self.deployment(target))
                    .collect();
                (200, list(&deployments))
            }
            _ if *method == Method::GET => (200, list(&[])),
            _ => (200, body.clone()),
        }
    }

    fn lease(&mut self, method: &Method, body: &Value) -> (u16, Value) {
        match (method, &self.lease) {
            (&Method::GET | &Method::PUT, None) => refusal(404),
            (&Method::GET, Some(lease)) => (200, lease.clone()),
            (&Method::POST, Some(_)) => refusal(409),
            (&Method::PUT, Some(lease))
                if lease["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] =>
            {
                refusal(409)
            }
            _ => {
                self.version += 1;
                let mut lease = body.clone();
                lease["metadata"]["resourceVersion"] = json!(self.version.to_string());
                self.lease = Some(lease.clone());
                (200, lease)
            }
        }
    }

    fn scale(&mut self, target: &str, body: &Value) -> (u16, Value) {
        if let Some(code) = self.refused.get(target) {
            return refusal(*code);
        }
        let version = &body["metadata"]["resourceVersion"];
        if !version.is_null() && *version != self.scale_of(target)["metadata"]["resourceVersion"] {
            return refusal(409);
        }
        let replicas = body["spec"]["replicas"].as_u64().unwrap();
        self.replicas.insert(target.to_owned(), replicas);
        (200, self.scale_of(target))
    }

    /// Its version changes with its count alone.
    fn scale_of(&self, target: &str) -> Value {
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": self.replicas[target]},
            "metadata": {"name": target, "namespace": "default", "resourceVersion": self.deployment_version(target)}})
    }

    fn deployment(&self, target: &str) -> Value {
        let replicas = self.replicas[target];
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": target, "namespace": "default", "uid": target, "generation": 1,
                "resourceVersion": self.deployment_version(target)},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": target}}},
            "status": {"observedGeneration": 1, "replicas": replicas, "readyReplicas": replicas}})
    }

    fn deployment_version(&self, target: &str) -> String {
        (1000 + self.replicas[target]).to_string()
    }
}

/// Whose scale it is.
fn scaled(path: &str) -> Option<&str> {
    path.strip_suffix("/scale")?.rsplit('/').next()
}

fn transitions(lease: &Value) -> u64 {
    lease["spec"]["leaseTransitions"].as_u64().unwrap()
}

fn list(items: &[Value]) -> Value {
    json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})
}

fn refusal(code: u16) -> (u16, Value) {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        410 => "Expired",
        429 => "TooManyRequests",
        500 => "InternalError",
        _ => "Conflict",
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "message": "refused by the test", "reason": reason});
    (code, status)
}

/// Waits for what is true sooner or later.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
