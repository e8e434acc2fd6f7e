//! An API server that keeps Jobs, and that can be made to panic in the client.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::body::{Body, Bytes, to_bytes};
use futures::{StreamExt, stream};
use http::{Method, Request, Response};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tower::service_fn;

/// Clones share it.
#[derive(Clone)]
pub(crate) struct ApiServer {
    inner: Arc<Mutex<Inner>>,
    changes: broadcast::Sender<String>,
}

#[derive(Default)]
struct Inner {
    jobs: BTreeMap<String, Value>,
    version: u64,
    /// Answers about these Jobs panic when they are read.
    panicking: BTreeSet<String>,
    /// Jobs that were put under the finalizer.
    kept: usize,
}

impl ApiServer {
    pub(crate) fn start() -> (Self, kube::Client) {
        let server = Self {
            inner: Arc::default(),
            changes: broadcast::channel(1000).0,
        };
        let answering = server.clone();
        let service = service_fn(move |request: Request<kube::client::Body>| {
            let server = answering.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        (server, kube::Client::new(service, "default"))
    }

    pub(crate) fn create(&self, name: &str) {
        self.create_as(
            name,
            &uid(name),
            json!({"poolName": "pool", "payload": {"name": name}}),
        );
    }

    pub(crate) fn create_as(&self, name: &str, uid: &str, spec: Value) {
        let job = json!({
            "apiVersion": "workerpool.dev/v1alpha1", "kind": "Job",
            "metadata": {"name": name, "namespace": "default", "uid": uid, "generation": 1,
                "creationTimestamp": "2026-01-02T00:00:00Z"},
            "spec": spec,
        });
        self.put("ADDED", name, job);
    }

    /// Its status, as it was last written.
    pub(crate) fn status(&self, name: &str) -> Value {
        self.lock().jobs[name]["status"].clone()
    }

    /// Somebody takes all finalizers off, and deletes it.
    pub(crate) fn remove(&self, name: &str) {
        let job = self.lock().jobs.remove(name).unwrap();
        self.tell("DELETED", &job);
    }

    /// From now on reading an answer about this Job, its status aside, panics; or no more.
    pub(crate) fn set_panicking(&self, name: &str, panics: bool) {
        let panicking = &mut self.lock().panicking;
        if panics {
            panicking.insert(name.to_owned());
        } else {
            panicking.remove(name);
        }
    }

    pub(crate) fn kept(&self) -> usize {
        self.lock().kept
    }

    /// The state that the status shows.
    pub(crate) fn state(&self, name: &str) -> Option<String> {
        let inner = self.lock();
        Some(inner.jobs.get(name)?["status"]["state"].as_str()?.to_owned())
    }

    /// Status, reason and message of the condition.
    pub(crate) fn accepted(&self, name: &str) -> Option<[String; 3]> {
        let inner = self.lock();
        let conditions = inner.jobs.get(name)?["status"]["conditions"].as_array()?;
        let accepted = conditions.iter().find(|one| one["type"] == "Accepted")?;
        Some(["status", "reason", "message"].map(|field| accepted[field].as_str().unwrap().to_owned()))
    }

    fn put(&self, kind: &str, name: &str, mut job: Value) -> Value {
        let mut inner = self.lock();
        inner.version += 1;
        job["metadata"]["resourceVersion"] = json!(inner.version.to_string());
        inner.jobs.insert(name.to_owned(), job.clone());
        drop(inner);
        self.tell(kind, &job);
        job
    }

    fn tell(&self, kind: &str, job: &Value) {
        // As the API server writes it: the type first. Nobody may be watching.
        let _ = self
            .changes
            .send(format!("{{\"type\":\"{kind}\",\"object\":{job}}}\n"));
    }

    async fn answer(self, request: Request<kube::client::Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(Body::new(body), usize::MAX).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let query = parts.uri.query().unwrap_or_default();
        let path: Vec<_> = parts.uri.path().split('/').collect();
        match path.as_slice() {
            [.., "jobs"] if query.contains("watch=true") => Response::new(self.watch()),
            [.., "jobs"] => {
                let jobs: Vec<_> = self.lock().jobs.values().cloned().collect();
                respond(
                    200,
                    &json!({"kind": "JobList", "apiVersion": "workerpool.dev/v1alpha1",
                    "metadata": {"resourceVersion": "1"}, "items": jobs}),
                )
            }
            [.., "jobs", name] if self.lock().panicking.contains(*name) => {
                let panics = stream::poll_fn(|_| -> std::task::Poll<Option<Result<Bytes, Infallible>>> {
                    panic!("boom")
                });
                Response::new(Body::from_stream(panics))
            }
            [.., "jobs", name] if parts.method == Method::PATCH => {
                self.lock().kept += 1;
                let finalizers = body["metadata"]["finalizers"].clone();
                self.change(name, |job| job["metadata"]["finalizers"] = finalizers)
            }
            [.., "jobs", name, "status"] => {
                let status = body["status"].clone();
                self.change(name, |job| job["status"] = status)
            }
            [.., "jobs", name] => self.change(name, |_| {}),
            _ => respond(200, &body),
        }
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Value)) -> Response<Body> {
        let found = self.lock().jobs.get(name).cloned();
        match found {
            Some(mut job) => {
                change(&mut job);
                respond(200, &self.put("MODIFIED", name, job))
            }
            None => respond(
                404,
                &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "code": 404, "reason": "NotFound", "message": format!("jobs \"{name}\" not found")}),
            ),
        }
    }

    fn watch(&self) -> Body {
        let changes = stream::unfold(self.changes.subscribe(), |mut changes| async move {
            let change = changes.recv().await.ok()?;
            Some((Ok::<_, Infallible>(change), changes))
        });
        Body::from_stream(changes.boxed())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

fn uid(name: &str) -> String {
    format!("0000-{name}")
}

fn respond(code: u16, body: &Value) -> Response<Body> {
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

/// Waits for what is true sooner or later.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
