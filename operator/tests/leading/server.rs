//! An API server with one pool, its target and a Lease, that operators reach by a way of their own each, and which writes down
//! who wrote what.

use std::{
    collections::HashMap,
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
    changes: broadcast::Sender<String>,
}

struct Inner {
    pool: Value,
    lease: Option<Value>,
    replicas: u64,
    version: u64,
    writes: Vec<Write>,
    /// How often each has looked at the Lease.
    looks: HashMap<&'static str, usize>,
    ways: HashMap<&'static str, watch::Sender<bool>>,
}

impl ApiServer {
    /// With a pool that scales the Deployment `web` by this Redis.
    pub(crate) fn new(redis: &str) -> Self {
        let pool = json!({
            "apiVersion": "workerpool.dev/v1alpha1", "kind": "WorkerPool",
            "metadata": {"name": "hw7", "namespace": "default", "uid": "hw7", "generation": 1, "resourceVersion": "1",
                "creationTimestamp": "2026-01-02T00:00:00Z"},
            "spec": {"redis": {"address": redis}, "scaleTargetRef": {"name": "web"}},
        });
        let inner = Inner {
            pool,
            lease: None,
            replicas: 0,
            version: 10,
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

    pub(crate) fn replicas(&self) -> u64 {
        self.lock().replicas
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
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let (code, answer) = self.lock().answer(who, &method, uri.path(), &body);
        if uri.path().ends_with("/scale") && method == Method::PATCH && code == 200 {
            let change = json!({"type": "MODIFIED", "object": self.lock().deployment()});
            // Nobody may be watching.
            let _ = self.changes.send(format!("{change}\n"));
        }
        if method != Method::GET {
            self.lock().writes.push(Write {
                who,
                path: uri.path().to_owned(),
                code,
                at: Instant::now(),
            });
        }
        Response::builder()
            .status(StatusCode::from_u16(code).unwrap())
            .header("content-type", "application/json")
            .body(Body::from(answer.to_string()))
            .unwrap()
    }

    /// Changes of the Deployment, as long as the way is open. Of all else there are none.
    fn watch(&self, path: &str, way: watch::Receiver<bool>) -> Response {
        let changes = path.ends_with("/deployments").then(|| self.changes.subscribe());
        let events = stream::unfold((changes, way), |(mut changes, mut way)| async move {
            let change = match &mut changes {
                Some(changes) => changes.recv().await.ok()?,
                None => std::future::pending().await,
            };
            let _ = way.wait_for(|open| *open).await;
            Some((Ok::<_, std::convert::Infallible>(change), (changes, way)))
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
        match last {
            "workerpools" => (200, list(std::slice::from_ref(&self.pool))),
            "deployments" => (200, list(&[self.deployment()])),
            "scale" if *method == Method::PATCH => self.scale(body),
            "scale" => (200, self.scaled()),
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

    fn scale(&mut self, body: &Value) -> (u16, Value) {
        let version = &body["metadata"]["resourceVersion"];
        if !version.is_null() && *version != self.scaled()["metadata"]["resourceVersion"] {
            return refusal(409);
        }
        self.replicas = body["spec"]["replicas"].as_u64().unwrap();
        (200, self.scaled())
    }

    /// Its version changes with its count alone.
    fn scaled(&self) -> Value {
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": self.replicas},
            "metadata": {"name": "web", "namespace": "default", "resourceVersion": self.deployment_version()}})
    }

    fn deployment(&self) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default", "uid": "web", "generation": 1,
                "resourceVersion": self.deployment_version()},
            "spec": {"replicas": self.replicas, "selector": {"matchLabels": {"app": "web"}}},
            "status": {"observedGeneration": 1, "replicas": self.replicas, "readyReplicas": self.replicas}})
    }

    fn deployment_version(&self) -> String {
        (1000 + self.replicas).to_string()
    }
}

fn transitions(lease: &Value) -> u64 {
    lease["spec"]["leaseTransitions"].as_u64().unwrap()
}

fn list(items: &[Value]) -> Value {
    json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})
}

fn refusal(code: u16) -> (u16, Value) {
    let reason = if code == 404 { "NotFound" } else { "Conflict" };
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
