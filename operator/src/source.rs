//! Where a pool's queues are: from its spec and its Secrets.

use std::collections::{BTreeMap, BTreeSet};

use crds::{
    WorkerPool, WorkerPoolSpec,
    queues::{self, QueueSpec, SourceKey, SourceSpec, SourceType},
    redis::{CredentialsSecretRef, TlsSecretRef},
};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client, ResourceExt};
use queue::{
    Address, Cluster, ForeignKey, ForeignQueue, ForeignStatus, KeyKind, LoginFiles, NO_CLUSTER, Queue,
    Sentinel, Serializer, Server, Subject, Tls, TlsIdentity,
};

use crate::{
    error::{self, Error},
    refusal::Refusal,
};

/// Only Secrets with this label, set to `true`, are used: who may create a pool could else make the operator send any
/// Secret of the namespace to an address of their choice.
pub const CREDENTIALS_LABEL: &str = "workerpool.dev/redis-credentials";

/// Where Redis is unless the pool says it.
const DEFAULT_ADDRESS: &str = "redis";

/// Where the pool's Redis is, or which sentinels or nodes of a cluster know, without any login. A bare name is a Service of the pool's namespace.
///
/// # Errors
/// [`Refusal::Settings`] for what is no address.
pub fn place(pool: &WorkerPool) -> Result<Server, Refusal> {
    let redis = &pool.spec.redis;
    if let Some(cluster) = &redis.cluster {
        let addresses = cluster.addresses.iter();
        let addresses = addresses.map(|address| Ok(within(pool, address.parse().map_err(refused)?)));
        let addresses = addresses.collect::<Result<_, _>>()?;
        return Server::in_cluster(Cluster { addresses }).map_err(refused);
    }
    let Some(sentinel) = &redis.sentinel else {
        let address = redis.address.as_deref().unwrap_or(DEFAULT_ADDRESS);
        return Ok(Server::new(within(pool, address.parse().map_err(refused)?)));
    };
    let addresses = sentinel.addresses.iter().map(|address| {
        let address = Address::parse_with_default_port(address, Address::DEFAULT_SENTINEL_PORT);
        Ok(within(pool, address.map_err(refused)?))
    });
    Server::behind(Sentinel {
        master: sentinel.master_name.clone(),
        addresses: addresses.collect::<Result<_, _>>()?,
        username: None,
        password: None,
        login_files: LoginFiles::default(),
    })
    .map_err(refused)
}

/// Completes a bare name.
fn within(pool: &WorkerPool, mut address: Address) -> Address {
    if !address.host.contains(['.', ':'])
        && let Some(namespace) = pool.namespace()
    {
        address.host = format!("{}.{namespace}.svc", address.host);
    }
    address
}

/// The queues of the pool, in its order.
///
/// # Errors
/// [`Refusal::NeedsScaleTarget`], and [`Refusal::Settings`] for a name that is none.
pub fn queues(pool: &WorkerPool) -> Result<Vec<Subject>, Refusal> {
    let subjects = subjects(&pool.spec)?;
    let served_by_stock_workers = subjects.iter().all(|one| one.own().is_some());
    if pool.spec.scale_target_ref.is_none() && !served_by_stock_workers {
        return Err(Refusal::NeedsScaleTarget);
    }
    Ok(subjects)
}

/// The same, whoever serves them.
pub(crate) fn subjects(spec: &WorkerPoolSpec) -> Result<Vec<Subject>, Refusal> {
    let cluster = spec.redis.cluster.is_some();
    let subject = |queue: &QueueSpec| match &queue.source {
        Some(source) if cluster && source.db != 0 => Err(Refusal::Settings(format!(
            "a Redis Cluster has database 0 alone, not {}",
            source.db
        ))),
        Some(source) => Ok(foreign(source)?.into()),
        None if cluster => Err(Refusal::Settings(format!(
            "{NO_CLUSTER}; give the queue {} a source",
            queue.name
        ))),
        None => Ok(own(spec, queue)?.into()),
    };
    spec.queues.iter().map(subject).collect()
}

