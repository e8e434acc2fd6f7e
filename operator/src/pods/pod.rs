//! From one pod to the reason for which it is not ready. Pure.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{ContainerStateTerminated, ContainerStateWaiting},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::ResourceExt;

use super::Trouble;
use crate::objects::{ContainerStatus, ObjectCondition, Pod, Volume};

/// A container that runs for less than this is starting: its probes may not have been tried.
const PROBES_TRIED_AFTER: Duration = Duration::from_secs(10);
/// A pod whose sandbox does not exist after this waits for a Secret or ConfigMap: these are mounted, and sandboxes made, within
/// seconds.
const MOUNTED_WITHIN: Duration = Duration::from_secs(10);
/// The same of a pod with a claim: a disk may take a minute to be attached.
const ATTACHED_WITHIN: Duration = Duration::from_secs(60);
/// A container that was restarted less than this ago has not recovered.
const RECOVERED_AFTER: Duration = Duration::from_secs(60);
/// Ends after which a container is expected to end again.
const CRASH_ENDS: i32 = 2;

/// A reason, and its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) trouble: Trouble,
    pub(super) message: String,
}

impl Finding {
    pub(super) fn new(trouble: Trouble, message: impl Into<String>) -> Self {
        Self {
            trouble,
            message: message.into(),
        }
    }
}

fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// The reason for which a pod has failed as a whole, as by an eviction. Its ReplicaSet makes another one.
pub(super) fn failure(pod: &Pod) -> Option<String> {
    (pod.status.phase.as_deref() == Some("Failed")).then(|| {
        let words = pod.status.reason.iter().chain(&pod.status.message);
        let words: Vec<_> = words.map(String::as_str).collect();
        format!("the pod failed: {}", words.join(": "))
    })
}

