//! What the worker is told by its environment.

use crds::{
    WorkerPool,
    handler::{Handler, Stdin},
    redis::{CredentialsSecretRef, TlsSecretRef},
    worker::WorkerSpec,
};
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, SecretKeySelector};
use queue::{Address, ForeignStatus, Queue, Serializer, Server, Tls};
use serde_json::json;

use super::{
    Inputs,
    ending::Ending,
    listener,
    program::Program,
    secrets::{self, Folder},
};

/// The settings of `workerpool-worker`, and the original's two variables.
pub(super) fn environment(
    pool: &WorkerPool,
    inputs: Inputs<'_>,
    ending: Ending,
    program: Program,
) -> Vec<EnvVar> {
    let Inputs { server, queues, .. } = inputs;
    let mut env = where_redis_is(server);
    env.push(field("WORKER_IP", "status.podIP"));
    env.extend(which_queues(queues));
    env.extend([
        value("WORKERPOOL_GRACE_SECONDS", ending.drain.to_string()),
        field("WORKERPOOL_POD_UID", "metadata.uid"),
        field("WORKERPOOL_POD_NAME", "metadata.name"),
    ]);
    env.extend(how_jobs_are_run(&pool.spec.worker));
    if let Some(handler) = &pool.spec.worker.handler {
        env.extend(what_runs_them(handler, ending));
    }
    let redis = &pool.spec.redis;
    if let Some(secret) = &redis.credentials_secret_ref {
        env.extend(login("WORKERPOOL_REDIS", secret, secrets::LOGIN, program));
    }
    if let Some(secret) = redis
        .sentinel
        .as_ref()
        .and_then(|sentinel| sentinel.credentials_secret_ref.as_ref())
    {
        let folder = secrets::SENTINEL_LOGIN;
        env.extend(login("WORKERPOOL_REDIS_SENTINEL", secret, folder, program));
    }
    if let Some(tls) = &server.tls {
        let secret = redis.tls.as_ref().and_then(|tls| tls.secret_ref.as_ref());
        env.extend(encryption(tls, secret));
    }
    env
}

/// The address, by its original name too; or who knows it, which the original never asked.
fn where_redis_is(server: &Server) -> Vec<EnvVar> {
    let Some(sentinel) = &server.sentinel else {
        return vec![
            value("REDIS_IP", &server.address.host),
            value("WORKERPOOL_REDIS_ADDRESS", server.address.to_string()),
        ];
    };
    let addresses: Vec<_> = sentinel.addresses.iter().map(Address::to_string).collect();
    vec![
        value("WORKERPOOL_REDIS_SENTINELS", addresses.join(",")),
        value("WORKERPOOL_REDIS_MASTER_NAME", &sentinel.master),
    ]
}

/// The first queue, and all of them where there are several: programs that know but one take from that. They are all in the
/// same databases.
fn which_queues(queues: &[Queue]) -> Vec<EnvVar> {
    let Some(first) = queues.first() else {
        return Vec::new();
    };
    let mut env = vec![
        value("WORKERPOOL_QUEUE", first.name.as_str()),
        value("WORKERPOOL_QUEUE_DB", first.queue_db.to_string()),
        value("WORKERPOOL_JOBS_DB", first.jobs_db.to_string()),
    ];
    if queues.len() > 1 {
        let names: Vec<_> = queues.iter().map(|queue| queue.name.as_str()).collect();
        env.push(value("WORKERPOOL_QUEUES", names.join(",")));
    }
    env.extend(how_programs_speak(first, queues));
    env
}

/// What differs from the defaults only, so that it changes no other pool's pods.
fn how_programs_speak(first: &Queue, queues: &[Queue]) -> Vec<EnvVar> {
    let mut env = Vec::new();
    let serializers: Vec<_> = queues.iter().map(|queue| queue.serializer.as_str()).collect();
    if queues.iter().any(|queue| queue.serializer != first.serializer) {
        env.push(value("WORKERPOOL_QUEUE_SERIALIZERS", serializers.join(",")));
    } else if first.serializer != Serializer::Pickle {
        env.push(value("WORKERPOOL_QUEUE_SERIALIZER", first.serializer.as_str()));
    }
    let words: Vec<_> = first.final_statuses.iter().map(ForeignStatus::as_str).collect();
    if !words.is_empty() {
        env.push(verbatim("WORKERPOOL_FOREIGN_FINAL_STATUSES", &words.join(",")));
    }
    env
}