fn own(spec: &WorkerPoolSpec, queue: &QueueSpec) -> Result<Queue, Refusal> {
    let words = &spec.worker.foreign_final_statuses;
    let words = words.iter().map(|word| word.parse().map_err(refused));
    let words: BTreeSet<ForeignStatus> = words.collect::<Result<_, _>>()?;
    Ok(Queue {
        name: queue.name.parse().map_err(refused)?,
        queue_db: database(spec.redis.queue_db)?,
        jobs_db: database(spec.redis.jobs_db)?,
        serializer: match queue.serializer {
            Some(queues::Serializer::Json) => Serializer::Json,
            Some(queues::Serializer::None) => Serializer::None,
            Some(queues::Serializer::Pickle) | None => Serializer::Pickle,
        },
        final_statuses: words.into_iter().collect(),
    })
}

fn foreign(source: &SourceSpec) -> Result<ForeignQueue, Refusal> {
    let keys = |keys: &[SourceKey]| keys.iter().map(foreign_key).collect();
    Ok(ForeignQueue {
        db: database(source.db)?,
        waiting: keys(&source.waiting),
        running: keys(&source.running),
    })
}

fn foreign_key(key: &SourceKey) -> ForeignKey {
    ForeignKey {
        name: key.key.clone(),
        kind: match key.kind {
            SourceType::List => KeyKind::List,
            SourceType::Stream => KeyKind::Stream,
            SourceType::SortedSet => KeyKind::SortedSet,
            SourceType::Set => KeyKind::Set,
            SourceType::Hash => KeyKind::Hash,
        },
        group: key.consumer_group.clone(),
    }
}

/// Whether the pool needs Secrets, so that its [`server`] has to be looked at from time to time.
#[must_use]
pub fn needs_secrets(pool: &WorkerPool) -> bool {
    let names = Names::of(pool);
    names.login.is_some() || names.sentinel_login.is_some() || names.tls.is_some()
}

/// The server, with what its Secrets say.
///
/// # Errors
/// The outer one if Kubernetes cannot be asked, the inner one if what it says is not usable.
pub async fn server(pool: &WorkerPool, client: &Client) -> Result<Result<Server, Refusal>, Error> {
    let Names {
        login,
        sentinel_login,
        tls,
    } = Names::of(pool);
    let secrets = Secrets {
        login: find(pool, client, login, |login| &login.name).await?,
        sentinel_login: find(pool, client, sentinel_login, |login| &login.name).await?,
        tls: find(pool, client, tls, |tls| &tls.name).await?,
    };
    Ok(build_server(pool, secrets))
}

/// The Secrets that a pool names.
struct Names<'a> {
    login: Option<&'a CredentialsSecretRef>,
    sentinel_login: Option<&'a CredentialsSecretRef>,
    tls: Option<&'a TlsSecretRef>,
}

impl<'a> Names<'a> {
    fn of(pool: &'a WorkerPool) -> Self {
        let redis = &pool.spec.redis;
        let sentinel = redis.sentinel.as_ref();
        Self {
            login: redis.credentials_secret_ref.as_ref(),
            sentinel_login: sentinel.and_then(|sentinel| sentinel.credentials_secret_ref.as_ref()),
            tls: redis.tls.as_ref().and_then(|tls| tls.secret_ref.as_ref()),
        }
    }
}

/// What lies under the names.
#[derive(Default)]
struct Secrets<'a> {
    login: Option<Found<'a, CredentialsSecretRef>>,
    sentinel_login: Option<Found<'a, CredentialsSecretRef>>,
    tls: Option<Found<'a, TlsSecretRef>>,
}

/// A Secret that is named; `None` in the place of one that is not there.
type Found<'a, R> = (&'a R, Option<Secret>);

