//! A namespace of a test's own, and what a user can do and see in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Error, Result};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Api as Objects, ListParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::ApiResource;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::certificates::Authority;
use crate::manifest::{TLS_FILES, encrypted_redis, locked_redis, redis_with_sentinel};
use crate::wait::{Look, eventually};
use crate::{Api, CountHistory, Data, Outcome, Pool, install, process, project};

/// How long what Kubernetes does by itself (start a pod, collect garbage) may take on a busy machine of two cores, on which other
/// tests kill the operator: a pool's window begins anew then, and the kubelet waits longer before each restart.
const SOON: Duration = Duration::from_secs(180);

/// A namespace that lives as long as its test.
pub struct Namespace {
    name: String,
    client: Client,
}

/// Runs a test in a namespace of its own, on a cluster where the product is installed. The namespace is deleted afterwards, unless
/// the test failed and `WORKERPOOL_E2E_KEEP` is set.
///
/// # Errors
/// With the test's own error, followed by what was in the namespace at that time; when there is no cluster.
pub async fn in_namespace(slug: &str, test: impl AsyncFnOnce(&Namespace) -> Result<()>) -> Result<()> {
    let client = install::cluster().await?;
    let unique = Uuid::new_v4().simple().to_string();
    let name = format!("e2e-{slug}-{}", &unique[..6]);
    let namespace = Namespace { name, client };
    process::succeed("kubectl", &["create", "namespace", &namespace.name], "").await?;
    let failure = match test(&namespace).await {
        Ok(()) => None,
        Err(error) => Some(namespace.explain(error).await),
    };
    if failure.is_none() || std::env::var_os("WORKERPOOL_E2E_KEEP").is_none() {
        let delete = ["delete", "namespace", &namespace.name, "--wait=false"];
        process::succeed("kubectl", &delete, "").await?;
    }
    failure.map_or(Ok(()), Err)
}

// === impl Namespace: what a user does ===

impl Namespace {
    /// Runs kubectl in this namespace; answers what it printed.
    ///
    /// # Errors
    /// When kubectl fails, with what it said.
    pub async fn kubectl<const N: usize>(&self, arguments: [&str; N]) -> Result<String> {
        let all = [&["-n", &self.name][..], &arguments].concat();
        process::succeed("kubectl", &all, "").await
    }

    /// Applies these objects, whatever kubectl makes of it.
    ///
    /// # Errors
    /// When kubectl cannot be run.
    pub async fn try_apply(&self, manifest: &str) -> Result<Outcome> {
        process::run("kubectl", ["-n", &self.name, "apply", "-f", "-"], manifest).await
    }

    /// Applies an object.
    ///
    /// # Errors
    /// When kubectl fails, with what it said.
    pub async fn apply(&self, manifest: &Value) -> Result<String> {
        process::succeed(
            "kubectl",
            &["-n", &self.name, "apply", "-f", "-"],
            &manifest.to_string(),
        )
        .await
    }

    /// Applies a file or folder of the project, as its README says.
    ///
    /// # Errors
    /// When kubectl fails, with what it said.
    pub async fn apply_files(&self, path: &str) -> Result<String> {
        let path = project().join(path).to_string_lossy().into_owned();
        self.kubectl(["apply", "-R", "-f", &path]).await
    }

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

    /// Runs Python with the packages that the original's users have (redis, hotqueue); `arguments` are its `sys.argv[1:]`.
    ///
    /// # Errors
    /// When Python fails, with what it said.
    pub async fn python(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let python = python();
        process::succeed(&python, &[&["-c", program][..], arguments].concat(), "").await
    }
}

// === impl Namespace: what a user sees ===

impl Namespace {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster address of a Service.
    ///
    /// # Errors
    /// When there is no such Service.
    pub async fn address(&self, service: &str, port: u16) -> Result<String> {
        let found = self.objects::<Service>().get(service).await?;
        let address = found
            .spec
            .and_then(|spec| spec.cluster_ip)
            .context("a Service without an address")?;
        Ok(format!("{address}:{port}"))
    }

