use serde_json::json;

use queue::Tls;

use super::*;

mod labels;
mod listener;
mod resources;

fn pool(spec: serde_json::Value) -> WorkerPool {
    serde_json::from_value(json!({
        "apiVersion": "workerpool.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {"name": "hw7", "namespace": "default", "uid": "1-2-3"},
        "spec": spec,
    }))
    .unwrap()
}

fn built(spec: serde_json::Value) -> serde_json::Value {
    let pool = pool(spec);
    built_for(&pool, &crate::source::place(&pool).unwrap())
}

fn built_for(pool: &WorkerPool, server: &Server) -> serde_json::Value {
    built_over(pool, server, &["queue"])
}

fn built_over(pool: &WorkerPool, server: &Server, queues: &[&str]) -> serde_json::Value {
    built_beside(pool, server, queues, None)
}

fn built_beside(
    pool: &WorkerPool,
    server: &Server,
    queues: &[&str],
    selector: Option<&LabelSelector>,
) -> serde_json::Value {
    built_with_resources(pool, server, queues, selector, &WorkerResources::default())
}

fn built_with_resources(
    pool: &WorkerPool,
    server: &Server,
    queues: &[&str],
    selector: Option<&LabelSelector>,
    resources: &WorkerResources,
) -> serde_json::Value {
    let queues: Vec<_> = queues
        .iter()
        .map(|queue| Queue::new(queue.parse().unwrap()))
        .collect();
    let inputs = Inputs {
        image: "workerpool:1",
        resources,
        server,
        queues: &queues,
        selector,
    };
    serde_json::to_value(build_deployment(pool, inputs)).unwrap()
}

fn worker(deployment: &serde_json::Value) -> &serde_json::Value {
    deployment["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|container| container["name"] == "worker")
        .unwrap()
}

fn env(deployment: &serde_json::Value, name: &str) -> serde_json::Value {
    let found = worker(deployment)["env"]
        .as_array()
        .unwrap()
        .iter()
        .find(|env| env["name"] == name);
    found.cloned().unwrap_or_default()
}

#[test]
fn empty_spec_makes_the_stock_worker_owned_by_its_pool() {
    let deployment = built(json!({}));
    assert_eq!(deployment["metadata"]["name"], "hw7");
    assert_eq!(deployment["metadata"]["ownerReferences"][0]["uid"], "1-2-3");
    assert_eq!(deployment["metadata"]["ownerReferences"][0]["controller"], true);
    assert_eq!(deployment["spec"]["replicas"], json!(null));
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["enableServiceLinks"], false);
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["terminationGracePeriodSeconds"], 30);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let worker = worker(&deployment);
    assert_eq!(worker["image"], "workerpool:1");
    assert_eq!(worker["command"], json!(["/workerpool-worker"]));
    assert_eq!(
        worker["readinessProbe"]["httpGet"],
        json!({"path": "/readyz", "port": 8080})
    );
    assert_eq!(env(&deployment, "REDIS_IP")["value"], "redis.default.svc");
    assert_eq!(
        env(&deployment, "WORKERPOOL_REDIS_ADDRESS")["value"],
        "redis.default.svc:6379"
    );
    assert_eq!(env(&deployment, "WORKERPOOL_GRACE_SECONDS")["value"], "25");
    assert_eq!(
        env(&deployment, "WORKER_IP")["valueFrom"]["fieldRef"]["fieldPath"],
        "status.podIP"
    );
    assert_eq!(
        env(&deployment, "WORKERPOOL_POD_UID")["valueFrom"]["fieldRef"]["fieldPath"],
        "metadata.uid"
    );
}

#[test]
fn all_queues_are_named_where_there_are_several_and_only_there() {
    let pool = pool(json!({}));
    let server = crate::source::place(&pool).unwrap();
    let one = built_over(&pool, &server, &["a"]);
    let several = built_over(&pool, &server, &["a", "b"]);
    for deployment in [&one, &several] {
        assert_eq!(env(deployment, "WORKERPOOL_QUEUE")["value"], "a");
        assert_eq!(env(deployment, "WORKERPOOL_QUEUE_DB")["value"], "2");
        assert_eq!(env(deployment, "WORKERPOOL_JOBS_DB")["value"], "3");
    }
    assert_eq!(env(&several, "WORKERPOOL_QUEUES")["value"], "a,b");
    // Else every Deployment of before would be rolled out anew.
    assert_eq!(env(&one, "WORKERPOOL_QUEUES"), json!(null));
}