async fn find<'a, R>(
    pool: &WorkerPool,
    client: &Client,
    reference: Option<&'a R>,
    name: fn(&R) -> &str,
) -> Result<Option<Found<'a, R>>, Error> {
    let Some(reference) = reference else {
        return Ok(None);
    };
    let namespace = pool.namespace().ok_or(Error::Incomplete("namespace"))?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let secret = error::call("read a Secret", secrets.get_opt(name(reference))).await?;
    Ok(Some((reference, secret)))
}

fn build_server(pool: &WorkerPool, secrets: Secrets<'_>) -> Result<Server, Refusal> {
    let mut server = place(pool)?;
    if let Some((reference, secret)) = secrets.login {
        let entries = Entries::of(pool, &reference.name, secret)?;
        (server.username, server.password) = login(reference, &entries, FIELDS_OF_LOGIN)?;
    }
    if let (Some(sentinel), Some((reference, secret))) = (&mut server.sentinel, secrets.sentinel_login) {
        let entries = Entries::of(pool, &reference.name, secret)?;
        (sentinel.username, sentinel.password) = login(reference, &entries, FIELDS_OF_SENTINEL_LOGIN)?;
    }
    if let Some(tls) = &pool.spec.redis.tls {
        let certificates = match secrets.tls {
            Some((reference, secret)) => {
                certificates(reference, &Entries::of(pool, &reference.name, secret)?)?
            }
            None => Tls::default(),
        };
        server.tls = Some(Tls {
            server_name: tls.server_name.clone(),
            ..certificates
        });
    }
    Ok(server)
}

/// The fields below `spec.redis` that name the keys of a login: of its user, and of its password.
type LoginFields = [&'static str; 2];
const FIELDS_OF_LOGIN: LoginFields = [
    "credentialsSecretRef.usernameKey",
    "credentialsSecretRef.passwordKey",
];
const FIELDS_OF_SENTINEL_LOGIN: LoginFields = [
    "sentinel.credentialsSecretRef.usernameKey",
    "sentinel.credentialsSecretRef.passwordKey",
];

/// The user, if there is one, and the password; without the line end of a file that a Secret was made from, as the worker reads
/// them.
fn login(
    reference: &CredentialsSecretRef,
    entries: &Entries<'_>,
    [user, password]: LoginFields,
) -> Result<(Option<String>, Option<queue::Secret>), Refusal> {
    let usual = CredentialsSecretRef::named(&reference.name);
    let line = |text: String| {
        let line = text.trim_end_matches(['\r', '\n']).to_owned();
        Some(line).filter(|line| !line.is_empty())
    };
    let lack = entries.lack(&reference.password_key, password);
    let password = line(entries.required(&reference.password_key, password)?).ok_or(lack)?;
    let user = entries.unless_usual(&reference.username_key, &usual.username_key, user)?;
    Ok((user.and_then(line), Some(queue::Secret::new(password))))
}

fn certificates(reference: &TlsSecretRef, entries: &Entries<'_>) -> Result<Tls, Refusal> {
    let usual = TlsSecretRef::named(&reference.name);
    let [certificate, key] = ["tls.secretRef.certKey", "tls.secretRef.keyKey"];
    let ca = entries.unless_usual(&reference.ca_key, &usual.ca_key, "tls.secretRef.caKey")?;
    let shown = entries.unless_usual(&reference.cert_key, &usual.cert_key, certificate)?;
    let private = entries.unless_usual(&reference.key_key, &usual.key_key, key)?;
    let identity = match (shown, private) {
        (Some(certificate), Some(key)) => Some(TlsIdentity {
            certificate,
            key: queue::Secret::new(key),
        }),
        (None, None) => None,
        (Some(_), None) => return Err(entries.lack(&reference.key_key, key)),
        (None, Some(_)) => return Err(entries.lack(&reference.cert_key, certificate)),
    };
    Ok(Tls {
        ca,
        identity,
        ..Tls::default()
    })
}

/// The entries of a Secret that its owner lets the operator use.
struct Entries<'a> {
    name: &'a str,
    data: BTreeMap<String, ByteString>,
}

