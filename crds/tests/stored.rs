//! Resources that an earlier version stored (`e2e/fixtures`) are read by the present types, and nothing of them is lost.

// Fixtures are not tests to clippy, and they too may say what they expect.
#![allow(clippy::expect_used)]

use std::path::Path;

use crds::{Job, WorkerPool, job::status::JobStatus};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

#[test]
fn pools_of_0_1_0_are_read_whole() {
    each_is_read_whole::<WorkerPool>("0.1.0/stored/pools.json");
}

#[test]
fn jobs_of_0_1_0_are_read_whole() {
    each_is_read_whole::<Job>("0.1.0/stored/jobs.json");
}

/// Fields that 0.1.0 stored in another form.
#[test]
fn fields_of_0_1_0_that_have_another_form_mean_same() {
    let spec = |spec: Value| serde_json::from_value::<crds::WorkerPoolSpec>(spec).expect("a spec");
    let behavior =
        |tolerance: Value| spec(json!({"scaling": {"behavior": {"scaleUp": {"tolerance": tolerance}}}}));
    assert_eq!(behavior(json!(0.1)), behavior(json!("0.1")));

    let ready_url = |name: &str| {
        let http = json!({"url": "http://localhost", name: "http://localhost/healthz"});
        let handler = spec(json!({"worker": {"handler": {"http": http}}}))
            .worker
            .handler;
        let http = handler.and_then(|handler| handler.http).expect("a service");
        http.ready_url().map(str::to_owned)
    };
    assert_eq!(ready_url("readyUrl"), ready_url("readyURL"));
    assert_eq!(ready_url("readyUrl").as_deref(), Some("http://localhost/healthz"));
}

/// 0.1.0 wrote the queue's word as `state`, which has words of its own now.
#[test]
fn state_of_jobs_of_0_1_0_is_the_queues_word() {
    let status = |json: Value| serde_json::from_value::<JobStatus>(json).expect("a status");
    let before = status(json!({"state": "in progress"}));
    let now = status(json!({"state": "Running", "queueState": "in progress"}));
    assert_eq!(before.queue_word(), Some("in progress"));
    assert_eq!(before.queue_word(), now.queue_word());
    assert_eq!(status(json!({"state": "Failed"})).queue_word(), None);
}

fn each_is_read_whole<K: DeserializeOwned + Serialize>(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../e2e/fixtures")
        .join(file);
    let text = std::fs::read_to_string(path).expect("the fixtures are checked in");
    let list: Value = serde_json::from_str(&text).expect("they are JSON");
    let items = list["items"].as_array().expect("they are a list");
    assert!(!items.is_empty());
    for stored in items {
        let read: K = serde_json::from_value(stored.clone()).expect("the present types read it");
        let written = serde_json::to_value(&read).expect("they write it");
        for part in ["spec", "status"] {
            let lost = lost(&without_default_weights(stored)[part], &written[part], part);
            assert_eq!(lost, None, "{}", stored["metadata"]["name"]);
        }
    }
}

/// A queue's `weight` of 1, which 0.1.0 wrote into each, is its default and is not written back.
fn without_default_weights(stored: &Value) -> Value {
    let mut stored = stored.clone();
    let queues = stored.pointer_mut("/spec/queues").and_then(Value::as_array_mut);
    for queue in queues.into_iter().flatten().filter_map(Value::as_object_mut) {
        if queue.get("weight").is_some_and(|weight| *weight == 1) {
            queue.remove("weight");
        }
    }
    stored
}

/// The path of the first value that is not there any more, or is another one.
fn lost(stored: &Value, written: &Value, path: &str) -> Option<String> {
    match stored {
        Value::Object(fields) => fields
            .iter()
            .find_map(|(name, field)| lost(field, &written[name], &format!("{path}.{name}"))),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(i, item)| lost(item, &written[i], &format!("{path}[{i}]"))),
        value => (value != written).then(|| path.to_owned()),
    }
}
