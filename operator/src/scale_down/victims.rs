//! Which pods may go.

use std::{net::IpAddr, time::Duration};

use kube::ResourceExt;

use super::order::{Class, Order, rank};
use crate::{
    objects::Pod,
    queues::{MarkPods, Marks},
};

/// A pod that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Its UID, which the marks are on.
    pub uid: String,
    /// Its name, which Kubernetes knows it by.
    pub name: String,
    /// Its address, which Redis knows its worker by.
    pub address: Option<IpAddr>,
    /// How long it may take to end.
    pub grace: Duration,
}

impl Victim {
    fn new(pod: &Pod) -> Self {
        Self {
            uid: pod.uid().unwrap_or_default(),
            name: pod.name_any(),
            address: address(pod),
            grace: grace(pod),
        }
    }
}

/// What to ask for, so that `count` pods can go. `pods` in the order of their deletion.
#[must_use]
pub fn plan_marks(pods: &[Pod], count: usize, order: Order, mark: queue::Mark) -> MarkPods {
    let (ready, first): (Vec<_>, Vec<_>) = match order {
        Order::Costs => pods.iter().partition(|pod| Class::of(pod) == Class::Ready),
        // No preference helps.
        Order::Ordinals { .. } => (Vec::new(), pods.iter().take(count).collect()),
    };
    let uids = |pods: Vec<&Pod>| pods.into_iter().filter_map(ResourceExt::uid).collect();
    MarkPods {
        addresses: pods
            .iter()
            .filter_map(|pod| Some((pod.uid()?, address(pod)?)))
            .collect(),
        count,
        first: uids(first),
        others: uids(ready),
        mark,
    }
}

/// What to ask for before the count is lowered by these, to know that they have taken nothing since.
#[must_use]
pub fn plan_second_look(victims: &[Victim], mark: queue::Mark) -> MarkPods {
    let addressed = |victim: &Victim| Some((victim.uid.clone(), victim.address?));
    MarkPods {
        count: victims.len(),
        first: victims.iter().map(|victim| victim.uid.clone()).collect(),
        others: Vec::new(),
        addresses: victims.iter().filter_map(addressed).collect(),
        mark,
    }
}

/// 30 s is what the API server fills in.
fn grace(pod: &Pod) -> Duration {
    let seconds = pod.spec.termination_grace_period_seconds.unwrap_or(30);
    Duration::from_secs(seconds.try_into().unwrap_or(0))
}

fn address(pod: &Pod) -> Option<IpAddr> {
    pod.status.pod_ip.as_ref()?.parse().ok()
}

/// The pods that can go now, at most `count`: the ones that are marked and hold nothing. A pod that Kubernetes would take
/// before them and that may hold something blocks all that come after it. `pods` in the order of their deletion.
#[must_use]
pub fn plan_victims(pods: &[Pod], count: usize, order: Order, marks: &Marks) -> Vec<Victim> {
    let idle = |pod: &Pod| pod.uid().is_some_and(|uid| marks.idle.contains(&uid));
    let mut victims = Vec::new();
    for pod in pods {
        if victims.len() == count {
            break;
        }
        if idle(pod) {
            victims.push(Victim::new(pod));
        } else if order != Order::Costs || Class::of(pod) < Class::Ready {
            break;
        }
    }
    victims
}

/// Whether Kubernetes, asked to delete as many pods as there are victims, takes the victims and nobody else.
#[must_use]
pub fn would_go(pods: &[Pod], victims: &[Victim]) -> bool {
    let is_victim = |pod: &&Pod| {
        victims
            .iter()
            .any(|victim| pod.uid().as_ref() == Some(&victim.uid))
    };
    let (going, staying): (Vec<_>, Vec<_>) = pods.iter().partition(is_victim);
    let last_to_go = going.iter().map(|pod| rank(pod)).max();
    let first_to_stay = staying.iter().map(|pod| rank(pod)).min();
    going.len() == victims.len()
        && match (last_to_go, first_to_stay) {
            (Some(last), Some(first)) => last < first,
            (_, None) => true,
            (None, _) => false,
        }
}