#[test]
fn what_the_template_says_stays_and_the_rest_is_filled_in() {
    let deployment = built(json!({"template": {
        "metadata": {"labels": {"team": "a"}},
        "spec": {
            "containers": [
                {"name": "sidecar", "image": "x"},
                {"name": "worker", "env": [{"name": "WORKERPOOL_SLEEP_SECONDS", "value": "1"}, {"name": "REDIS_IP", "value": "own"}]}
            ],
            "nodeSelector": {"disk": "ssd"}
        }
    }}));
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["nodeSelector"], json!({"disk": "ssd"}));
    assert_eq!(pod["containers"][0], json!({"name": "sidecar", "image": "x"}));
    assert_eq!(deployment["spec"]["template"]["metadata"]["labels"]["team"], "a");
    assert_eq!(deployment["spec"]["template"]["metadata"]["labels"][POOL], "hw7");
    assert_eq!(env(&deployment, "WORKERPOOL_SLEEP_SECONDS")["value"], "1");
    assert_eq!(env(&deployment, "REDIS_IP")["value"], "own");
    assert_eq!(worker(&deployment)["image"], "workerpool:1");
}

#[test]
fn someone_elses_program_gets_the_environment_and_no_probes() {
    let deployment =
        built(json!({"template": {"spec": {"containers": [{"name": "worker", "image": "python:3"}]}}}));
    let worker = worker(&deployment);
    assert_eq!(worker["image"], "python:3");
    assert_eq!(worker["command"], json!(null));
    assert_eq!(worker["livenessProbe"], json!(null));
    let pod = &deployment["spec"]["template"]["spec"];
    for untouched in [
        "securityContext",
        "automountServiceAccountToken",
        "enableServiceLinks",
    ] {
        assert_eq!(pod[untouched], json!(null), "{untouched}");
    }
    assert_eq!(env(&deployment, "REDIS_IP")["value"], "redis.default.svc");
}

#[test]
fn worker_is_told_how_other_programs_speak_unless_by_default() {
    let names = [
        "WORKERPOOL_QUEUE_SERIALIZER",
        "WORKERPOOL_QUEUE_SERIALIZERS",
        "WORKERPOOL_FOREIGN_FINAL_STATUSES",
    ];
    let told = |spec: serde_json::Value| {
        let pool = pool(spec);
        let queues = crate::source::queues(&pool).unwrap();
        let queues: Vec<_> = queues
            .iter()
            .filter_map(|subject| subject.own().cloned())
            .collect();
        let inputs = Inputs {
            image: "workerpool:1",
            resources: &WorkerResources::default(),
            server: &crate::source::place(&pool).unwrap(),
            queues: &queues,
            selector: None,
        };
        let deployment = serde_json::to_value(build_deployment(&pool, inputs)).unwrap();
        names.map(|name| env(&deployment, name)["value"].clone())
    };
    let none = json!(null);
    assert_eq!(told(json!({})), [none.clone(), none.clone(), none.clone()]);
    let pickle = json!({"queues": [{"name": "a", "serializer": "Pickle"}, {"name": "b"}]});
    assert_eq!(told(pickle), [none.clone(), none.clone(), none.clone()]);
    let same = json!({
        "queues": [{"name": "a", "serializer": "Json"}, {"name": "b", "serializer": "Json"}],
        "worker": {"foreignFinalStatuses": ["finished", "$(done)"]},
    });
    assert_eq!(
        told(same),
        [json!("json"), none.clone(), json!("$$(done),finished")]
    );
    let several = json!({"queues": [{"name": "a"}, {"name": "b", "serializer": "None"}]});
    assert_eq!(told(several), [none.clone(), json!("pickle,none"), none]);
}

