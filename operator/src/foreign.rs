//! Where the pods are whose workers may not be ours, those of an adopted target and those whose template runs another
//! program: Redis knows such workers by their addresses alone.
//!
//! Pods are not watched: with ten thousand pools of our own workers that would be most of the cluster, and nobody would look at
//! it. A workload tells in its status, which is watched, that its pods have changed; only then are they listed, and no
//! more often than once a second. A workload whose pods stay costs nothing, and neither does one without pods, nor any pool of
//! our own workers.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crds::WorkerPool;
use kube::{Api, Client, ResourceExt, api::ListParams};

use crate::{
    deployment::runs_foreign_program,
    error::{self, Error},
    objects::Pod,
    targets::{Kind, Workload},
};

/// The pods of one target are listed no more often than this.
const LISTS_APART: Duration = Duration::from_secs(1);
/// While some are to end they are listed again after so long, for nobody tells when they have.
const ENDINGS_APART: Duration = Duration::from_secs(5);
/// After a failure they are listed again after so long at the latest.
const RETRY: Duration = Duration::from_secs(10);
/// What the pods of a Deployment have in common with the name of their ReplicaSet.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Where the pods of a target are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// All of them.
    pub all: BTreeSet<IpAddr>,
    /// Those that are to end.
    pub ending: BTreeSet<IpAddr>,
}

/// The pods of a target, as they were last listed.
#[derive(Clone, Debug)]
pub struct Listed {
    addresses: Arc<Addresses>,
    /// The target as it was then: its UID and its version; `None` if they could not be listed.
    of: Option<(Option<String>, Option<String>)>,
    at: Instant,
}

/// What to do about the pods of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// It has none.
    Forget,
    /// Those known are those there are.
    Keep,
    /// They may have changed.
    List,
    /// The same, but not before this.
    Wait(Duration),
}

/// Whether the workers of a pool may not be ours, and a queue of ours is theirs too. `image` is that of the stock worker.
#[must_use]
pub fn possible(pool: &WorkerPool, image: &str) -> bool {
    let not_ours = pool.spec.scale_target_ref.is_some() || runs_foreign_program(pool, image);
    not_ours && pool.spec.queues.iter().any(|queue| queue.source.is_none())
}

/// Where the pods of a target are, and when to look again though nothing is seen to change. If they cannot be listed, those
/// known stay: what is decided without them is what was decided before.
pub async fn addresses(
    client: &Client,
    kind: Kind,
    workload: &Workload,
    known: &mut Option<Listed>,
) -> (Arc<Addresses>, Option<Duration>) {
    let mut again = None;
    match plan(known.as_ref(), workload, Instant::now()) {
        Plan::Forget => *known = None,
        Plan::Keep => {}
        Plan::Wait(time) => again = Some(time),
        Plan::List => {
            let listed = list(client, kind, workload).await;
            if let Err(error) = &listed {
                tracing::warn!(workload = %workload.name_any(), %error, "cannot tell where its workers are that are not ours");
                again = Some(RETRY);
            }
            let of = listed.is_ok().then(|| version(workload));
            let before = known.take().map(|listed| listed.addresses);
            let addresses = listed.map_or_else(|_| before.unwrap_or_default(), Arc::new);
            if !addresses.ending.is_empty() {
                again = again.or(Some(ENDINGS_APART));
            }
            let at = Instant::now();
            *known = Some(Listed { addresses, of, at });
        }
    }
    let addresses = known.as_ref().map(|listed| Arc::clone(&listed.addresses));
    (addresses.unwrap_or_default(), again)
}

fn plan(known: Option<&Listed>, workload: &Workload, now: Instant) -> Plan {
    // What is to end is not counted there any more.
    let had_some = known.is_some_and(|known| !known.addresses.all.is_empty());
    if workload.status.replicas == 0 && !had_some {
        return Plan::Forget;
    }
    let Some(known) = known else { return Plan::List };
    let apart = match known.of == Some(version(workload)) {
        true if known.addresses.ending.is_empty() => return Plan::Keep,
        true => ENDINGS_APART,
        false => LISTS_APART,
    };
    match (known.at + apart).checked_duration_since(now) {
        Some(left) if !left.is_zero() => Plan::Wait(left),
        _ => Plan::List,
    }
}

fn version(workload: &Workload) -> (Option<String>, Option<String>) {
    (workload.uid(), workload.resource_version())
}

async fn list(client: &Client, kind: Kind, workload: &Workload) -> Result<Addresses, Error> {
    let namespace = workload.namespace().ok_or(Error::Incomplete("namespace"))?;
    let labelled = ListParams::default().labels(&workload.selector());
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let pods = error::call("list pods", pods.list(&labelled)).await?;
    let mut addresses = Addresses::default();
    for pod in pods.iter().filter(|pod| is_of(pod, kind, workload)) {
        let Some(address) = address(pod) else { continue };
        addresses.all.insert(address);
        if pod.metadata.deletion_timestamp.is_some() {
            addresses.ending.insert(address);
        }
    }
    Ok(addresses)
}

