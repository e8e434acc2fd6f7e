//! Requests and limits of the containers of our image.

use super::*;

fn all() -> serde_json::Value {
    json!({"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}})
}

fn requests() -> serde_json::Value {
    json!({"requests": {"cpu": "10m", "memory": "16Mi"}})
}

/// The resources of the container `worker`, and of the one that copies our worker.
fn resources(deployment: &serde_json::Value) -> [serde_json::Value; 2] {
    let copier = &deployment["spec"]["template"]["spec"]["initContainers"][0];
    [
        worker(deployment)["resources"].clone(),
        copier["resources"].clone(),
    ]
}

/// Those of a pool whose template has this container `worker`.
fn of_container(container: serde_json::Value, worker: serde_json::Value) -> serde_json::Value {
    let [resources, _] = resources(&built(
        json!({"worker": worker, "template": {"spec": {"containers": [container]}}}),
    ));
    resources
}

#[test]
fn containers_of_our_image_get_requests_and_limits() {
    assert_eq!(resources(&built(json!({}))), [all(), json!(null)]);
    let [users, copier] = resources(&built(resizing(command())));
    assert_eq!((users, copier), (json!(null), all()), "the image is the user's");
    let http = json!({"handler": {"http": {"url": "http://localhost:8000/resize"}}});
    let service = json!({"name": "service", "image": "model:1"});
    let deployment = built(json!({"worker": http, "template": {"spec": {"containers": [service]}}}));
    assert_eq!(resources(&deployment)[0], all());
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0], service);
}

#[test]
fn resources_of_template_are_left_as_they_are() {
    for own in [
        json!({"limits": {"memory": "8Mi"}}),
        json!({"requests": {"cpu": "2"}}),
        json!({"claims": [{"name": "gpu"}]}),
        json!({}),
    ] {
        let container = json!({"name": "worker", "resources": own});
        assert_eq!(of_container(container, json!({})), own);
    }
    for image in ["mirror/workerpool:1", "python:3"] {
        let container = json!({"name": "worker", "image": image, "command": ["/workerpool-worker"]});
        assert_eq!(of_container(container, json!({})), json!(null), "{image}");
    }
}

#[test]
fn programs_of_user_in_our_container_get_no_limits() {
    assert_eq!(of_container(json!({"name": "worker"}), command()), requests());
    for own in [
        json!({"args": ["--", "/app/resize"]}),
        json!({"command": ["/workerpool-worker", "--", "/app/resize"]}),
        json!({"env": [{"name": "WORKERPOOL_COMMAND", "value": "[\"/app/resize\"]"}]}),
        json!({"env": [{"name": "WORKERPOOL_HANDLER", "value": "command"}]}),
        json!({"envFrom": [{"configMapRef": {"name": "settings"}}]}),
    ] {
        let mut container = own.clone();
        container["name"] = json!("worker");
        assert_eq!(of_container(container, json!({})), requests(), "{own}");
    }
    let sleeps = json!({"name": "worker", "image": "workerpool:1", "command": ["/workerpool-worker"],
        "env": [{"name": "WORKERPOOL_SLEEP_SECONDS", "value": "1"}]});
    assert_eq!(of_container(sleeps, json!({})), all());
}

#[test]
fn worker_with_many_jobs_at_once_gets_no_limits() {
    let with =
        |concurrency: i32| of_container(json!({"name": "worker"}), json!({"concurrency": concurrency}));
    assert_eq!(with(50), all());
    assert_eq!(with(51), requests());
}

#[test]
fn resources_of_whole_pod_leave_its_containers_none() {
    let pod = json!({"limits": {"memory": "64Mi"}});
    let deployment = built(json!({"template": {"spec": {"resources": pod, "containers": []}}}));
    assert_eq!(resources(&deployment)[0], json!(null));
    let mut spec = resizing(command());
    spec["template"]["spec"]["resources"] = pod;
    let [_, copier] = resources(&built(spec));
    assert_eq!(copier, json!(null));
}

#[test]
fn resources_are_those_of_setting() {
    let with = |setting: &str, spec: serde_json::Value| {
        let pool = pool(spec);
        let server = crate::source::place(&pool).unwrap();
        let deployment = built_with_resources(&pool, &server, &["queue"], None, &setting.parse().unwrap());
        resources(&deployment)
    };
    let memory = r#"{"limits": {"memory": "1Gi"}}"#;
    let limits = json!({"limits": {"memory": "1Gi"}});
    assert_eq!(with(memory, json!({}))[0], limits);
    assert_eq!(with(memory, resizing(command()))[1], limits);
    assert_eq!(with("{}", json!({})), [json!(null), json!(null)]);
    assert_eq!(with("{}", resizing(command())), [json!(null), json!(null)]);
    assert_eq!(
        with(memory, json!({"worker": command()}))[0],
        json!(null),
        "no limits"
    );
}