#[test]
fn how_jobs_are_run_reaches_the_worker() {
    let defaults = built(json!({}));
    let value = |deployment: &serde_json::Value, name: &str| env(deployment, name)["value"].clone();
    for (name, expected) in [
        ("WORKERPOOL_CONCURRENCY", json!("1")),
        ("WORKERPOOL_LEASE_SECONDS", json!("30")),
        ("WORKERPOOL_MAX_ATTEMPTS", json!("3")),
        ("WORKERPOOL_MAX_LOST", json!("3")),
        ("WORKERPOOL_BACKOFF_BASE_SECONDS", json!("1")),
        ("WORKERPOOL_BACKOFF_CAP_SECONDS", json!("300")),
        ("WORKERPOOL_RETENTION_SECONDS", json!("604800")),
        ("WORKERPOOL_DEAD_RETENTION_SECONDS", json!("7776000")),
        ("WORKERPOOL_RECOVER_FOREIGN", json!("false")),
        ("WORKERPOOL_JOB_TIMEOUT_SECONDS", json!(null)),
        ("WORKERPOOL_HANDLER", json!(null)),
        ("WORKERPOOL_RESULT_MAX_BYTES", json!(null)),
    ] {
        assert_eq!(value(&defaults, name), expected, "{name}");
    }
    let other = built(json!({"worker": {
        "concurrency": 2, "leaseSeconds": 10, "jobTimeoutSeconds": 60, "maxAttempts": 4, "maxLost": 5,
        "backoff": {"baseSeconds": 6, "capSeconds": 7}, "retentionSeconds": 0, "deadRetentionSeconds": 8,
        "recoverForeignJobs": true, "maxResultBytes": 4096,
    }}));
    for (name, expected) in [
        ("WORKERPOOL_CONCURRENCY", "2"),
        ("WORKERPOOL_LEASE_SECONDS", "10"),
        ("WORKERPOOL_MAX_ATTEMPTS", "4"),
        ("WORKERPOOL_MAX_LOST", "5"),
        ("WORKERPOOL_BACKOFF_BASE_SECONDS", "6"),
        ("WORKERPOOL_BACKOFF_CAP_SECONDS", "7"),
        ("WORKERPOOL_RETENTION_SECONDS", "0"),
        ("WORKERPOOL_DEAD_RETENTION_SECONDS", "8"),
        ("WORKERPOOL_RECOVER_FOREIGN", "true"),
        ("WORKERPOOL_JOB_TIMEOUT_SECONDS", "60"),
        ("WORKERPOOL_RESULT_MAX_BYTES", "4096"),
    ] {
        assert_eq!(value(&other, name), json!(expected), "{name}");
    }
}

/// The Secret that is mounted in the container `worker` at this path.
fn mounted(deployment: &serde_json::Value, path: &str) -> serde_json::Value {
    let find = |list: &serde_json::Value, field: &str, value: &str| {
        let list = list.as_array().into_iter().flatten();
        let mut found = list.filter(|one| one[field] == value).cloned();
        found.next().unwrap_or_default()
    };
    let mount = find(&worker(deployment)["volumeMounts"], "mountPath", path);
    let volumes = &deployment["spec"]["template"]["spec"]["volumes"];
    find(volumes, "name", mount["name"].as_str().unwrap_or_default())["secret"].clone()
}

const LOGIN: &str = "/var/run/workerpool/redis-credentials";
const SENTINEL_LOGIN: &str = "/var/run/workerpool/redis-sentinel-credentials";

#[test]
fn our_worker_reads_its_login_from_files_that_follow_secret() {
    for worker in [json!({}), command()] {
        let mut spec = resizing(worker.clone());
        if worker == json!({}) {
            spec.as_object_mut().unwrap().remove("template");
        }
        spec["redis"] = json!({"credentialsSecretRef": {"name": "auth", "passwordKey": "redis-password"}});
        let deployment = built(spec);
        assert_eq!(mounted(&deployment, LOGIN), json!({"secretName": "auth"}));
        for (name, value) in [
            (
                "WORKERPOOL_REDIS_USERNAME_FILE",
                json!(format!("{LOGIN}/username")),
            ),
            (
                "WORKERPOOL_REDIS_PASSWORD_FILE",
                json!(format!("{LOGIN}/redis-password")),
            ),
            ("WORKERPOOL_REDIS_USERNAME", json!(null)),
            ("WORKERPOOL_REDIS_PASSWORD", json!(null)),
        ] {
            assert_eq!(env(&deployment, name)["value"], value, "{name}");
        }
    }
}

