//! A cluster with targets, a Redis, and one of the two systems at work.

use std::collections::HashSet;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use redis::aio::MultiplexedConnection;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::sleep;

use super::replicas::Replicas;
use super::system::{self, Settings, System};

/// This machine, as pods see it.
pub(super) const NODE: &str = "10.244.0.1";
/// Requests of this program under way at once.
const AT_ONCE: usize = 16;
/// How long the programs of a system may take to be ready: KEDA's are not asked before 20 s.
const READY_DEADLINE: Duration = Duration::from_secs(180);
/// How long deletions may take.
pub(super) const GONE_DEADLINE: Duration = Duration::from_secs(300);
/// How long a system may take to let its own objects go.
const ENDING: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Clone)]
pub(super) struct Stage {
    pub(super) client: Client,
    pub(super) namespace: String,
    /// HOST:PORT, as all reach it.
    pub(super) redis_address: String,
    /// A foreign client's connection.
    pub(super) redis: MultiplexedConnection,
    pub(super) replicas: Replicas,
}

impl Stage {
    pub(super) async fn set(redis_address: String, namespace: String) -> anyhow::Result<Self> {
        let client = Client::try_default().await;
        let client = client.context("no cluster: run inside `dev/cluster exec`")?;
        let redis = redis::Client::open(format!("redis://{redis_address}/2"))?;
        Ok(Self {
            replicas: Replicas::watch(Api::namespaced(client.clone(), &namespace)),
            redis: redis.get_multiplexed_async_connection().await?,
            client,
            namespace,
            redis_address,
        })
    }

