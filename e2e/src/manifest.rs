//! What tests apply.

use serde_json::{Value, json};

use crate::HW7;

/// A WorkerPool of this name and spec.
#[must_use]
pub fn pool(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "workerpool.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {"name": name},
        "spec": spec,
    })
}

/// A Job of this name and spec, for the pool [`HW7`].
#[must_use]
pub fn job(name: &str, mut spec: Value) -> Value {
    spec["poolName"] = json!(HW7);
    json!({
        "apiVersion": "workerpool.dev/v1alpha1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": spec,
    })
}

/// A pool's template in which the stock worker takes this many seconds for a job, not its 15.
#[must_use]
pub fn sleeping(seconds: u32) -> Value {
    worker_with(json!([{"name": "WORKERPOOL_SLEEP_SECONDS", "value": seconds.to_string()}]))
}

/// The same, and SIGTERM cuts a job at once. With the stock worker's grace a short job would end well even on a pod that was
/// deleted in the middle of it, and a test that no job is cut would see nothing.
#[must_use]
pub fn sleeping_without_grace(seconds: u32) -> Value {
    worker_with(json!([
        {"name": "WORKERPOOL_SLEEP_SECONDS", "value": seconds.to_string()},
        {"name": "WORKERPOOL_GRACE_SECONDS", "value": "0"},
    ]))
}

fn worker_with(environment: Value) -> Value {
    json!({"spec": {"containers": [{"name": "worker", "env": environment}]}})
}

/// A Redis behind a password: Deployment and Service `locked`.
pub(crate) fn locked_redis(password: &str) -> [Value; 2] {
    let arguments = ["--requirepass", password];
    [deployment("locked", redis(&arguments)), service("locked", 6379)]
}

/// A Redis that speaks TLS only, wants a certificate from its clients, and knows one user: Deployment and Service `encrypted`. Its
/// own certificate lies in the Secret `encrypted-server`.
pub(crate) fn encrypted_redis(user: &str, password: &str) -> [Value; 2] {
    let password = format!(">{password}");
    let file = |name: &str| format!("{TLS_FILES}/{name}");
    let arguments = [
        ["--port", "0", "--tls-port", "6379", "--tls-auth-clients", "yes"]
            .map(str::to_owned)
            .to_vec(),
        vec!["--tls-ca-cert-file".to_owned(), file("ca.crt")],
        vec!["--tls-cert-file".to_owned(), file("tls.crt")],
        vec!["--tls-key-file".to_owned(), file("tls.key")],
        ["--user", "default", "off"].map(str::to_owned).to_vec(),
        [
            "--user",
            user,
            "on",
            &password,
            "~hotqueue:*",
            "~workerpool:*",
            "~job.*",
            "+@all",
        ]
        .map(str::to_owned)
        .to_vec(),
    ]
    .concat();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut container = redis(&arguments);
    container["volumeMounts"] = json!([{"name": "tls", "mountPath": TLS_FILES}]);
    let mut deployment = deployment("encrypted", container);
    deployment["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "tls", "secret": {"secretName": "encrypted-server"}}]);
    [deployment, service("encrypted", 6379)]
}

/// Where the files for TLS lie in a container.
pub(crate) const TLS_FILES: &str = "/tls";

/// A master, a replica, and a sentinel that puts the one in the place of the other within seconds: the Deployments and Services
/// `first`, `second` and `sentinel`. The sentinel calls the master `jobs`.
pub(crate) fn redis_with_sentinel(namespace: &str) -> [Value; 6] {
    let host = |name: &str| format!("{name}.{namespace}.svc");
    let (first, second) = (host("first"), host("second"));
    let master = redis(&["--replica-announce-ip", &first, "--appendonly", "yes"]);
    let replica = redis(&[
        "--replica-announce-ip",
        &second,
        "--replicaof",
        &format!("{first} 6379"),
        "--appendonly",
        "yes",
    ]);
    // A sentinel writes what it learns into its configuration.
    let settings = [
        "sentinel resolve-hostnames yes".to_owned(),
        "sentinel announce-hostnames yes".to_owned(),
        format!("sentinel monitor jobs {first} 6379 1"),
        // It takes no replica whose link was down for ten times as long before it missed the master. On a busy machine it may
        // miss it 30 s late: so long it decides nothing ("TILT") after it stood still for 2 s.
        "sentinel down-after-milliseconds jobs 5000".to_owned(),
        "sentinel failover-timeout jobs 5000".to_owned(),
    ];
    let script = format!(
        "printf '%s\\n' '{}' >/data/sentinel.conf && exec redis-server /data/sentinel.conf --sentinel --port 26379",
        settings.join("' '")
    );
    let sentinel = json!({
        "name": "redis",
        "image": "redis:7",
        "command": ["sh", "-c", script],
        "ports": [{"containerPort": 26379}],
    });
    [
        deployment("first", master),
        service("first", 6379),
        deployment("second", replica),
        service("second", 6379),
        deployment("sentinel", sentinel),
        service("sentinel", 26379),
    ]
}

fn redis(arguments: &[&str]) -> Value {
    let command = [&["redis-server", "--protected-mode", "no"], arguments].concat();
    json!({
        "name": "redis",
        "image": "redis:7",
        "command": command,
        "ports": [{"containerPort": 6379}],
    })
}

fn deployment(name: &str, container: Value) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    })
}

fn service(name: &str, port: u16) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": port}]},
    })
}