#[test]
fn foreign_program_gets_its_login_by_environment() {
    let deployment = built(json!({
        "redis": {"credentialsSecretRef": {"name": "auth", "passwordKey": "redis-password"}},
        "template": {"spec": {"containers": [{"name": "worker", "image": "python:3"}]}},
    }));
    let key = |name| env(&deployment, name)["valueFrom"]["secretKeyRef"].clone();
    assert_eq!(
        key("WORKERPOOL_REDIS_USERNAME"),
        json!({"name": "auth", "key": "username", "optional": true})
    );
    assert_eq!(
        key("WORKERPOOL_REDIS_PASSWORD"),
        json!({"name": "auth", "key": "redis-password"})
    );
    assert_eq!(env(&deployment, "WORKERPOOL_REDIS_PASSWORD_FILE"), json!(null));
    assert_eq!(deployment["spec"]["template"]["spec"]["volumes"], json!(null));
}

#[test]
fn login_that_template_sets_itself_is_kept() {
    let container = json!({
        "name": "worker",
        "env": [{"name": "WORKERPOOL_REDIS_PASSWORD", "value": "own"}],
        "volumeMounts": [{"name": "own", "mountPath": format!("{LOGIN}/")}],
    });
    let deployment = built(json!({
        "redis": {"credentialsSecretRef": {"name": "auth"}},
        "template": {"spec": {"containers": [container], "volumes": [{"name": "own", "emptyDir": {}}]}},
    }));
    assert_eq!(env(&deployment, "WORKERPOOL_REDIS_PASSWORD")["value"], "own");
    // A file would beat it.
    assert_eq!(env(&deployment, "WORKERPOOL_REDIS_PASSWORD_FILE"), json!(null));
    assert_eq!(
        env(&deployment, "WORKERPOOL_REDIS_USERNAME_FILE")["value"],
        format!("{LOGIN}/username")
    );
    assert_eq!(worker(&deployment)["volumeMounts"].as_array().unwrap().len(), 1);
}

#[test]
fn certificates_lie_under_keys_that_pool_names() {
    let secret =
        json!({"name": "certificates", "caKey": "root.pem", "certKey": "me.pem", "keyKey": "me.key"});
    let mut server = Server::new("redis:6379".parse().unwrap());
    server.tls = Some(Tls {
        ca: Some("pem".to_owned()),
        identity: Some(queue::TlsIdentity {
            certificate: "pem".to_owned(),
            key: queue::Secret::new("pem"),
        }),
        ..Tls::default()
    });
    let deployment = built_for(&pool(json!({"redis": {"tls": {"secretRef": secret}}})), &server);
    let folder = "/var/run/workerpool/redis-tls";
    assert_eq!(
        mounted(&deployment, folder),
        json!({"secretName": "certificates"})
    );
    for (name, file) in [
        ("WORKERPOOL_REDIS_CA_FILE", "root.pem"),
        ("WORKERPOOL_REDIS_CERT_FILE", "me.pem"),
        ("WORKERPOOL_REDIS_KEY_FILE", "me.key"),
    ] {
        assert_eq!(
            env(&deployment, name)["value"],
            format!("{folder}/{file}"),
            "{name}"
        );
    }
}

#[test]
fn sentinels_reach_the_pods_in_the_place_of_an_address() {
    let sentinel = json!({
        "masterName": "jobs", "addresses": ["one", "two:7000"], "credentialsSecretRef": {"name": "watchers"},
    });
    let deployment = built(json!({"redis": {"sentinel": sentinel}}));
    let sentinels = "one.default.svc:26379,two.default.svc:7000";
    assert_eq!(env(&deployment, "WORKERPOOL_REDIS_SENTINELS")["value"], sentinels);
    assert_eq!(env(&deployment, "WORKERPOOL_REDIS_MASTER_NAME")["value"], "jobs");
    assert_eq!(
        env(&deployment, "WORKERPOOL_REDIS_SENTINEL_PASSWORD_FILE")["value"],
        format!("{SENTINEL_LOGIN}/password")
    );
    assert_eq!(
        mounted(&deployment, SENTINEL_LOGIN),
        json!({"secretName": "watchers"})
    );
    for absent in [
        "REDIS_IP",
        "WORKERPOOL_REDIS_ADDRESS",
        "WORKERPOOL_REDIS_PASSWORD_FILE",
    ] {
        assert_eq!(env(&deployment, absent), json!(null), "{absent}");
    }
}

