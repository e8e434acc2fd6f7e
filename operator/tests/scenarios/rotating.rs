//! Credentials that are changed while the operator runs: the Secret alone is touched.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crds::WorkerPool;
use http::Method;
use kube::{ResourceExt, runtime::controller::Action};
use operator::{
    PoolRef,
    observe::{SECRETS_REFUSED, SECRETS_USABLE},
    reconcile::reconcile,
};
use queue::test_server::{Certificates, RedisServer};
use redis::{ClientTlsConfig, IntoConnectionInfo, TlsCertificates, aio::MultiplexedConnection};
use serde_json::{Value, json};

use super::world::World;

const SECRET: &str = "/api/v1/namespaces/default/secrets/redis-auth";
/// A Secret is read again every 5 s where it does not let the operator in; and the machine may be busy.
const IN_TIME: Duration = Duration::from_secs(20);

/// Two pools on one Redis with one Secret, each over a list of its own; 10 jobs wait in each.
struct Two {
    world: World,
    pools: [Driven; 2],
}

struct Driven {
    pool: Arc<WorkerPool>,
    target: &'static str,
    /// When it is to be reconciled again.
    due: Option<Instant>,
}

impl Driven {
    fn new(pool: &Arc<WorkerPool>, target: &'static str) -> Self {
        let (pool, due) = (Arc::clone(pool), Some(Instant::now()));
        Self { pool, target, due }
    }
}

/// What a pool has that follows this list and scales this Deployment.
fn spec(redis: &Value, key: &str, target: &str) -> Value {
    json!({
        "redis": redis,
        "queues": [{"name": "mails", "source": {"waiting": [{"key": key}]}}],
        "scaleTargetRef": {"name": target},
    })
}

impl Two {
    /// `redis` is that of the specs.
    fn new(server: RedisServer, redis: &Value, secret: &Value) -> Self {
        let mut world = World::with_pool_on(server, spec(redis, "first", "web"));
        let younger = world.younger_pool("younger", spec(redis, "second", "api"));
        world.api.answer_at(SECRET, labelled(secret));
        let pools = [Driven::new(&world.pool, "web"), Driven::new(&younger, "api")];
        let world = world.beside("web", 0).beside("api", 0);
        Self { world, pools }
    }

    fn change_secret(&self, secret: &Value) {
        self.world.api.answer_at(SECRET, labelled(secret));
    }

    /// Reconciles both, as woken or as they asked to be, until this is so of both.
    async fn until(&mut self, is_so: impl Fn(&Self, usize) -> bool) {
        let deadline = Instant::now() + IN_TIME;
        loop {
            for Driven { pool, due, .. } in &mut self.pools {
                if due.is_some_and(|due| due <= Instant::now()) {
                    let action = reconcile(Arc::clone(pool), Arc::clone(&self.world.ctx)).await;
                    *due = next(&action.unwrap());
                }
            }
            if is_so(self, 0) && is_so(self, 1) {
                return;
            }
            let seen = [0, 1].map(|pool| (self.readable(pool), self.count(pool)));
            assert!(Instant::now() < deadline, "not in time: {seen:?}");
            let dues = self.pools.iter().filter_map(|driven| driven.due);
            let next = dues.fold(deadline, Instant::min);
            let woken = self.world.next_woken(next).await;
            for Driven { pool, due, .. } in &mut self.pools {
                if woken.as_ref() == Some(&PoolRef::from_obj(&**pool)) {
                    *due = Some(Instant::now());
                }
            }
        }
    }

    /// Status and reason of the condition QueueReadable, as last written.
    fn readable(&self, pool: usize) -> Option<(String, String)> {
        let end = format!("/{}/status", self.pools[pool].pool.name_any());
        let written = self.last(&end)?;
        let conditions = written["status"]["conditions"].as_array()?.clone();
        let readable = conditions.iter().find(|one| one["type"] == "QueueReadable")?;
        let text = |field: &str| readable[field].as_str().map(str::to_owned);
        Some((text("status")?, text("reason")?))
    }

    fn is_readable(&self, pool: usize) -> bool {
        self.readable(pool).is_some_and(|(status, _)| status == "True")
    }

    fn is_unreadable_for(&self, pool: usize, reason: &str) -> bool {
        self.readable(pool) == Some(("False".to_owned(), reason.to_owned()))
    }

    /// The count as last written.
    fn count(&self, pool: usize) -> Option<u64> {
        let end = format!("/deployments/{}/scale", self.pools[pool].target);
        self.last(&end)?["spec"]["replicas"].as_u64()
    }

    fn last(&self, path_end: &str) -> Option<Value> {
        let calls = self.world.api.calls();
        let mut calls = calls.into_iter().rev();
        calls
            .find(|call| call.is(&Method::PATCH, path_end))
            .map(|call| call.body)
    }
}

/// When a pool asked to be reconciled again; the minute after which Secrets are read anyway is not waited for.
fn next(action: &Action) -> Option<Instant> {
    let seldom = [Action::await_change(), Action::requeue(SECRETS_USABLE)];
    let after = if *action == Action::requeue(SECRETS_REFUSED) {
        SECRETS_REFUSED
    } else {
        Duration::from_millis(100)
    };
    (!seldom.contains(action)).then(|| Instant::now() + after)
}

fn labelled(data: &Value) -> Value {
    let encoded: serde_json::Map<_, _> = data
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| {
            let bytes = k8s_openapi::ByteString(value.as_str().unwrap().as_bytes().to_vec());
            (key.clone(), json!(bytes))
        })
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Secret", "data": encoded,
        "metadata": {"name": "redis-auth", "namespace": "default", "labels": {"workerpool.dev/redis-credentials": "true"}},
    })
}