impl<'a> Entries<'a> {
    fn of(pool: &WorkerPool, name: &'a str, secret: Option<Secret>) -> Result<Self, Refusal> {
        let secret = secret.ok_or_else(|| Refusal::SecretMissing(name.to_owned()))?;
        if secret.labels().get(CREDENTIALS_LABEL).map(String::as_str) != Some("true") {
            return Err(Refusal::SecretNotLabelled {
                namespace: pool.namespace().unwrap_or_default(),
                name: name.to_owned(),
            });
        }
        let data = secret.data.unwrap_or_default();
        Ok(Self { name, data })
    }

    /// `field` names the key in the refusal.
    fn required(&self, key: &str, field: &'static str) -> Result<String, Refusal> {
        self.text(key, field)?.ok_or_else(|| self.lack(key, field))
    }

    /// A Secret may lack an entry under its usual key. A key that the pool names must be there.
    fn unless_usual(&self, key: &str, usual: &str, field: &'static str) -> Result<Option<String>, Refusal> {
        if key == usual {
            self.text(key, field)
        } else {
            self.required(key, field).map(Some)
        }
    }

    /// An empty entry counts as absent.
    fn text(&self, key: &str, field: &'static str) -> Result<Option<String>, Refusal> {
        let bytes = self.data.get(key).filter(|bytes| !bytes.0.is_empty());
        bytes
            .map(|bytes| String::from_utf8(bytes.0.clone()).map_err(|_| self.lack(key, field)))
            .transpose()
    }

    fn lack(&self, key: &str, field: &'static str) -> Refusal {
        Refusal::SecretIncomplete {
            name: self.name.to_owned(),
            key: key.to_owned(),
            field,
        }
    }
}

fn database(number: i32) -> Result<u32, Refusal> {
    u32::try_from(number).map_err(|_| Refusal::Settings(format!("{number} is no database number")))
}