#[test]
fn deployment_is_applied_again_only_when_something_in_it_changed() {
    let server = Server::new("redis:6379".parse().unwrap());
    let queues = [Queue::new("queue".parse().unwrap())];
    let build = |image, spec| {
        build_deployment(
            &pool(spec),
            Inputs {
                image,
                resources: &WorkerResources::default(),
                server: &server,
                queues: &queues,
                selector: None,
            },
        )
    };
    let applied = build("workerpool:1", json!({}));
    let is_same = |wanted: Deployment| applied_hash(&wanted) == applied_hash(&applied);
    assert!(is_same(build("workerpool:1", json!({}))));
    assert!(is_same(build(
        "workerpool:1",
        json!({"replicas": 3, "scaling": {"maxReplicas": 3}})
    )));
    assert!(!is_same(build("workerpool:2", json!({}))));
    assert!(!is_same(build(
        "workerpool:1",
        json!({"worker": {"concurrency": 2}})
    )));
}

/// A pool that runs `python3 /app/resize.py` in an image of the user's.
fn resizing(worker: serde_json::Value) -> serde_json::Value {
    let container = json!({"name": "worker", "image": "resize:1", "volumeMounts": [{"name": "app", "mountPath": "/app"}]});
    json!({
        "worker": worker,
        "template": {"spec": {
            "containers": [container],
            "initContainers": [{"name": "own", "image": "own:1"}],
            "volumes": [{"name": "app", "configMap": {"name": "resize"}}],
        }},
    })
}

fn command() -> serde_json::Value {
    json!({"handler": {"command": ["python3", "/app/resize.py"]}})
}

