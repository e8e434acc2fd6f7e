//! Ports, probes, names and folders that the user's template has already.

use super::*;

/// A pool that runs `resize` in this container, beside what else the pod has.
fn pod(
    worker: serde_json::Value,
    settings: serde_json::Value,
    others: serde_json::Value,
) -> serde_json::Value {
    let mut container = json!({"name": "worker", "image": "resize:1"});
    merge(&mut container, worker);
    let mut handler = command();
    merge(&mut handler, settings);
    let mut pod = json!({"containers": [container]});
    for (name, value) in others.as_object().unwrap() {
        match (name.as_str(), value) {
            ("containers", serde_json::Value::Array(more)) => {
                pod["containers"].as_array_mut().unwrap().extend(more.clone());
            }
            _ => pod[name] = value.clone(),
        }
    }
    json!({"worker": handler, "template": {"spec": pod}})
}

fn merge(into: &mut serde_json::Value, other: serde_json::Value) {
    into.as_object_mut()
        .unwrap()
        .extend(other.as_object().unwrap().clone());
}

fn probed(deployment: &serde_json::Value) -> serde_json::Value {
    let worker = worker(deployment);
    let port = |probe: &str| worker[probe]["httpGet"]["port"].clone();
    assert_eq!(port("readinessProbe"), port("livenessProbe"));
    port("livenessProbe")
}

fn refusal(spec: serde_json::Value) -> String {
    check_listener(&pool(spec), "workerpool:1")
        .unwrap_err()
        .to_string()
}

#[test]
fn port_is_named_only_where_pod_has_no_port_of_that_name() {
    let http = json!([{"name": "http", "containerPort": 9000}]);
    let ours = |name: serde_json::Value| {
        let mut port = json!({"containerPort": 8080, "protocol": "TCP"});
        if !name.is_null() {
            port["name"] = name;
        }
        port
    };
    let ports = |spec: serde_json::Value| worker(&built(spec))["ports"].as_array().unwrap().last().cloned();
    let none = json!({});
    let sidecar = json!({"name": "web", "image": "web:1", "restartPolicy": "Always", "ports": http});
    for (worker, others, name) in [
        (none.clone(), none.clone(), json!("http")),
        (json!({"ports": http}), none.clone(), json!(null)),
        (
            none.clone(),
            json!({"containers": [{"name": "web", "ports": http}]}),
            json!(null),
        ),
        (none.clone(), json!({"initContainers": [sidecar]}), json!(null)),
        (
            json!({"ports": [{"name": "web", "containerPort": 9000}]}),
            none,
            json!("http"),
        ),
    ] {
        let spec = pod(worker, json!({}), others);
        assert_eq!(ports(spec.clone()), Some(ours(name)), "{spec}");
    }
}

