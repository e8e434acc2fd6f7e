//! What a test deploys in its namespace: Redis in its kinds, the API.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Namespace, SOON};
use crate::certificates::Authority;
use crate::manifest::{TLS_FILES, encrypted_redis, locked_redis, redis_with_sentinel};
use crate::wait::{Look, eventually};
use crate::{Api, Data};

impl Namespace {
    /// Deploys Redis as `deploy/db` has it, and waits until it answers.
    ///
    /// # Errors
    /// When it does not within 180 s.
    pub async fn deploy_redis(&self) -> Result<Data> {
        self.apply_files("deploy/db").await?;
        let data = Data {
            address: self.address("redis", 6379).await?,
            password: None,
        };
        self.answers(&data).await?;
        Ok(data)
    }

    /// Deploys one Redis of each kind: plain, behind a password, encrypted, with a sentinel. Answers the plain one.
    ///
    /// # Errors
    /// When one does not answer within 180 s.
    pub async fn deploy_each_kind_of_redis(&self, password: &str) -> Result<Data> {
        let (plain, _, (), ()) = tokio::try_join!(
            self.deploy_redis(),
            self.deploy_redis_with_password(password),
            self.deploy_encrypted_redis(),
            self.deploy_redis_with_sentinel(),
        )?;
        Ok(plain)
    }

    /// Deploys a second Redis, Service `locked`, which asks for a password.
    ///
    /// # Errors
    /// When it does not answer within 180 s.
    pub async fn deploy_redis_with_password(&self, password: &str) -> Result<Data> {
        for object in locked_redis(password) {
            self.apply(&object).await?;
        }
        let address = self.address("locked", 6379).await?;
        let data = Data {
            address,
            password: Some(password.to_owned()),
        };
        self.answers(&data).await?;
        Ok(data)
    }

    /// Deploys a Redis, Service `encrypted`, that speaks TLS with clients who show a certificate, and knows one user. How to log in
    /// lies in the Secrets `redis-auth` and `redis-tls`.
    ///
    /// # Errors
    /// When it does not become ready within 180 s.
    pub async fn deploy_encrypted_redis(&self) -> Result<()> {
        let (user, password) = ("jobs", "open-sesame");
        let authority = Authority::new().await?;
        let full = format!("encrypted.{}.svc", self.name);
        self.apply(
            &authority
                .secret("encrypted-server", &["encrypted", &full])
                .await?,
        )
        .await?;
        self.apply(&authority.secret("redis-tls", &["client"]).await?)
            .await?;
        self.apply(&json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "redis-auth", "labels": {"workerpool.dev/redis-credentials": "true"}},
            "stringData": {"username": user, "password": password},
        }))
        .await?;
        for object in encrypted_redis(user, password) {
            self.apply(&object).await?;
        }
        self.ready("encrypted", 1).await?;
        Ok(())
    }

    /// Deploys a master, `first`, a replica, `second`, and a sentinel that knows both.
    ///
    /// # Errors
    /// When they do not become ready within 180 s, or the sentinel does not come to know the replica.
    pub async fn deploy_redis_with_sentinel(&self) -> Result<()> {
        for object in redis_with_sentinel(&self.name) {
            self.apply(&object).await?;
        }
        for name in ["first", "second", "sentinel"] {
            self.ready(name, 1).await?;
        }
        let sentinel = self.sentinel().await?;
        eventually("the sentinel knows the replica", SOON, async || {
            let mut connection = sentinel.connection(0).await?;
            let replicas: Vec<redis::Value> = redis::cmd("SENTINEL")
                .arg(&["replicas", "jobs"])
                .query_async(&mut connection)
                .await?;
            Ok(Look::when(replicas.len() == 1, (), || format!("{replicas:?}")))
        })
        .await
    }

    /// Waits until the sentinel says that this Service has the master.
    ///
    /// # Errors
    /// When it does not within 180 s.
    pub async fn sentinel_names(&self, service: &str) -> Result<()> {
        let sentinel = self.sentinel().await?;
        eventually(&format!("the sentinel names {service}"), SOON, async || {
            let mut connection = sentinel.connection(0).await?;
            let master: Vec<String> = redis::cmd("SENTINEL")
                .arg(&["get-master-addr-by-name", "jobs"])
                .query_async(&mut connection)
                .await?;
            let named = master
                .first()
                .is_some_and(|host| host.split('.').next() == Some(service));
            Ok(Look::when(named, (), || format!("{master:?}")))
        })
        .await
    }

    async fn sentinel(&self) -> Result<Data> {
        Ok(Data {
            address: self.address("sentinel", 26379).await?,
            password: None,
        })
    }

    /// Waits until this Redis answers and has loaded its data.
    ///
    /// # Errors
    /// When it does not within 180 s.
    pub async fn answers(&self, data: &Data) -> Result<()> {
        eventually("Redis answers", SOON, async || {
            let mut connection = data.connection(0).await?;
            let pong: String = redis::cmd("PING").query_async(&mut connection).await?;
            Ok(Look::when(pong == "PONG", (), || pong))
        })
        .await
    }

    /// Deploys the API as `deploy/api` has it, and waits until it is ready.
    ///
    /// # Errors
    /// When it is not within 180 s.
    pub async fn deploy_api(&self) -> Result<Api> {
        self.apply_files("deploy/api").await?;
        self.api_when_ready().await
    }

    async fn api_when_ready(&self) -> Result<Api> {
        let api = Api {
            address: self.address("api", 5000).await?,
        };
        eventually("the API is ready", SOON, async || {
            Ok(Look::Seen(api.get("/readyz").await?))
        })
        .await?;
        Ok(api)
    }

    /// Deploys the API as `deploy/api` has it, with more environment and perhaps the files of a Secret in `/tls`, and waits until it
    /// is ready.
    ///
    /// # Errors
    /// When it is not within 180 s.
    pub async fn deploy_api_with(&self, environment: Value, tls: Option<&str>) -> Result<Api> {
        let mut container = json!({"name": "api", "env": environment});
        let mut pod = json!({});
        if let Some(secret) = tls {
            container["volumeMounts"] = json!([{"name": "tls", "mountPath": TLS_FILES}]);
            pod["volumes"] = json!([{"name": "tls", "secret": {"secretName": secret}}]);
        }
        pod["containers"] = json!([container]);
        self.apply_files("deploy/api").await?;
        let patch = json!({"spec": {"template": {"spec": pod}}}).to_string();
        self.kubectl(["patch", "deployment", "api", "-p", &patch]).await?;
        self.api_when_ready().await
    }

    /// The API behind a Service that somebody else wrote, as soon as it takes connections (the original's has no probe).
    ///
    /// # Errors
    /// When there is no such Service, or it does not listen within 180 s.
    pub async fn api_listening_at(&self, service: &str) -> Result<Api> {
        let api = Api {
            address: self.address(service, 5000).await?,
        };
        eventually(&format!("{service} listens"), SOON, async || {
            Ok(Look::Seen(api.touch().await?))
        })
        .await?;
        Ok(api)
    }
}