#[test]
fn command_runs_in_the_users_image_by_a_copy_of_our_worker() {
    let deployment = built(resizing(command()));
    let pod = &deployment["spec"]["template"]["spec"];
    let worker = worker(&deployment);
    assert_eq!(worker["image"], "resize:1");
    assert_eq!(worker["command"], json!(["/workerpool/worker"]));
    assert_eq!(
        worker["volumeMounts"],
        json!([
            {"name": "app", "mountPath": "/app"},
            {"name": "workerpool-worker", "mountPath": "/workerpool", "readOnly": true},
        ])
    );
    assert_eq!(
        pod["volumes"][1],
        json!({"name": "workerpool-worker", "emptyDir": {"sizeLimit": "64Mi"}})
    );
    assert_eq!(env(&deployment, "WORKERPOOL_HANDLER")["value"], "command");
    assert_eq!(
        env(&deployment, "WORKERPOOL_COMMAND")["value"],
        r#"["python3","/app/resize.py"]"#
    );
    assert_eq!(env(&deployment, "WORKERPOOL_KILL_GRACE_SECONDS")["value"], "10");
    assert_eq!(env(&deployment, "WORKERPOOL_GRACE_SECONDS")["value"], "15");
    assert_eq!(worker["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(worker["livenessProbe"]["httpGet"]["path"], "/healthz");
    assert_eq!(worker["ports"][0]["containerPort"], 8080);
}

#[test]
fn our_worker_is_copied_before_anything_else_starts_by_a_container_that_may_do_nothing() {
    let deployment = built(resizing(command()));
    let containers = &deployment["spec"]["template"]["spec"]["initContainers"];
    assert_eq!(
        containers[0],
        json!({
            "name": "workerpool-worker",
            "image": "workerpool:1",
            "command": ["/workerpool-worker", "copy-to", "/workerpool/worker"],
            "volumeMounts": [{"name": "workerpool-worker", "mountPath": "/workerpool"}],
            "resources": {
                "requests": {"cpu": "10m", "memory": "16Mi"},
                "limits": {"cpu": "500m", "memory": "128Mi"},
            },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": true,
                "runAsNonRoot": true,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        })
    );
    assert_eq!(containers[1], json!({"name": "own", "image": "own:1"}));
}

#[test]
fn who_the_users_image_runs_as_is_the_users_choice() {
    let deployment = built(resizing(command()));
    assert_eq!(
        deployment["spec"]["template"]["spec"]["securityContext"],
        json!(null)
    );
    assert_eq!(worker(&deployment)["securityContext"], json!(null));

    let copier = |user: i64| {
        let mut spec = resizing(command());
        spec["template"]["spec"]["securityContext"] = json!({"runAsUser": user});
        built(spec)["spec"]["template"]["spec"]["initContainers"][0]["securityContext"]["runAsUser"].clone()
    };
    assert_eq!(copier(1000), json!(null), "the pod's");
    assert_eq!(
        copier(0),
        65532,
        "a copier that must not be root would not start as root"
    );
}

#[test]
fn command_without_an_image_runs_in_the_stock_one() {
    let image = |container: serde_json::Value| {
        let deployment =
            built(json!({"worker": command(), "template": {"spec": {"containers": [container]}}}));
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(worker(&deployment)["command"], json!(["/workerpool-worker"]));
        assert_eq!(pod["initContainers"], json!(null));
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(env(&deployment, "WORKERPOOL_HANDLER")["value"], "command");
        worker(&deployment)["image"].clone()
    };
    assert_eq!(image(json!({"name": "worker"})), "workerpool:1");
    assert_eq!(
        image(json!({"name": "worker", "image": "workerpool:1"})),
        "workerpool:1"
    );
}

#[test]
fn command_reaches_the_worker_as_given_whatever_a_shell_or_kubernetes_would_make_of_it() {
    let script = r#"echo "$(WORKER_IP) $$ $JOB_ID""#;
    let deployment = built(resizing(
        json!({"handler": {"command": ["sh", "-c", script, ""]}}),
    ));
    // As the kubelet reads it: `$$` is one `$`.
    let value = env(&deployment, "WORKERPOOL_COMMAND")["value"]
        .as_str()
        .unwrap()
        .replace("$$", "$");
    let argv: Vec<String> = serde_json::from_str(&value).unwrap();
    assert_eq!(argv, ["sh", "-c", script, ""]);
}

#[test]
fn service_is_left_alone_beside_the_stock_worker() {
    let service = json!({"name": "service", "image": "model:1", "command": ["serve"]});
    let sidecar = json!({"name": "warm", "image": "model:1", "restartPolicy": "Always"});
    let http = json!({"url": "http://localhost:8000/resize", "readyURL": "http://localhost:8000/healthz"});
    let deployment = built(json!({
        "worker": {"handler": {"http": http}},
        "template": {"spec": {"containers": [service], "initContainers": [sidecar]}},
    }));
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0], service);
    assert_eq!(pod["initContainers"], json!([sidecar]));
    assert_eq!(pod["volumes"], json!(null));
    let worker = worker(&deployment);
    assert_eq!(worker["image"], "workerpool:1");
    assert_eq!(worker["command"], json!(["/workerpool-worker"]));
    for (name, value) in [
        ("WORKERPOOL_HANDLER", json!("http")),
        ("WORKERPOOL_HTTP_URL", json!("http://localhost:8000/resize")),
        (
            "WORKERPOOL_HTTP_READY_URL",
            json!("http://localhost:8000/healthz"),
        ),
        ("WORKERPOOL_COMMAND", json!(null)),
        ("WORKERPOOL_KILL_GRACE_SECONDS", json!(null)),
    ] {
        assert_eq!(env(&deployment, name)["value"], value, "{name}");
    }
}

#[test]
fn command_in_somebody_elses_image_reads_redis_certificates_too() {
    let mut spec = resizing(command());
    spec["redis"] = json!({"tls": {"secretRef": {"name": "certificates"}}});
    let mut server = Server::new("redis:6379".parse().unwrap());
    server.tls = Some(Tls::default());
    let deployment = built_for(&pool(spec), &server);
    let mounts = worker(&deployment)["volumeMounts"].as_array().unwrap();
    let folders: Vec<_> = mounts
        .iter()
        .map(|mount| mount["mountPath"].as_str().unwrap())
        .collect();
    assert_eq!(folders, ["/app", "/workerpool", "/var/run/workerpool/redis-tls"]);
}

#[test]
fn name_for_certificates_is_given_to_workers_only_where_pool_sets_it() {
    let mut server = Server::new("redis:6379".parse().unwrap());
    for name in [None, Some("redis.example.com")] {
        server.tls = Some(Tls {
            server_name: name.map(str::to_owned),
            ..Tls::default()
        });
        let deployment = built_for(&pool(json!({"redis": {"tls": {}}})), &server);
        let given = &env(&deployment, "WORKERPOOL_REDIS_TLS_SERVER_NAME")["value"];
        assert_eq!(given, &json!(name));
    }
}
