//! What a user can see of a namespace.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use kube::api::{Api as Objects, ListParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::ApiResource;

use super::{Namespace, SOON};
use crate::wait::{Look, eventually};
use crate::{CountHistory, Pool};

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
}

fn owners_of<K: ResourceExt>(object: &K) -> impl Iterator<Item = &String> {
    object.owner_references().iter().map(|owner| &owner.uid)
}
