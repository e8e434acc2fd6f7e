//! An API server that writes down what it is asked.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::Future,
    sync::{Arc, Mutex},
    task::Poll,
    time::{Duration, Instant},
};

use axum::body::{Body, Bytes};
use futures::stream;
use http::{Method, Request, Response};
use serde_json::{Value, json};

/// The version of what was written: later than what the watch has shown.
const LATER: &str = "3000";

/// A call that was made.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

impl Call {
    pub(crate) fn is(&self, method: &Method, end: &str) -> bool {
        self.method == *method && self.path.ends_with(end)
    }
}

/// What the server knows and how it answers.
#[derive(Clone, Default)]
pub(crate) struct ApiServer(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    calls: Vec<Call>,
    pods: Vec<Value>,
    replica_sets: Vec<Value>,
    /// What is answered at these paths.
    documents: HashMap<String, Value>,
    /// The generation that a Deployment has after it was applied.
    generation: Option<i64>,
    /// Calls whose path ends so are refused with this code, once each.
    refusals: Vec<(&'static str, u16)>,
    /// Reading an answer panics whose path ends so.
    panicking: Option<&'static str>,
}

impl ApiServer {
    pub(crate) fn start() -> (Self, kube::Client) {
        let (service, mut handle) = tower_test::mock::pair::<Request<kube::client::Body>, Response<Body>>();
        let server = Self::default();
        let answering = server.clone();
        tokio::spawn(async move {
            while let Some((request, send)) = handle.next_request().await {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                send.send_response(answering.answer(&parts, &body));
            }
        });
        (server, kube::Client::new(service, "default"))
    }

    pub(crate) fn refuse_once(&self, path_end: &'static str, code: u16) {
        self.0.lock().unwrap().refusals.push((path_end, code));
    }

    /// From now on a Deployment has this generation after it was applied.
    pub(crate) fn applying_leaves(&self, generation: i64) {
        self.0.lock().unwrap().generation = Some(generation);
    }

    /// From now on reading an answer panics whose path ends so; `None`: no more.
    pub(crate) fn panic_at(&self, path_end: Option<&'static str>) {
        self.0.lock().unwrap().panicking = path_end;
    }

    /// How many events with this reason have been published.
    pub(crate) fn count_events(&self, reason: &str) -> usize {
        let inner = self.0.lock().unwrap();
        let events = inner.calls.iter().filter(|call| call.path.ends_with("/events"));
        events.filter(|call| call.body["reason"] == reason).count()
    }

    /// The Deployment's one ReplicaSet, and its pods.
    pub(crate) fn hold(&self, replica_sets: Vec<Value>, pods: Vec<Value>) {
        let mut inner = self.0.lock().unwrap();
        inner.replica_sets = replica_sets;
        inner.pods = pods;
    }

    /// What is answered at a path.
    pub(crate) fn answer_at(&self, path: &str, document: Value) {
        let documents = &mut self.0.lock().unwrap().documents;
        documents.insert(path.to_owned(), document);
    }

    /// All calls so far, events aside, which are published by the way.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let inner = self.0.lock().unwrap();
        inner
            .calls
            .iter()
            .filter(|call| !call.path.ends_with("/events"))
            .cloned()
            .collect()
    }

    /// Method and end of path of each call, in their order.
    pub(crate) fn summary(&self) -> Vec<String> {
        let short = |call: &Call| {
            let mut parts: Vec<_> = call.path.split('/').rev().take(2).collect();
            parts.reverse();
            format!("{} {}", call.method, parts.join("/"))
        };
        self.calls().iter().map(short).collect()
    }

    pub(crate) fn forget_calls(&self) {
        self.0.lock().unwrap().calls.clear();
    }

    /// Forgets the writes of the status so far, and no other call.
    pub(crate) fn forget_status(&self) {
        let calls = &mut self.0.lock().unwrap().calls;
        calls.retain(|call| !call.path.ends_with("/status"));
    }

    /// The body of the only call of this kind.
    pub(crate) fn only(&self, method: &Method, path_end: &str) -> Call {
        let mut calls = self.calls();
        calls.retain(|call| call.is(method, path_end));
        assert_eq!(calls.len(), 1, "{method} …{path_end}: {:?}", self.summary());
        calls.remove(0)
    }

    /// Waits for an event with this reason, and returns its note.
    pub(crate) async fn event(&self, reason: &str) -> String {
        let found = || {
            let inner = self.0.lock().unwrap();
            let event = inner.calls.iter().find(|call| call.body["reason"] == reason);
            event.map(|event| event.body["note"].as_str().unwrap_or_default().to_owned())
        };
        until(|| std::future::ready(found())).await
    }

    fn answer(&self, parts: &http::request::Parts, body: &[u8]) -> Response<Body> {
        let mut inner = self.0.lock().unwrap();
        let path = parts.uri.path().to_owned();
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        inner.calls.push(Call {
            method: parts.method.clone(),
            path: path.clone(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            body: body.clone(),
        });
        if let Some(at) = inner.refusals.iter().position(|(end, _)| path.ends_with(end)) {
            let (_, code) = inner.refusals.remove(at);
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                "message": "refused by the test", "reason": "Test"});
            return respond(code, &status);
        }
        if inner.panicking.is_some_and(|end| path.ends_with(end)) {
            let panics = stream::poll_fn(|_| -> Poll<Option<Result<Bytes, Infallible>>> { panic!("boom") });
            return Response::new(Body::from_stream(panics));
        }
        if parts.method == Method::GET
            && let Some(document) = inner.documents.get(&path)
        {
            return respond(200, document);
        }
        let answer = match path.rsplit('/').next().unwrap_or_default() {
            "replicasets" => list(&inner.replica_sets),
            "pods" => list(&inner.pods),
            "scale" => json!({"apiVersion": "autoscaling/v1", "kind": "Scale",
                "metadata": {"resourceVersion": LATER}, "spec": body["spec"]}),
            name => {
                inner.give_cost(name, &body);
                let mut answer = body;
                // What is taken away is not there, rather than null.
                answer["metadata"]["annotations"].take();
                answer["metadata"]["labels"].take();
                answer["metadata"]["resourceVersion"] = json!(LATER);
                if let Some(generation) = inner.generation.filter(|_| path.contains("/deployments/")) {
                    answer["metadata"]["generation"] = json!(generation);
                }
                answer
            }
        };
        respond(200, &answer)
    }
}

impl Inner {
    fn give_cost(&mut self, pod: &str, patch: &Value) {
        let pod = self
            .pods
            .iter_mut()
            .find(|known| known["metadata"]["name"] == pod);
        if let Some(pod) = pod {
            for of in ["annotations", "labels"] {
                let mut given = patch["metadata"][of].clone();
                if let Some(given) = given.as_object_mut() {
                    given.retain(|_, value| !value.is_null());
                }
                pod["metadata"][of] = given;
            }
        }
    }
}

fn list(items: &[Value]) -> Value {
    json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items})
}

fn respond(code: u16, body: &Value) -> Response<Body> {
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(Body::from(serde_json::to_vec(body).unwrap()))
        .unwrap()
}

/// Asks again and again until there is an answer.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "it did not happen in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