/// What `spec.worker` says, each setting under its own name.
fn how_jobs_are_run(worker: &WorkerSpec) -> Vec<EnvVar> {
    let number = |name: &str, number: i32| value(name, number.to_string());
    let mut env = vec![
        number("WORKERPOOL_CONCURRENCY", worker.concurrency),
        number("WORKERPOOL_LEASE_SECONDS", worker.lease_seconds),
        number("WORKERPOOL_MAX_ATTEMPTS", worker.max_attempts),
        number("WORKERPOOL_MAX_LOST", worker.max_lost),
        number("WORKERPOOL_BACKOFF_BASE_SECONDS", worker.backoff.base_seconds),
        number("WORKERPOOL_BACKOFF_CAP_SECONDS", worker.backoff.cap_seconds),
        number("WORKERPOOL_RETENTION_SECONDS", worker.retention_seconds),
        number("WORKERPOOL_DEAD_RETENTION_SECONDS", worker.dead_retention_seconds),
        value(
            "WORKERPOOL_RECOVER_FOREIGN",
            worker.recover_foreign_jobs.to_string(),
        ),
    ];
    if let Some(timeout) = worker.job_timeout_seconds {
        env.push(number("WORKERPOOL_JOB_TIMEOUT_SECONDS", timeout));
    }
    if let Some(bytes) = worker.max_result_bytes {
        env.push(number("WORKERPOOL_RESULT_MAX_BYTES", bytes));
    }
    if let Some(port) = worker.telemetry_port {
        env.push(value(listener::ADDRESS, format!("[::]:{port}")));
    }
    env
}

/// The handler: a command, or a service.
fn what_runs_them(handler: &Handler, ending: Ending) -> Vec<EnvVar> {
    if let Some(command) = &handler.command {
        let mut env = vec![
            value("WORKERPOOL_HANDLER", "command"),
            verbatim("WORKERPOOL_COMMAND", &json!(command).to_string()),
            value("WORKERPOOL_KILL_GRACE_SECONDS", ending.kill.to_string()),
        ];
        if handler.stdin == Some(Stdin::Empty) {
            env.push(value("WORKERPOOL_COMMAND_STDIN", "Empty"));
        }
        return env;
    }
    let Some(http) = &handler.http else {
        return Vec::new();
    };
    let mut env = vec![
        value("WORKERPOOL_HANDLER", "http"),
        verbatim("WORKERPOOL_HTTP_URL", &http.url),
    ];
    if let Some(url) = http.ready_url() {
        env.push(verbatim("WORKERPOOL_HTTP_READY_URL", url));
    }
    env
}

/// The login that a Secret holds; the password itself is in no Deployment. Our worker reads it from files at each login, so that a
/// password may be changed under it. Other programs know their environment alone, which stays what it was at a pod's start.
fn login(prefix: &str, secret: &CredentialsSecretRef, folder: Folder, program: Program) -> [EnvVar; 2] {
    let [username, password] = ["USERNAME", "PASSWORD"].map(|name| format!("{prefix}_{name}"));
    if program == Program::Foreign {
        return [
            secret_key(&username, &secret.name, &secret.username_key, true),
            secret_key(&password, &secret.name, &secret.password_key, false),
        ];
    }
    [(username, &secret.username_key), (password, &secret.password_key)]
        .map(|(name, key)| value(&format!("{name}_FILE"), folder.file(key)))
}

fn encryption(tls: &Tls, secret: Option<&TlsSecretRef>) -> Vec<EnvVar> {
    let file = |key: &String| secrets::TLS.file(key);
    let mut env = vec![value("WORKERPOOL_REDIS_TLS", "true")];
    if let Some(name) = &tls.server_name {
        env.push(value("WORKERPOOL_REDIS_TLS_SERVER_NAME", name));
    }
    let Some(secret) = secret else { return env };
    if tls.ca.is_some() {
        env.push(value("WORKERPOOL_REDIS_CA_FILE", file(&secret.ca_key)));
    }
    if tls.identity.is_some() {
        env.push(value("WORKERPOOL_REDIS_CERT_FILE", file(&secret.cert_key)));
        env.push(value("WORKERPOOL_REDIS_KEY_FILE", file(&secret.key_key)));
    }
    env
}

fn value(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.into()),
        ..EnvVar::default()
    }
}

/// The kubelet would put another variable's value in the place of `$(NAME)`, and `$` in the place of `$$`, which a shell's
/// script may well have. <https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>
fn verbatim(name: &str, text: &str) -> EnvVar {
    value(name, text.replace('$', "$$"))
}

fn field(name: &str, path: &str) -> EnvVar {
    let source = EnvVarSource {
        field_ref: Some(ObjectFieldSelector {
            field_path: path.to_owned(),
            ..ObjectFieldSelector::default()
        }),
        ..EnvVarSource::default()
    };
    EnvVar {
        name: name.to_owned(),
        value_from: Some(source),
        ..EnvVar::default()
    }
}

fn secret_key(name: &str, secret: &str, key: &str, optional: bool) -> EnvVar {
    let source = EnvVarSource {
        secret_key_ref: Some(SecretKeySelector {
            name: secret.to_owned(),
            key: key.to_owned(),
            optional: optional.then_some(true),
        }),
        ..EnvVarSource::default()
    };
    EnvVar {
        name: name.to_owned(),
        value_from: Some(source),
        ..EnvVar::default()
    }
}