#[test]
fn port_that_container_has_is_not_added_again_unless_it_is_of_udp() {
    let ports = |ports: serde_json::Value| {
        let spec = pod(json!({"ports": ports}), json!({}), json!({}));
        let ports = worker(&built(spec))["ports"].clone();
        let ports = ports.as_array().unwrap().iter();
        ports.map(|port| port["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        ports(json!([{"name": "probes", "containerPort": 8080}])),
        ["probes"]
    );
    assert_eq!(
        ports(json!([{"name": "dns", "containerPort": 8080, "protocol": "UDP"}])),
        ["dns", "http"]
    );
}

#[test]
fn probes_that_user_wrote_are_kept() {
    let probe = json!({"httpGet": {"path": "/own", "port": "http"}});
    let spec = pod(
        json!({"livenessProbe": probe, "readinessProbe": {"exec": {"command": ["true"]}}}),
        json!({"telemetryPort": 9090}),
        json!({}),
    );
    let deployment = built(spec);
    assert_eq!(worker(&deployment)["livenessProbe"], probe);
    assert_eq!(
        worker(&deployment)["readinessProbe"],
        json!({"exec": {"command": ["true"]}})
    );
}

#[test]
fn telemetry_port_moves_listener_port_and_probes_together() {
    for spec in [
        json!({"worker": {"telemetryPort": 9090}}),
        pod(json!({}), json!({"telemetryPort": 9090}), json!({})),
    ] {
        let deployment = built(spec);
        assert_eq!(
            env(&deployment, "WORKERPOOL_TELEMETRY_ADDRESS")["value"],
            "[::]:9090"
        );
        assert_eq!(worker(&deployment)["ports"][0]["containerPort"], 9090);
        assert_eq!(probed(&deployment), 9090);
    }
    let usual = built(json!({}));
    // Else every Deployment of before would be rolled out again.
    assert_eq!(env(&usual, "WORKERPOOL_TELEMETRY_ADDRESS"), json!(null));
    assert_eq!(probed(&usual), 8080);
}

#[test]
fn port_and_probes_follow_address_that_template_sets() {
    let address = |value: &str| json!({"env": [{"name": "WORKERPOOL_TELEMETRY_ADDRESS", "value": value}]});
    let none = json!({});
    for (worker, port) in [
        (address("0.0.0.0:9090"), 9090),
        (address("[::]:9090"), 9090),
        (address("$(WORKER_IP):9090"), 9090),
        (address("$(ADDRESS)"), 8080),
        (address("[::]:0"), 8080),
    ] {
        let deployment = built(pod(worker.clone(), none.clone(), none.clone()));
        assert_eq!(probed(&deployment), port, "{worker}");
        assert_eq!(worker["env"][0], env(&deployment, "WORKERPOOL_TELEMETRY_ADDRESS"));
    }
    for args in [
        json!(["--telemetry-address=[::]:9090"]),
        json!(["--telemetry-address", "[::]:9090"]),
    ] {
        let container = json!({"name": "worker", "args": args});
        assert_eq!(
            probed(&built(json!({"template": {"spec": {"containers": [container]}}}))),
            9090
        );
    }
}

#[test]
fn two_ports_for_one_listener_are_refused() {
    let env = json!([{"name": "WORKERPOOL_TELEMETRY_ADDRESS", "value": "[::]:9090"}]);
    let spec = |port: i32| pod(json!({"env": env}), json!({"telemetryPort": port}), json!({}));
    assert_eq!(
        refusal(spec(7000)),
        "the template's container worker sets WORKERPOOL_TELEMETRY_ADDRESS to port 9090, and spec.worker.telemetryPort is \
         7000: take one of the two away"
    );
    assert_eq!(check_listener(&pool(spec(9090)), "workerpool:1"), Ok(()));
}

#[test]
fn port_of_another_container_is_refused_with_field_that_helps() {
    let ports = json!([{"containerPort": 8080}]);
    let service = json!({"containers": [{"name": "service", "ports": ports}]});
    let expected = |name: &str| {
        format!(
            "the template's container {name} has port 8080, on which the worker serves its probes: the containers of a pod \
             share their ports; set spec.worker.telemetryPort to another one"
        )
    };
    let none = json!({});
    assert_eq!(
        refusal(pod(none.clone(), none.clone(), service.clone())),
        expected("service")
    );
    // The stock worker is added to the containers of a service.
    let http = json!({"handler": {"http": {"url": "http://localhost:8080"}}});
    assert_eq!(
        refusal(json!({"worker": http, "template": {"spec": service}})),
        expected("service")
    );
    let init =
        |policy: &str| json!({"initContainers": [{"name": "mesh", "restartPolicy": policy, "ports": ports}]});
    assert_eq!(
        refusal(pod(none.clone(), none.clone(), init("Always"))),
        expected("mesh")
    );

    let unknown = json!({"env": [{"name": "WORKERPOOL_TELEMETRY_ADDRESS", "valueFrom": {}}]});
    let udp = json!({"containers": [{"name": "dns", "ports": [{"containerPort": 8080, "protocol": "UDP"}]}]});
    for fine in [
        pod(none.clone(), json!({"telemetryPort": 9090}), service.clone()),
        pod(unknown, none.clone(), service),
        pod(json!({"ports": ports}), none.clone(), none.clone()),
        pod(none.clone(), none.clone(), udp),
        pod(none.clone(), none.clone(), init("")),
        // Another program may well listen on another port.
        json!({"template": {"spec": {"containers": [{"name": "worker", "image": "mine"}, {"name": "web", "ports": ports}]}}}),
        none,
    ] {
        assert_eq!(
            check_listener(&pool(fine.clone()), "workerpool:1"),
            Ok(()),
            "{fine}"
        );
    }
}

#[test]
fn names_and_folders_that_template_has_are_kept() {
    let worker = json!({"volumeMounts": [{"name": "data", "mountPath": "/workerpool/data"}]});
    let others = json!({
        "volumes": [
            {"name": "workerpool-worker", "configMap": {"name": "mine"}},
            {"name": "workerpool-redis-credentials", "configMap": {"name": "mine"}},
        ],
        "initContainers": [{"name": "workerpool-worker", "image": "mine"}],
    });
    let mut spec = pod(worker, json!({}), others);
    spec["redis"] = json!({"credentialsSecretRef": {"name": "auth"}});
    let deployment = built(spec);
    let pod = &deployment["spec"]["template"]["spec"];
    let names = |list: &str| {
        let list = pod[list].as_array().unwrap().iter();
        list.map(|one| one["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        names("initContainers"),
        ["workerpool-worker-2", "workerpool-worker"]
    );
    assert_eq!(
        names("volumes"),
        [
            "workerpool-worker",
            "workerpool-redis-credentials",
            "workerpool-worker-2",
            "workerpool-redis-credentials-2"
        ]
    );
    let worker = super::worker(&deployment);
    assert_eq!(worker["command"], json!(["/workerpool-2/worker"]));
    assert_eq!(pod["initContainers"][0]["command"][2], "/workerpool-2/worker");
    assert_eq!(
        pod["initContainers"][0]["volumeMounts"][0],
        json!({"name": "workerpool-worker-2", "mountPath": "/workerpool-2"})
    );
    assert_eq!(mounted(&deployment, LOGIN), json!({"secretName": "auth"}));
}

#[test]
fn token_and_service_links_are_taken_only_from_our_worker() {
    let given = |spec: serde_json::Value| {
        let deployment = built(spec);
        let pod = &deployment["spec"]["template"]["spec"];
        ["automountServiceAccountToken", "enableServiceLinks"].map(|field| pod[field].clone())
    };
    let account = json!({"serviceAccountName": "robot"});
    assert_eq!(given(json!({})), [json!(false), json!(false)]);
    assert_eq!(
        given(pod(json!({}), json!({}), json!({}))),
        [json!(false), json!(false)]
    );
    assert_eq!(
        given(pod(json!({}), json!({}), account)),
        [json!(null), json!(false)]
    );
    assert_eq!(
        given(pod(json!({}), json!({}), json!({"serviceAccountName": ""}))),
        [json!(false), json!(false)]
    );
    let mut foreign = json!({"template": {"spec": {"containers": [{"name": "worker", "image": "mine"}]}}});
    assert_eq!(given(foreign.clone()), [json!(null), json!(null)]);
    foreign["template"]["spec"]["automountServiceAccountToken"] = json!(false);
    assert_eq!(given(foreign), [json!(false), json!(null)]);
}

#[test]
fn command_is_told_to_read_nothing_only_where_pool_says_so() {
    let setting = |stdin: serde_json::Value| {
        let spec = json!({"worker": {"handler": {"command": ["ffmpeg"], "stdin": stdin}}});
        env(&built(spec), "WORKERPOOL_COMMAND_STDIN")["value"].clone()
    };
    assert_eq!(setting(json!("Empty")), "Empty");
    assert_eq!(setting(json!("Job")), json!(null));
    assert_eq!(setting(json!(null)), json!(null));
}
