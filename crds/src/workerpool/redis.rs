//! Where the queue is.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Each of a list is a host or host:port.
const ADDRESSES: &str = r"self.all(a, a.matches('^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?$'))";

/// A Redis server (6.2 or newer, or Valkey) and how to log in.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!(has(self.address) && has(self.sentinel))",
    "message": "address and sentinel exclude each other: the sentinels say where the master is",
    "fieldPath": ".sentinel",
}, {
    "rule": "!has(self.cluster) || !(has(self.address) || has(self.sentinel))",
    "message": "cluster excludes address and sentinel: its nodes say where each key is",
    "fieldPath": ".cluster",
}]))]
pub struct RedisSpec {
    /// `host` or `host:port`. A bare name is a Service of the pool's namespace; the port is 6379 unless given. Absent, and no
    /// sentinel either: the Service `redis`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 260),
        extend("x-kubernetes-validations" = [{
            "rule": r"self.matches('^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?$')",
            "message": "address must be a host or host:port, as redis or redis.example.com:6380",
        }])
    )]
    pub address: Option<String>,

    /// Ask these sentinels where the master is, at the start and after each failover, instead of `address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<RedisSentinel>,

    /// These are nodes of a Redis Cluster: each key is read at the node that has it. For queues with a source alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<RedisCluster>,

    /// A Secret of the pool's namespace with the login: a password, and a user if there is one. Whoever may change the Secret must
    /// allow its use by the label `workerpool.dev/redis-credentials: "true"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<CredentialsSecretRef>,

    /// Speak TLS. Absent: plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<RedisTls>,

    /// The number of the database with the queues. Immutable.
    #[serde(rename = "queueDB")]
    #[schemars(
        range(min = 0, max = 9999),
        extend("x-kubernetes-validations" = [{
            "rule": "self == oldSelf",
            "message": "queueDB is immutable: make a new pool",
        }])
    )]
    pub queue_db: i32,

    /// The number of the database with the jobs. Immutable.
    #[serde(rename = "jobsDB")]
    #[schemars(
        range(min = 0, max = 9999),
        extend("x-kubernetes-validations" = [{
            "rule": "self == oldSelf",
            "message": "jobsDB is immutable: make a new pool",
        }])
    )]
    pub jobs_db: i32,
}

impl Default for RedisSpec {
    /// The original's: the Service `redis`, queue on database 2, jobs on database 3.
    fn default() -> Self {
        Self {
            address: None,
            sentinel: None,
            cluster: None,
            credentials_secret_ref: None,
            tls: None,
            queue_db: 2,
            jobs_db: 3,
        }
    }
}

/// Redis Sentinel: several processes that agree on which server is the master.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisSentinel {
    /// What the sentinels call the master, as in `sentinel monitor NAME …`.
    #[schemars(
        length(min = 1, max = 255),
        extend("x-kubernetes-validations" = [{
            "rule": "self.matches('^[A-Za-z0-9._-]+$')",
            "message": "masterName has only letters, digits, '.', '_' and '-'",
        }])
    )]
    pub master_name: String,

    /// The sentinels, each `host` or `host:port`, asked in this order until one answers. A bare name is a Service of the pool's
    /// namespace; the port is 26379 unless given.
    #[schemars(
        length(min = 1, max = 8),
        inner(length(min = 1, max = 260)),
        extend(
            "x-kubernetes-list-type" = "set",
            "x-kubernetes-validations" = [{
                "rule": ADDRESSES,
                "message": "each of addresses must be a host or host:port, as sentinel or sentinel.example.com:26379",
            }],
        )
    )]
    pub addresses: Vec<String>,

    /// A Secret like that of the server, with the login to the sentinels themselves. Absent: they ask for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<CredentialsSecretRef>,
}

/// Redis Cluster: several masters, each with some of the keys.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisCluster {
    /// Nodes of it, each `host` or `host:port`; one that answers is enough, as each knows the others. A bare name is a Service of
    /// the pool's namespace; the port is 6379 unless given.
    #[schemars(
        length(min = 1, max = 8),
        inner(length(min = 1, max = 260)),
        extend(
            "x-kubernetes-list-type" = "set",
            "x-kubernetes-validations" = [{
                "rule": ADDRESSES,
                "message": "each of addresses must be a host or host:port, as redis-cluster or redis-0.example.com:6380",
            }],
        )
    )]
    pub addresses: Vec<String>,
}

/// TLS to Redis. Empty: the server's certificate is checked against the public authorities.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct RedisTls {
    /// A Secret of the pool's namespace with an authority to trust, a client certificate, or both. Whoever may change the Secret
    /// must allow its use by the label `workerpool.dev/redis-credentials: "true"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<TlsSecretRef>,

    /// The name that the certificate of Redis, and those of its sentinels, must be good for. Absent: the host that is connected to,
    /// as `redis.NAMESPACE.svc` for the bare name `redis`, or the address that Sentinel names.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// A Secret with a login.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct CredentialsSecretRef {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// The key of the Secret that holds the ACL user; `username` unless given. The Secret may lack `username`, and then there is
    /// none.
    #[serde(default = "default_username_key")]
    #[schemars(schema_with = "secret_key")]
    pub username_key: String,

    /// The key of the Secret that holds the password; `password` unless given.
    #[serde(default = "default_password_key")]
    #[schemars(schema_with = "secret_key")]
    pub password_key: String,
}

impl CredentialsSecretRef {
    /// The Secret of this name, with the usual keys.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            username_key: default_username_key(),
            password_key: default_password_key(),
        }
    }
}

/// A Secret with certificates.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct TlsSecretRef {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// The key of the Secret that holds the authorities to trust, as PEM; `ca.crt` unless given. The Secret may lack `ca.crt`: then
    /// the public ones are trusted.
    #[serde(default = "default_ca_key")]
    #[schemars(schema_with = "secret_key")]
    pub ca_key: String,

    /// The key of the Secret that holds the client certificate, as PEM; `tls.crt` unless given. The Secret may lack `tls.crt`
    /// together with `tls.key`: then no certificate is shown.
    #[serde(default = "default_cert_key")]
    #[schemars(schema_with = "secret_key")]
    pub cert_key: String,

    /// The key of the Secret that holds the client certificate's private key, as PEM; `tls.key` unless given.
    #[serde(default = "default_key_key")]
    #[schemars(schema_with = "secret_key")]
    pub key_key: String,
}

impl TlsSecretRef {
    /// The Secret of this name, with the usual keys.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ca_key: default_ca_key(),
            cert_key: default_cert_key(),
            key_key: default_key_key(),
        }
    }
}

fn default_username_key() -> String {
    "username".to_owned()
}

fn default_password_key() -> String {
    "password".to_owned()
}

fn default_ca_key() -> String {
    "ca.crt".to_owned()
}

fn default_cert_key() -> String {
    "tls.crt".to_owned()
}

fn default_key_key() -> String {
    "tls.key".to_owned()
}

/// A key as a Secret may have it; it is also the name of a file. <https://kubernetes.io/docs/concepts/configuration/secret/>
fn secret_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 253,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[A-Za-z0-9._-]+$') && !self.startsWith('..') && self != '.'",
            "message": "a key of a Secret has only letters, digits, '.', '_' and '-'",
        }],
    })
}