fn refused(error: queue::Error) -> Refusal {
    Refusal::Settings(error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pool(redis: serde_json::Value) -> WorkerPool {
        serde_json::from_value(json!({
            "apiVersion": "workerpool.dev/v1alpha1",
            "kind": "WorkerPool",
            "metadata": {"name": "hw7", "namespace": "team"},
            "spec": {"redis": redis},
        }))
        .unwrap()
    }

    fn secret(labels: serde_json::Value, data: serde_json::Value) -> Secret {
        serde_json::from_value(json!({"metadata": {"name": "auth", "labels": labels}, "data": data})).unwrap()
    }

    fn auth() -> CredentialsSecretRef {
        CredentialsSecretRef::named("auth")
    }

    fn with_login(name: &CredentialsSecretRef, secret: Option<Secret>) -> Secrets<'_> {
        Secrets {
            login: Some((name, secret)),
            ..Secrets::default()
        }
    }

    #[test]
    fn pool_that_says_nothing_has_the_service_redis() {
        assert_eq!(
            place(&pool(json!({}))).unwrap().address.to_string(),
            "redis.team.svc:6379"
        );
    }

    #[test]
    fn sentinels_are_asked_in_the_place_of_an_address() {
        let addresses = json!(["sentinel", "sentinel.example.com:1"]);
        let pool = pool(json!({"sentinel": {"masterName": "jobs", "addresses": addresses}, "tls": {}}));
        let sentinel = place(&pool).unwrap().sentinel.unwrap();
        assert_eq!(sentinel.master, "jobs");
        let addresses: Vec<_> = sentinel.addresses.iter().map(Address::to_string).collect();
        assert_eq!(addresses, ["sentinel.team.svc:26379", "sentinel.example.com:1"]);

        // They have a login of their own.
        let name = auth();
        let labels = json!({CREDENTIALS_LABEL: "true"});
        let found = secret(labels, json!({"username": "bWU=", "password": "c2VjcmV0"}));
        let secrets = Secrets {
            sentinel_login: Some((&name, Some(found))),
            ..Secrets::default()
        };
        let server = build_server(&pool, secrets).unwrap();
        assert_eq!(server.password, None);
        assert_eq!(server.tls, Some(Tls::default()));
        let sentinel = server.sentinel.unwrap();
        assert_eq!(sentinel.username.as_deref(), Some("me"));
        assert_eq!(sentinel.password.unwrap().reveal(), "secret");
    }

    #[test]
    fn nodes_of_a_cluster_are_asked_in_the_place_of_an_address_and_have_sources_on_database_0_alone() {
        let mut pool = pool(json!({"cluster": {"addresses": ["redis-cluster", "10.0.0.1:7000"]}}));
        let cluster = place(&pool).unwrap().cluster.unwrap();
        let addresses: Vec<_> = cluster.addresses.iter().map(Address::to_string).collect();
        assert_eq!(addresses, ["redis-cluster.team.svc:6379", "10.0.0.1:7000"]);

        let refusal = |pool: &WorkerPool| match subjects(&pool.spec) {
            Err(Refusal::Settings(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(refusal(&pool).contains("give the queue queue a source"));
        let mut source = |db: i32| {
            let source = json!({"db": db, "waiting": [{"key": "bull:{a}:wait"}]});
            pool.spec.queues[0].source = serde_json::from_value(source).unwrap();
            pool.clone()
        };
        assert!(refusal(&source(1)).contains("database 0 alone, not 1"));
        assert_eq!(subjects(&source(0).spec).unwrap().len(), 1);
    }

    #[test]
    fn bare_host_is_a_service_of_the_pools_namespace_and_others_stay() {
        let host = |written: &str| {
            place(&pool(json!({"address": written})))
                .unwrap()
                .address
                .to_string()
        };
        assert_eq!(host("redis"), "redis.team.svc:6379");
        assert_eq!(host("redis:7000"), "redis.team.svc:7000");
        assert_eq!(host("redis.example.com"), "redis.example.com:6379");
        assert_eq!(host("127.0.0.1:1"), "127.0.0.1:1");
        assert_eq!(host("[::1]:2"), "[::1]:2");
    }

    #[test]
    fn secret_without_the_label_is_not_looked_into() {
        let pool = pool(json!({}));
        let name = auth();
        let secret = secret(json!({}), json!({"password": "c2VjcmV0"}));
        assert_eq!(
            build_server(&pool, with_login(&name, Some(secret))),
            Err(Refusal::SecretNotLabelled {
                namespace: "team".to_owned(),
                name: "auth".to_owned(),
            })
        );
        assert_eq!(
            build_server(&pool, with_login(&name, None)),
            Err(Refusal::SecretMissing("auth".to_owned()))
        );
    }

    #[test]
    fn newline_at_end_of_login_is_cut_and_empty_username_is_absent() {
        let name = auth();
        let labels = json!({CREDENTIALS_LABEL: "true"});
        let found = secret(labels, json!({"username": "Cg==", "password": "c2VjcmV0Cg=="}));
        let server = build_server(&pool(json!({})), with_login(&name, Some(found))).unwrap();
        assert_eq!(server.username, None);
        assert_eq!(server.password.unwrap().reveal(), "secret");
    }

    #[test]
    fn certificate_is_checked_for_the_name_that_pool_gives() {
        let server = build_server(&pool(json!({"tls": {"serverName": "redis"}})), Secrets::default());
        assert_eq!(server.unwrap().tls.unwrap().server_name.as_deref(), Some("redis"));
        let server = build_server(&pool(json!({"tls": {}})), Secrets::default());
        assert_eq!(server.unwrap().tls, Some(Tls::default()));
    }

    #[test]
    fn labelled_secret_logs_in() {
        let name = auth();
        let labels = json!({CREDENTIALS_LABEL: "true"});
        let found = secret(
            labels.clone(),
            json!({"username": "bWU=", "password": "c2VjcmV0"}),
        );
        let server = build_server(&pool(json!({})), with_login(&name, Some(found))).unwrap();
        assert_eq!(server.username.as_deref(), Some("me"));
        assert_eq!(server.password.unwrap().reveal(), "secret");

        let incomplete = secret(labels, json!({"username": "bWU="}));
        assert_eq!(
            build_server(&pool(json!({})), with_login(&name, Some(incomplete))),
            Err(Refusal::SecretIncomplete {
                name: "auth".to_owned(),
                key: "password".to_owned(),
                field: "credentialsSecretRef.passwordKey",
            })
        );
    }

    #[test]
    fn refusal_of_unlabelled_secret_has_command_that_allows_it() {
        let name = auth();
        let secret = secret(json!({}), json!({"password": "c2VjcmV0"}));
        let refusal = build_server(&pool(json!({})), with_login(&name, Some(secret))).unwrap_err();
        let command = "`kubectl label secret auth -n team workerpool.dev/redis-credentials=true`";
        assert!(refusal.to_string().contains(command), "{refusal}");
    }

    #[test]
    fn line_end_of_secret_is_no_part_of_login() {
        let name = auth();
        let labels = json!({CREDENTIALS_LABEL: "true"});
        // "me\n" and "secret\r\n".
        let found = secret(labels, json!({"username": "bWUK", "password": "c2VjcmV0DQo="}));
        let server = build_server(&pool(json!({})), with_login(&name, Some(found))).unwrap();
        assert_eq!(server.username.as_deref(), Some("me"));
        assert_eq!(server.password.unwrap().reveal(), "secret");
    }

    #[test]
    fn login_is_read_under_keys_that_pool_names() {
        let name = CredentialsSecretRef {
            password_key: "redis-password".to_owned(),
            ..auth()
        };
        let chart = secret(
            json!({CREDENTIALS_LABEL: "true"}),
            json!({"redis-password": "c2VjcmV0"}),
        );
        let build = |name: &CredentialsSecretRef| {
            build_server(&pool(json!({})), with_login(name, Some(chart.clone())))
        };
        let server = build(&name).unwrap();
        assert_eq!(server.username, None);
        assert_eq!(server.password.unwrap().reveal(), "secret");

        let usual = build(&auth()).unwrap_err();
        assert_eq!(
            usual.to_string(),
            "the Secret auth has no usable key password; spec.redis.credentialsSecretRef.passwordKey can name another"
        );
        // A key that is named must be there, though a login needs no user.
        let user = CredentialsSecretRef {
            username_key: "redis-user".to_owned(),
            ..name
        };
        assert!(matches!(build(&user), Err(Refusal::SecretIncomplete { key, .. }) if key == "redis-user"));
    }

    #[test]
    fn certificates_are_read_under_keys_that_pool_names() {
        let pool = pool(json!({"tls": {}}));
        let name = TlsSecretRef {
            ca_key: "root.pem".to_owned(),
            ..TlsSecretRef::named("auth")
        };
        let labels = json!({CREDENTIALS_LABEL: "true"});
        let build = |data: serde_json::Value| {
            let tls = Some((&name, Some(secret(labels.clone(), data))));
            build_server(
                &pool,
                Secrets {
                    tls,
                    ..Secrets::default()
                },
            )
        };
        let tls = build(json!({"root.pem": "cGVt"})).unwrap().tls.unwrap();
        assert_eq!(tls.ca.as_deref(), Some("pem"));
        assert!(matches!(
            build(json!({"ca.crt": "cGVt"})),
            Err(Refusal::SecretIncomplete { key, field: "tls.secretRef.caKey", .. }) if key == "root.pem"
        ));
    }
}