/// Whether a pod is a target's: other pods may bear the same labels, as the API's of the original do.
fn is_of(pod: &Pod, kind: Kind, workload: &Workload) -> bool {
    let mut owners = pod.owner_references().iter();
    match kind {
        Kind::Deployment => {
            let Some(hash) = pod.labels().get(TEMPLATE_HASH) else {
                return false;
            };
            let set = format!("{}-{hash}", workload.name_any());
            owners.any(|owner| owner.kind == Kind::ReplicaSet.name() && owner.name == set)
        }
        Kind::ReplicaSet | Kind::StatefulSet => {
            owners.any(|owner| Some(&owner.uid) == workload.uid().as_ref())
        }
    }
}

/// The address of a pod; `None` if it has none yet or no more, or shares it with its node's other pods.
fn address(pod: &Pod) -> Option<IpAddr> {
    let ended = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
    if ended || pod.spec.host_network {
        return None;
    }
    let address: IpAddr = pod.status.pod_ip.as_ref()?.parse().ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn workload(version: &str, replicas: i32) -> Workload {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "uid": "web-uid", "resourceVersion": version},
            "status": {"replicas": replicas},
        }))
        .unwrap()
    }

    fn pod(owner: &Value, host_network: bool, phase: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"labels": {"pod-template-hash": "5f9"}, "ownerReferences": [owner]},
            "spec": {"hostNetwork": host_network},
            "status": {"phase": phase, "podIP": "10.0.0.7"},
        }))
        .unwrap()
    }

    fn owner(kind: &str, name: &str, uid: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true})
    }

    #[test]
    fn pods_are_listed_when_their_workload_has_changed_and_once_a_second_at_most() {
        let now = Instant::now();
        assert_eq!(plan(None, &workload("1", 0), now), Plan::Forget);
        assert_eq!(plan(None, &workload("1", 2), now), Plan::List);

        let known = Listed {
            addresses: Arc::default(),
            of: Some(version(&workload("1", 2))),
            at: now,
        };
        let later = now + Duration::from_secs(3600);
        assert_eq!(plan(Some(&known), &workload("1", 2), later), Plan::Keep);
        assert_eq!(
            plan(Some(&known), &workload("2", 2), now),
            Plan::Wait(LISTS_APART)
        );
        assert_eq!(
            plan(Some(&known), &workload("2", 2), now + LISTS_APART),
            Plan::List
        );
        assert_eq!(plan(Some(&known), &workload("2", 0), now), Plan::Forget);

        let failed = Listed { of: None, ..known };
        assert_eq!(plan(Some(&failed), &workload("1", 2), later), Plan::List);
    }

    #[test]
    fn pods_that_are_to_end_are_looked_at_until_they_have_though_no_workload_counts_them() {
        let now = Instant::now();
        let address = BTreeSet::from([IpAddr::from([10, 0, 0, 7])]);
        let known = Listed {
            addresses: Arc::new(Addresses {
                all: address.clone(),
                ending: address,
            }),
            of: Some(version(&workload("1", 0))),
            at: now,
        };
        let plan = |version, after| plan(Some(&known), &workload(version, 0), now + after);
        assert_eq!(plan("1", Duration::ZERO), Plan::Wait(ENDINGS_APART));
        assert_eq!(plan("1", ENDINGS_APART), Plan::List);
        assert_eq!(plan("2", LISTS_APART), Plan::List);
    }

    #[test]
    fn pods_of_others_that_bear_the_same_labels_are_not_the_targets() {
        let workload = workload("1", 2);
        let of = |kind, owner: Value| is_of(&pod(&owner, false, "Running"), kind, &workload);
        assert!(of(Kind::Deployment, owner("ReplicaSet", "web-5f9", "set")));
        assert!(!of(Kind::Deployment, owner("ReplicaSet", "flask-5f9", "set")));
        assert!(!of(Kind::Deployment, owner("Job", "web-5f9", "job")));
        assert!(of(Kind::StatefulSet, owner("StatefulSet", "web", "web-uid")));
        assert!(!of(Kind::StatefulSet, owner("StatefulSet", "web", "former")));
    }

    #[test]
    fn address_that_several_pods_may_have_is_nobodys() {
        let set = owner("ReplicaSet", "web-5f9", "set");
        let at = |host_network, phase| address(&pod(&set, host_network, phase));
        assert_eq!(at(false, "Running"), Some(IpAddr::from([10, 0, 0, 7])));
        assert_eq!(at(true, "Running"), None);
        assert_eq!(at(false, "Succeeded"), None, "somebody else may have it by now");
    }
}