    /// A WorkerPool as it stands now.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn pool(&self, name: &str) -> Result<Pool> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("workerpool.dev", "v1alpha1", "WorkerPool"));
        let pools: Objects<DynamicObject> = Objects::namespaced_with(self.client.clone(), &self.name, &kind);
        Ok(Pool(serde_json::to_value(pools.get(name).await?)?))
    }

    /// Waits until a pool is as described.
    ///
    /// # Errors
    /// When it is not within 180 s, with its status as it is then.
    pub async fn pool_until(&self, name: &str, what: &str, holds: impl Fn(&Pool) -> bool) -> Result<Pool> {
        eventually(&format!("pool {name} {what}"), SOON, async || {
            let pool = self.pool(name).await?;
            let status = pool.at("/status").to_string();
            Ok(Look::when(holds(&pool), pool, || status))
        })
        .await
    }

    /// A Deployment as it stands now, if it is there.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn deployment(&self, name: &str) -> Result<Option<Deployment>> {
        Ok(self.objects::<Deployment>().get_opt(name).await?)
    }

    /// Waits until a Deployment is given this many replicas.
    ///
    /// # Errors
    /// When it is not within 180 s.
    pub async fn given(&self, deployment: &str, replicas: i32) -> Result<Deployment> {
        self.deployment_until(deployment, &format!("is given {replicas} replicas"), |found| {
            found.spec.as_ref().and_then(|spec| spec.replicas) == Some(replicas)
        })
        .await
    }

    /// Waits until a Deployment has this many ready pods, and no other.
    ///
    /// # Errors
    /// When it has not within 180 s.
    pub async fn ready(&self, deployment: &str, replicas: i32) -> Result<Deployment> {
        self.deployment_until(deployment, &format!("has {replicas} ready pods"), |found| {
            let given = found.spec.as_ref().and_then(|spec| spec.replicas);
            let status = found.status.clone().unwrap_or_default();
            let all = status.replicas.unwrap_or_default();
            given == Some(replicas)
                && all == replicas
                && status.ready_replicas.unwrap_or_default() == replicas
        })
        .await
    }

    async fn deployment_until(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&Deployment) -> bool,
    ) -> Result<Deployment> {
        eventually(&format!("deployment {name} {what}"), SOON, async || {
            let Some(found) = self.deployment(name).await? else {
                return Ok(Look::NotYet("no such deployment".to_owned()));
            };
            let given = found.spec.as_ref().and_then(|spec| spec.replicas);
            let status = found.status.clone().unwrap_or_default();
            let seen = format!(
                "given {given:?}, {:?} pods, {:?} ready",
                status.replicas, status.ready_replicas
            );
            Ok(Look::when(holds(&found), found, || seen))
        })
        .await
    }

    /// Waits until a Deployment is gone.
    ///
    /// # Errors
    /// When it is not within 180 s.
    pub async fn gone(&self, deployment: &str) -> Result<()> {
        eventually(&format!("deployment {deployment} is gone"), SOON, async || {
            let found = self.deployment(deployment).await?;
            Ok(Look::when(found.is_none(), (), || "it is still there".to_owned()))
        })
        .await
    }

    /// Starts to record every count that a Deployment is given.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn counts_of(&self, deployment: &str) -> Result<CountHistory> {
        CountHistory::of(self.objects(), deployment).await
    }

    /// A Deployment's pods, told by who owns them (Deployment, ReplicaSet, Pod), not by a selector that may match others.
    ///
    /// # Errors
    /// When there is no such Deployment.
    pub async fn pods_of(&self, deployment: &str) -> Result<Vec<Pod>> {
        let owner = self.deployment(deployment).await?.context("no such deployment")?;
        let everything = ListParams::default();
        let sets = self.objects::<ReplicaSet>().list(&everything).await?;
        let owners: BTreeSet<String> = sets
            .iter()
            .filter(|set| owners_of(*set).any(|uid| Some(uid) == owner.metadata.uid.as_ref()))
            .filter_map(ResourceExt::uid)
            .collect();
        let pods = self.objects::<Pod>().list(&everything).await?;
        Ok(pods
            .into_iter()
            .filter(|pod| owners_of(pod).any(|uid| owners.contains(uid)))
            .collect())
    }

    /// The IPs of a Deployment's pods, each with its pod's name.
    ///
    /// # Errors
    /// When there is no such Deployment.
    pub async fn ips_of(&self, deployment: &str) -> Result<BTreeMap<String, String>> {
        let pods = self.pods_of(deployment).await?;
        let ip = |pod: &Pod| pod.status.as_ref().and_then(|status| status.pod_ip.clone());
        Ok(pods
            .iter()
            .filter_map(|pod| Some((ip(pod)?, pod.name_any())))
            .collect())
    }

    /// Waits until one of a Deployment's pods is known to have this IP. A short job is done before the kubelet has told of the pod.
    ///
    /// # Errors
    /// When none has within 180 s.
    pub async fn has_pod_at(&self, deployment: &str, ip: &str) -> Result<()> {
        eventually(
            &format!("a pod of {deployment} has the IP {ip}"),
            SOON,
            async || {
                let ips = self.ips_of(deployment).await?;
                Ok(Look::when(ips.contains_key(ip), (), || format!("{ips:?}")))
            },
        )
        .await
    }

    fn objects<K>(&self) -> Objects<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Objects::namespaced(self.client.clone(), &self.name)
    }

    /// The test's error, and what was there when it happened.
    async fn explain(&self, error: Error) -> Error {
        let objects = self
            .kubectl(["get", "workerpools,deployments,pods", "-o", "wide"])
            .await;
        let events = self
            .kubectl(["get", "events", "--sort-by=.lastTimestamp"])
            .await
            .map(|all| last_lines(&all, 25));
        let log = [
            "-n",
            "workerpool-system",
            "logs",
            "deployment/workerpool-operator",
            "--tail=400",
        ];
        let log = process::succeed("kubectl", &log, "").await.map(|all| {
            let ours: Vec<&str> = all.lines().filter(|line| line.contains(&self.name)).collect();
            last_lines(&ours.join("\n"), 25)
        });
        let text = |section: Result<String>| section.unwrap_or_else(|failed| format!("{failed:#}"));
        error.context(format!(
            "failed in namespace {}\n\n{}\nevents:\n{}\n\noperator's log:\n{}\n",
            self.name,
            text(objects),
            text(events),
            text(log)
        ))
    }
}

fn owners_of<K: ResourceExt>(object: &K) -> impl Iterator<Item = &String> {
    object.owner_references().iter().map(|owner| &owner.uid)
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// The Python that `dev/install` puts in place.
fn python() -> String {
    let set = |name: &str| std::env::var(name).ok();
    let home_cache = || format!("{}/.cache", set("HOME").unwrap_or_default());
    let cache = || {
        set("WORKERPOOL_CACHE")
            .unwrap_or_else(|| format!("{}/workerpool", set("XDG_CACHE_HOME").unwrap_or_else(home_cache)))
    };
    set("WORKERPOOL_PYTHON").unwrap_or_else(|| format!("{}/python/bin/python", cache()))
}
