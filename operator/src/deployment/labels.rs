//! The labels of a pool's Deployment and of its pods, and the selector of the Deployment.
//!
//! A Deployment's selector cannot change. New ones select by the pool's name alone, so that every other label is the template's to
//! set; one that exists keeps its selector, and its pods the labels that are in it.

use std::collections::BTreeMap;

use crds::WorkerPool;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;

use super::POOL;
use crate::{
    scale_down::{LEAVING, STAYING},
    targets::Workload,
};

type Labels = BTreeMap<String, String>;

/// Labels of the pool that its Deployment does not get: by these Helm, Argo CD and kubectl know what they applied, and the
/// Deployment would count as theirs.
const TOOLS: [&str; 2] = ["app.kubernetes.io/instance", "app.kubernetes.io/managed-by"];
/// The same, with every name of these domains.
const TOOL_DOMAINS: [&str; 3] = ["helm.sh/", "argocd.argoproj.io/", "kubectl.kubernetes.io/"];

/// The Services of workerpool's API and Redis select by this label, beside a name that the user's own pods may have.
const PART_OF: &str = "app.kubernetes.io/part-of";
const WORKERPOOL: &str = "workerpool";

/// The selector of a new Deployment.
pub(super) fn selector(pool: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(Labels::from([(POOL.to_owned(), pool.to_owned())])),
        ..LabelSelector::default()
    }
}

/// The labels of the Deployment: the pool's, so that a policy on Deployments can be met, and the operator's own over them.
pub(super) fn of_deployment(pool: &WorkerPool) -> Labels {
    let is_of_tool =
        |label: &str| TOOLS.contains(&label) || TOOL_DOMAINS.iter().any(|domain| label.starts_with(domain));
    let labels = pool.labels().iter().filter(|(label, _)| !is_of_tool(label));
    let mut labels: Labels = labels
        .map(|(label, value)| (label.clone(), value.clone()))
        .collect();
    labels.extend(defaults(&pool.name_any()));
    labels
}

/// The operator's own labels of the Deployment, and of its pods where the template has no others.
fn defaults(pool: &str) -> Labels {
    [
        ("app.kubernetes.io/managed-by", "workerpool-operator"),
        ("app.kubernetes.io/name", "workerpool-worker"),
        (POOL, pool),
    ]
    .map(|(label, value)| (label.to_owned(), value.to_owned()))
    .into()
}

/// The labels of the pods: the template's win over the defaults, and those that are not the user's over the template's.
pub(super) fn of_pods(pool: &str, template: Labels, selector: &LabelSelector) -> Labels {
    let mut labels = defaults(pool);
    labels.extend(template);
    labels.extend(selector.match_labels.clone().unwrap_or_default());
    labels.insert(POOL.to_owned(), pool.to_owned());
    labels.insert(LEAVING.to_owned(), STAYING.to_owned());
    if labels.get(PART_OF).is_some_and(|value| value == WORKERPOOL) {
        labels.remove(PART_OF);
    }
    labels
}

/// A sentence about the labels of the pool's template that its pods do not get, if there are any.
#[must_use]
pub fn labels_not_taken(pool: &WorkerPool, deployment: Option<&Workload>) -> Option<String> {
    let labels = pool.spec.template.as_ref()?.metadata.as_ref()?.labels.as_ref()?;
    let name = pool.name_any();
    let new = selector(&name);
    let selector = deployment.map_or(&new, |deployment| &deployment.spec.selector);
    let pods = of_pods(&name, labels.clone(), selector);
    let (own, selected): (Vec<_>, Vec<_>) = labels
        .iter()
        .filter(|(label, value)| pods.get(*label) != Some(*value))
        .map(|(label, _)| label.as_str())
        .partition(|label| [POOL, LEAVING, PART_OF].contains(label));
    let own = (!own.is_empty()).then(|| {
        format!(
            "the template's {}, which workerpool itself uses, cannot be taken",
            enumerate(&own)
        )
    });
    let selected = (!selected.is_empty()).then(|| {
        format!(
            "the template's {} cannot be taken: the selector of the Deployment {name}, which cannot change, has other values; \
             delete the Deployment, and a new one is made with the template's labels",
            enumerate(&selected)
        )
    });
    let sentences: Vec<_> = own.into_iter().chain(selected).collect();
    (!sentences.is_empty()).then(|| sentences.join("; "))
}

fn enumerate(labels: &[&str]) -> String {
    let noun = if labels.len() == 1 { "label" } else { "labels" };
    format!("{noun} {}", labels.join(", "))
}