fn password(password: &str) -> Value {
    json!({"username": "app", "password": password})
}

/// Both pools read with the password `old`, and have been scaled for 10 jobs each.
async fn with_password() -> Two {
    let server = RedisServer::builder().user("app", "old", &["~*", "&*", "+@all"]);
    let server = server.start().unwrap();
    let address = server.server().address.to_string();
    let redis = json!({"address": address, "credentialsSecretRef": {"name": "redis-auth"}});
    let mut two = Two::new(server, &redis, &password("old"));
    for key in ["first", "second"] {
        push(&two.world, key).await;
    }
    two.until(|two, pool| two.count(pool) == Some(2) && two.is_readable(pool))
        .await;
    assert_eq!(two.world.ctx.queues.servers(), 1, "one connection for both");
    two.world.api.forget_calls();
    two
}

/// Ten more jobs.
async fn push(world: &World, key: &str) {
    world
        .command("RPUSH", &format!("{key} 1 2 3 4 5 6 7 8 9 10"))
        .await;
}

#[tokio::test]
async fn changed_password_is_refused_the_counts_stay_and_the_changed_secret_lets_both_pools_in() {
    let mut two = with_password().await;
    two.world.command("ACL", "SETUSER app >new <old").await;
    two.world.command("CLIENT", "KILL USER app").await;
    two.until(|two, pool| two.is_unreadable_for(pool, "LoginRefused"))
        .await;
    push(&two.world, "first").await;
    push(&two.world, "second").await;
    assert_eq!([two.count(0), two.count(1)], [None; 2], "the counts stay");

    two.change_secret(&password("new"));
    two.until(|two, pool| two.count(pool) == Some(4) && two.is_readable(pool))
        .await;
    assert_eq!(
        two.world.ctx.queues.servers(),
        1,
        "the old connection went with the last pool"
    );

    // And a change is told on the new one.
    two.world.api.forget_calls();
    push(&two.world, "first").await;
    push(&two.world, "second").await;
    two.until(|two, pool| two.count(pool) == Some(6)).await;
}

#[tokio::test]
async fn secret_that_is_changed_before_the_old_password_ends_is_used_when_it_ends() {
    let mut two = with_password().await;
    two.world.command("ACL", "SETUSER app >new").await;
    two.change_secret(&password("new"));
    // The connection lives, and nobody has asked for the Secret yet.
    push(&two.world, "first").await;
    push(&two.world, "second").await;
    two.until(|two, pool| two.count(pool) == Some(4)).await;

    two.world.api.forget_calls();
    two.world.command("ACL", "SETUSER app <old").await;
    two.world.command("CLIENT", "KILL USER app").await;
    push(&two.world, "first").await;
    push(&two.world, "second").await;
    two.until(|two, pool| two.count(pool) == Some(6)).await;
    two.until(|two, pool| two.readable(pool).is_none() || two.is_readable(pool))
        .await;
}

/// A connection that shows these certificates.
async fn admin(redis: &RedisServer, certificates: &Certificates) -> MultiplexedConnection {
    let read = |name: &str| std::fs::read(certificates.directory().join(name)).unwrap();
    let certificates = TlsCertificates {
        client_tls: Some(ClientTlsConfig {
            client_cert: read("client.crt"),
            client_key: read("client.key"),
        }),
        root_cert: Some(read("ca.crt")),
    };
    let address = format!("rediss://127.0.0.1:{}", redis.port());
    let client = redis::Client::build_with_tls(address.into_connection_info().unwrap(), certificates);
    let client = client.unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// All that a client needs, from a Secret.
fn certificates(certificates: &Certificates) -> Value {
    let read = |name: &str| std::fs::read_to_string(certificates.directory().join(name)).unwrap();
    json!({"ca.crt": read("ca.crt"), "tls.crt": read("client.crt"), "tls.key": read("client.key")})
}

#[tokio::test]
async fn changed_certificates_are_refused_until_the_secret_has_those_of_the_new_authority() {
    let (old, new) = (Certificates::new().unwrap(), Certificates::new().unwrap());
    let server = RedisServer::builder().tls(&old, true).unwrap().start().unwrap();
    let address = server.server().address.to_string();
    let redis = json!({"address": address, "tls": {"secretRef": {"name": "redis-auth"}}});
    let mut two = Two::new(server, &redis, &certificates(&old));
    two.until(|two, pool| two.is_readable(pool)).await;
    two.world.api.forget_calls();

    let mut admin = admin(&two.world.redis, &old).await;
    let mut ask = async |words: &[&str]| {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(word);
        });
        let _: redis::Value = command.query_async(&mut admin).await.unwrap();
    };
    let file = |name: &str| new.directory().join(name).display().to_string();
    let mut change = vec!["CONFIG".to_owned(), "SET".to_owned()];
    for (setting, name) in [
        ("tls-ca-cert-file", "ca.crt"),
        ("tls-cert-file", "server.crt"),
        ("tls-key-file", "server.key"),
    ] {
        change.extend([setting.to_owned(), file(name)]);
    }
    ask(&change.iter().map(String::as_str).collect::<Vec<_>>()).await;
    // All but this connection.
    ask(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    two.until(|two, pool| two.is_unreadable_for(pool, "TLSFailed"))
        .await;
    for key in ["first", "second"] {
        ask(&["RPUSH", key, "1"]).await;
    }
    assert_eq!([two.count(0), two.count(1)], [None; 2], "the counts stay");

    two.change_secret(&certificates(&new));
    two.until(|two, pool| two.count(pool) == Some(1) && two.is_readable(pool))
        .await;
}