/// The reason for which an active pod is not ready; `None` if it is.
pub(super) fn finding(pod: &Pod, now: Timestamp) -> Option<Finding> {
    if is_ready(pod) {
        return None;
    }
    let finding = unschedulable(pod)
        .or_else(|| container_failure(pod, now))
        .or_else(|| volume_not_mounted(pod, now))
        .or_else(|| not_ready(pod, now));
    Some(finding.unwrap_or_else(|| Finding::new(Trouble::Starting, stage(pod))))
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a ObjectCondition> {
    pod.status
        .conditions
        .iter()
        .find(|condition| condition.kind == kind)
}

fn is_false(pod: &Pod, kind: &str) -> bool {
    condition(pod, kind).is_some_and(|condition| condition.status == "False")
}

fn is_past(time: Option<&Time>, after: Duration, now: Timestamp) -> bool {
    let age = time.map(|time| now.duration_since(time.0));
    age.and_then(|age| Duration::try_from(age).ok())
        .is_some_and(|age| age >= after)
}

fn unschedulable(pod: &Pod) -> Option<Finding> {
    let scheduled = condition(pod, "PodScheduled").filter(|scheduled| scheduled.status == "False")?;
    let words = scheduled.message.as_ref().or(scheduled.reason.as_ref());
    Some(Finding::new(
        Trouble::Unschedulable,
        words.cloned().unwrap_or_default(),
    ))
}

/// The most severe failure of the pod's containers.
fn container_failure(pod: &Pod, now: Timestamp) -> Option<Finding> {
    let init = pod.status.init_container_statuses.iter();
    let init = init.filter_map(|status| init_failure(status, now));
    let own = pod.status.container_statuses.iter();
    let own = own.filter_map(|status| failing(status, &format!("container {}", status.name), now));
    own.chain(init).min_by_key(|finding| finding.trouble)
}

/// Each failure of an init container keeps all others from starting, whatever its cause.
fn init_failure(status: &ContainerStatus, now: Timestamp) -> Option<Finding> {
    let subject = format!("init container {}", status.name);
    let failed = || {
        let end = status
            .state
            .terminated
            .as_ref()
            .filter(|end| end.exit_code != 0)?;
        Some(Finding::new(Trouble::CrashLooping, ending(&subject, status, end)))
    };
    let finding = failing(status, &subject, now).or_else(failed)?;
    let message = if finding.message.starts_with(&subject) {
        finding.message
    } else {
        format!("{subject}: {}", finding.message)
    };
    Some(Finding::new(Trouble::InitContainerFailing, message))
}

/// The reason for which a container does not start, or ends soon.
fn failing(status: &ContainerStatus, subject: &str, now: Timestamp) -> Option<Finding> {
    if status.ready {
        return None;
    }
    if let Some(finding) = status
        .state
        .waiting
        .as_ref()
        .and_then(|waiting| cannot_start(status, subject, waiting))
    {
        return Some(finding);
    }
    let running = status.state.running.as_ref();
    if running.is_some_and(|running| is_past(running.started_at.as_ref(), RECOVERED_AFTER, now)) {
        return None;
    }
    let ended = status.state.terminated.as_ref();
    let end = ended.or(status.last_state.terminated.as_ref());
    match end.map(|end| (end, end.reason.as_deref())) {
        Some((end, Some("StartError" | "ContainerCannotRun"))) => {
            let message = end.message.as_deref().unwrap_or("cannot be started");
            return Some(Finding::new(
                Trouble::ContainerCannotStart,
                format!("{subject}: {message}"),
            ));
        }
        Some((end, Some("OOMKilled"))) => {
            let message = format!(
                "{subject} was killed, with exit code {}, because it used more memory than its limit",
                end.exit_code
            );
            return Some(Finding::new(Trouble::OOMKilled, message));
        }
        _ => {}
    }
    let backs_off = waiting_reason(status) == Some("CrashLoopBackOff");
    let ends = status.restart_count.saturating_add(ended.is_some().into());
    if !backs_off && ends < CRASH_ENDS {
        return None;
    }
    let message = end.map_or_else(
        || format!("{subject} ends again and again"),
        |end| ending(subject, status, end),
    );
    Some(Finding::new(Trouble::CrashLooping, message))
}

fn waiting_reason(status: &ContainerStatus) -> Option<&str> {
    status.state.waiting.as_ref()?.reason.as_deref()
}

fn cannot_start(status: &ContainerStatus, subject: &str, waiting: &ContainerStateWaiting) -> Option<Finding> {
    let message = waiting.message.as_deref().unwrap_or_default();
    match waiting.reason.as_deref()? {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => Some(Finding::new(
            Trouble::ImagePullFailed,
            image_failure(&status.image, message),
        )),
        "CreateContainerConfigError" => Some(Finding::new(
            Trouble::ConfigMissing,
            format!("{subject}: {message}"),
        )),
        "RunContainerError"
        | "CreateContainerError"
        | "PreCreateHookError"
        | "PreStartHookError"
        | "PostStartHookError" => Some(Finding::new(
            Trouble::ContainerCannotStart,
            format!("{subject}: {message}"),
        )),
        _ => None,
    }
}

/// The image, and why it cannot be pulled. While the kubelet backs off it repeats the last error after words of its own.
fn image_failure(image: &str, message: &str) -> String {
    let back_off = format!("Back-off pulling image \"{image}\"");
    let why = match message.strip_prefix(&back_off) {
        Some(why) => why.trim_start_matches([':', ' ']),
        None => message,
    };
    let why = why.strip_prefix("ErrImagePull: ").unwrap_or(why);
    if why.is_empty() {
        format!("{image}: cannot be pulled")
    } else {
        format!("{image}: {why}")
    }
}

/// How a container ended, with its own last words.
fn ending(subject: &str, status: &ContainerStatus, end: &ContainerStateTerminated) -> String {
    let restarts = match status.restart_count {
        0 => String::new(),
        1 => " and was restarted once".to_owned(),
        several => format!(" and was restarted {several} times"),
    };
    let words = end.message.as_deref().unwrap_or_default().trim();
    let words = if words.is_empty() {
        String::new()
    } else {
        format!(": {words}")
    };
    format!("{subject} exited with code {}{restarts}{words}", end.exit_code)
}

/// The kubelet says only in events why a volume is not mounted. The objects that the pod mounts are what is missing, as a rule.
fn volume_not_mounted(pod: &Pod, now: Timestamp) -> Option<Finding> {
    let sandbox = condition(pod, "PodReadyToStartContainers").filter(|sandbox| sandbox.status == "False")?;
    let created = pod.creation_timestamp();
    let since = sandbox.last_transition_time.as_ref().or(created.as_ref());
    let volumes = &pod.spec.volumes;
    let has_claim = volumes
        .iter()
        .any(|volume| volume.persistent_volume_claim.is_some());
    let limit = if has_claim {
        ATTACHED_WITHIN
    } else {
        MOUNTED_WITHIN
    };
    let needed: Vec<_> = volumes.iter().filter_map(needed_object).collect();
    (is_past(since, limit, now) && !needed.is_empty()).then(|| {
        let message = format!(
            "its volumes are not mounted ({}), or its network is not set up; `kubectl describe pod {}` says what is missing",
            needed.join(", "),
            pod.name_any()
        );
        Finding::new(Trouble::VolumeNotMounted, message)
    })
}

/// The object without which a volume cannot be mounted.
fn needed_object(volume: &Volume) -> Option<String> {
    if let Some(secret) = &volume.secret
        && secret.optional != Some(true)
    {
        return secret.secret_name.as_ref().map(|name| format!("Secret {name}"));
    }
    if let Some(map) = &volume.config_map
        && map.optional != Some(true)
    {
        return Some(format!("ConfigMap {}", map.name));
    }
    let claim = volume.persistent_volume_claim.as_ref()?;
    Some(format!("PersistentVolumeClaim {}", claim.claim_name))
}

/// A container that has run for a while and does not become ready; or a pod that is not ready though all its containers are.
fn not_ready(pod: &Pod, now: Timestamp) -> Option<Finding> {
    let statuses = &pod.status.container_statuses;
    let unready = statuses.iter().find(|status| {
        let running = status.state.running.as_ref().filter(|_| !status.ready);
        running.is_some_and(|running| is_past(running.started_at.as_ref(), PROBES_TRIED_AFTER, now))
    });
    if let Some(status) = unready {
        let message = format!(
            "container {} runs, but its readiness or startup probe does not pass",
            status.name
        );
        return Some(Finding::new(Trouble::NotReady, message));
    }
    let ready = condition(pod, "Ready")?;
    let all_ready = !statuses.is_empty() && statuses.iter().all(|status| status.ready);
    (all_ready && is_past(ready.last_transition_time.as_ref(), PROBES_TRIED_AFTER, now)).then(|| {
        let words = ready.message.as_ref().or(ready.reason.as_ref());
        let message = words.map_or_else(
            || "all containers are ready, but the pod is not: its node may be gone".to_owned(),
            Clone::clone,
        );
        Finding::new(Trouble::NotReady, message)
    })
}

/// How far a pod is that is starting.
fn stage(pod: &Pod) -> &'static str {
    if pod.spec.node_name.is_none() {
        "no node has been chosen yet"
    } else if is_false(pod, "PodReadyToStartContainers") {
        "its volumes and its network are being set up"
    } else if is_false(pod, "Initialized") {
        "its init containers run, or their images are being pulled"
    } else if pod
        .status
        .container_statuses
        .iter()
        .any(|status| status.state.waiting.is_some())
    {
        "its images are being pulled, or its containers created"
    } else {
        "its containers have just been started"
    }
}
