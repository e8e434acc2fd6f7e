//! From the ReplicaSets and pods of a workload to the reason that most of its pods have that are not ready. Pure.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::{
    TemplateReport, Trouble,
    pod::{self, Finding},
};
use crate::{
    objects::{Pod, ReplicaSet},
    scale_down::order::is_active,
    targets::Kind,
};

/// Messages of other programs are cut to so many characters: an event's note has 1,024 bytes, and a status keeps them.
const MESSAGE_MAX: usize = 400;

/// The objects of one look.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The kind of the workload.
    pub kind: Kind,
    /// Its name.
    pub name: &'a str,
    /// The hash of what was applied of it, as the operator wrote it, once its controller has acted on it.
    pub applied: Option<&'a str>,
    /// The count that it asks for.
    pub asked: u32,
    /// The ReplicaSets of a Deployment, or the ReplicaSet itself.
    pub sets: &'a [ReplicaSet],
    /// Its pods, or one page of them.
    pub pods: &'a [Pod],
    /// There are more pods than these.
    pub is_partial: bool,
    /// The time of the look.
    pub now: Timestamp,
}

/// The findings of one look at the pods of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The commonest reason; [`Trouble::Starting`] only where no pod has another.
    pub trouble: Trouble,
    /// Pods that have it, of those that were listed, or that are missing for it.
    pub affected: u32,
    /// The first of them by name; `None` where they do not exist.
    pub pod: Option<String>,
    /// The kubelet's, the scheduler's or the controller's own words, in one line.
    pub message: String,
    /// Whether pods of the template start, where the workload is the pool's own.
    pub template: Option<TemplateReport>,
    /// Age of the oldest pod that is starting.
    pub starting_for: Option<Duration>,
    /// There were more pods than those that were listed.
    pub is_partial: bool,
}

/// Pods with one reason.
struct Group {
    affected: u32,
    pod: Option<String>,
    message: String,
}

/// The reason that most of the pods have that are not ready; of several with as many, the most severe.
#[must_use]
pub fn diagnose(seen: &Seen<'_>) -> Report {
    let mut pods: Vec<&Pod> = seen.pods.iter().collect();
    pods.sort_by_key(|pod| pod.name_any());
    let mut groups = BTreeMap::new();
    for set in seen.sets {
        if let Some((missing, finding)) = refused(set) {
            add(&mut groups, missing, None, finding);
        }
    }
    let mut starting_since = None;
    for pod in pods.iter().filter(|pod| is_active(pod)) {
        let Some(finding) = pod::finding(pod, seen.now) else {
            continue;
        };
        if finding.trouble == Trouble::Starting {
            let created = pod.creation_timestamp().map(|created| created.0);
            starting_since = created.into_iter().chain(starting_since).min();
        }
        add(&mut groups, 1, Some(pod.name_any()), finding);
    }
    let starting = groups.remove(&Trouble::Starting);
    // Of as many the later wins, and the most severe comes first: so from the end.
    let commonest = groups.into_iter().rev().max_by_key(|(_, group)| group.affected);
    let (trouble, group) =
        commonest.unwrap_or_else(|| (Trouble::Starting, unexplained(seen, &pods, starting)));
    Report {
        trouble,
        affected: group.affected,
        pod: group.pod,
        message: in_one_line(&group.message),
        template: TemplateReport::of(seen),
        starting_for: starting_since.and_then(|since| seen.now.duration_since(since).try_into().ok()),
        is_partial: seen.is_partial,
    }
}

fn add(groups: &mut BTreeMap<Trouble, Group>, count: u32, pod: Option<String>, finding: Finding) {
    let group = groups.entry(finding.trouble).or_insert_with(|| Group {
        affected: 0,
        pod,
        message: finding.message,
    });
    group.affected = group.affected.saturating_add(count);
}

/// The number of pods that the API server does not let a ReplicaSet make, and the reason. A paused Deployment does not show it.
fn refused(set: &ReplicaSet) -> Option<(u32, Finding)> {
    let missing = set.spec.replicas.unwrap_or(1).saturating_sub(set.status.replicas);
    let missing = u32::try_from(missing).ok().filter(|missing| *missing > 0)?;
    let failure = set.status.conditions.iter();
    let failure = failure
        .filter(|condition| condition.kind == "ReplicaFailure" && condition.status == "True")
        .find_map(|condition| condition.message.as_deref())?;
    let message = without_pod_name(failure);
    let trouble = if message.contains("exceeded quota") {
        Trouble::QuotaExceeded
    } else if message.contains("violates PodSecurity") {
        Trouble::PodSecurityViolation
    } else {
        Trouble::PodsForbidden
    };
    Some((missing, Finding::new(trouble, message)))
}

/// The name of the pod that was refused is another with each try of the controller.
fn without_pod_name(message: &str) -> &str {
    const FORBIDDEN: &str = "\" is forbidden: ";
    let rest = message
        .strip_prefix("pods \"")
        .and_then(|rest| rest.split_once(FORBIDDEN));
    rest.map_or(message, |(_, why)| why)
}

/// The pods that are not ready without a reason so far.
fn unexplained(seen: &Seen<'_>, pods: &[&Pod], starting: Option<Group>) -> Group {
    let failed = pods.iter().find_map(|pod| {
        let message = pod::failure(pod)?;
        Some((pod.name_any(), message))
    });
    if let Some((pod, message)) = failed {
        let affected = starting.map_or(1, |starting| starting.affected);
        return Group {
            affected,
            pod: Some(pod),
            message,
        };
    }
    if let Some(starting) = starting {
        return starting;
    }
    let listed = pods.iter().filter(|pod| is_active(pod)).count();
    let missing = seen
        .asked
        .saturating_sub(u32::try_from(listed).unwrap_or(u32::MAX));
    let message = match seen.kind {
        _ if seen.is_partial => {
            format!("none of the {listed} pods that were listed says why; the next look lists others")
        }
        _ if missing == 0 => "their state has just changed".to_owned(),
        Kind::StatefulSet => format!(
            "{missing} do not exist; `kubectl describe statefulset {}` has the events that say why",
            seen.name
        ),
        Kind::Deployment | Kind::ReplicaSet => format!("{missing} have not been created yet"),
    };
    Group {
        affected: missing,
        pod: None,
        message,
    }
}

fn in_one_line(message: &str) -> String {
    let words: Vec<_> = message.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}