    pub(super) fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) fn objects(&self, system: System) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &system.resource())
    }

    /// A clean stage with the programs of one system: nothing is left of a run that was cut short.
    pub(super) async fn begin(&self, system: System) -> anyhow::Result<()> {
        // With its programs there: its objects may have finalizers.
        self.only(Some(system)).await?;
        self.remove_objects(system).await?;
        self.remove_targets().await
    }

    /// Ends the programs of one system and starts the other's, so that each has the machine for itself.
    pub(super) async fn only(&self, system: Option<System>) -> anyhow::Result<()> {
        for other in [System::Workerpool, System::Keda] {
            let (namespace, names) = other.programs();
            let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
            let count = i32::from(system == Some(other));
            for name in names {
                if deployments.get_opt(name).await?.is_some() {
                    let scale = Patch::Merge(json!({"spec": {"replicas": count}}));
                    deployments
                        .patch_scale(name, &PatchParams::default(), &scale)
                        .await?;
                } else if count > 0 {
                    bail!("there is no Deployment {name} in {namespace}");
                }
            }
            for name in names {
                self.programs_are(&deployments, name, count).await?;
            }
        }
        Ok(())
    }

    async fn programs_are(
        &self,
        deployments: &Api<Deployment>,
        name: &str,
        count: i32,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_DEADLINE;
        while let Some(deployment) = deployments.get_opt(name).await? {
            let status = deployment.status.unwrap_or_default();
            if (status.replicas.unwrap_or(0), status.ready_replicas.unwrap_or(0)) == (count, count) {
                break;
            }
            if Instant::now() > deadline {
                bail!("{name} has not {count} ready pods after {READY_DEADLINE:?}");
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Makes Deployments that nobody carries out, at zero: they are paused, so that what is seen is the scaler's work alone, and no
    /// ReplicaSet's or pod's.
    pub(super) async fn make_targets(&self, names: &[String]) -> anyhow::Result<()> {
        let deployments = self.deployments();
        stream::iter(names)
            .map(|name| {
                let deployments = deployments.clone();
                async move {
                    deployments
                        .create(&PostParams::default(), &target(name)?)
                        .await
                        .context("a target")
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_for_each(|_| async { Ok(()) })
            .await
    }

    /// Has a system look after the targets; each queue on `redis`.
    pub(super) async fn make_objects(
        &self,
        system: System,
        names: &[String],
        settings: Settings,
    ) -> anyhow::Result<()> {
        let objects = self.objects(system);
        stream::iter(names)
            .map(|name| {
                let objects = objects.clone();
                async move {
                    let object = system.object(name, &self.redis_address, settings)?;
                    objects
                        .create(&PostParams::default(), &object)
                        .await
                        .with_context(|| name.clone())
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_for_each(|_| async { Ok(()) })
            .await
    }

    /// Waits until all of them say that they are ready; how many do, if not all did in time.
    pub(super) async fn objects_are_ready(
        &self,
        system: System,
        names: &[String],
        within: Duration,
    ) -> anyhow::Result<Result<Instant, usize>> {
        let wanted: HashSet<&str> = names.iter().map(String::as_str).collect();
        let deadline = Instant::now() + within;
        loop {
            let list = self.objects(system).list(&ListParams::default()).await?;
            let ready = list.iter().filter(|object| is_ready(object));
            let ready = ready.filter(|object| wanted.contains(object.name_any().as_str()));
            let ready = ready.count();
            let now = Instant::now();
            if ready == names.len() {
                return Ok(Ok(now));
            }
            if now > deadline {
                return Ok(Err(ready));
            }
            // Reading them all takes the API server longer the more they are.
            sleep(LOOK_EVERY + Duration::from_micros(200) * u32::try_from(names.len())?).await;
        }
    }

    /// Deletes all objects of a system and waits until they are gone.
    pub(super) async fn remove_objects(&self, system: System) -> anyhow::Result<()> {
        let (objects, all) = (self.objects(system), ListParams::default());
        objects
            .delete_collection(&DeleteParams::background(), &all)
            .await?;
        if wait_until_gone(&objects, &all, ENDING).await? {
            return Ok(());
        }
        // Its finalizers would take KEDA half a second for each.
        let left = objects.list_metadata(&all).await?;
        let nothing = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        stream::iter(&left)
            .for_each_concurrent(AT_ONCE, |object| {
                let (objects, nothing) = (objects.clone(), &nothing);
                async move {
                    // It may be gone by now.
                    let _ = objects
                        .patch_metadata(&object.name_any(), &PatchParams::default(), nothing)
                        .await;
                }
            })
            .await;
        is_gone(wait_until_gone(&objects, &all, GONE_DEADLINE).await?)
    }

    pub(super) async fn remove_targets(&self) -> anyhow::Result<()> {
        let targets = self.deployments();
        let mine = ListParams::default().labels(TARGET);
        targets
            .delete_collection(&DeleteParams::background(), &mine)
            .await?;
        is_gone(wait_until_gone(&targets, &mine, GONE_DEADLINE).await?)
    }

    /// Puts jobs on a queue's list with one command, as a foreign producer does; the moment just before.
    pub(super) async fn push(&self, queue: &str, jobs: usize) -> anyhow::Result<Instant> {
        let items: Vec<String> = (0..jobs).map(|n| format!("bench-{n}")).collect();
        let mut push = redis::cmd("RPUSH");
        push.arg(system::list(queue)).arg(items);
        let now = Instant::now();
        push.exec_async(&mut self.redis.clone()).await?;
        Ok(now)
    }

    /// Takes all jobs of a queue, as if the last had been worked off; the moment just before.
    pub(super) async fn clear(&self, queue: &str) -> anyhow::Result<Instant> {
        let now = Instant::now();
        redis::cmd("DEL")
            .arg(system::list(queue))
            .exec_async(&mut self.redis.clone())
            .await?;
        Ok(now)
    }
}

/// By this label targets are told from Redis' own Deployment.
const TARGET: &str = "bench=target";

fn target(name: &str) -> anyhow::Result<Deployment> {
    let labels = json!({"target": name});
    let target = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"bench": "target"}},
        "spec": {
            "replicas": 0, "paused": true, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "worker", "image": "none"}]}},
        },
    });
    serde_json::from_value(target).context("the target's shape")
}

/// Whether the condition `Ready` is true, which both systems have.
fn is_ready(object: &DynamicObject) -> bool {
    let conditions = object.data["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// Whether that came in time.
pub(super) async fn wait_until_gone<K>(
    objects: &Api<K>,
    which: &ListParams,
    within: Duration,
) -> anyhow::Result<bool>
where
    K: Clone + DeserializeOwned + Debug,
{
    let deadline = Instant::now() + within;
    let first = which.clone().limit(1);
    while !objects.list_metadata(&first).await?.items.is_empty() {
        if Instant::now() > deadline {
            return Ok(false);
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(true)
}

fn is_gone(gone: bool) -> anyhow::Result<()> {
    if !gone {
        bail!("objects remain after {GONE_DEADLINE:?}");
    }
    Ok(())
}
