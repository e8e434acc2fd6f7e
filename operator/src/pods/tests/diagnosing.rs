//! Each trouble as a real cluster (Kubernetes 1.37) reports it.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::super::{Report, Seen, Trouble, diagnose};
use crate::targets::Kind;

const NOW: &str = "2026-11-27T19:08:52Z";

/// What is seen of a Deployment that asks for two pods.
fn seen(kind: Kind, sets: &[Value], pods: &[Value]) -> Report {
    let sets: Vec<_> = sets
        .iter()
        .map(|set| serde_json::from_value(set.clone()).unwrap())
        .collect();
    let pods: Vec<_> = pods
        .iter()
        .map(|pod| serde_json::from_value(pod.clone()).unwrap())
        .collect();
    diagnose(&Seen {
        kind,
        name: "hw7",
        applied: Some("hash"),
        asked: 2,
        sets: &sets,
        pods: &pods,
        is_partial: false,
        now: NOW.parse::<Timestamp>().unwrap(),
    })
}

fn report(sets: &[Value], pods: &[Value]) -> Report {
    seen(Kind::Deployment, sets, pods)
}

fn set(revision: u32, replicas: u32, ready: u32) -> Value {
    json!({
        "metadata": {"name": format!("set-{revision}"), "uid": format!("uid-{revision}"), "annotations": {"deployment.kubernetes.io/revision": revision.to_string()}},
        "spec": {"replicas": 2},
        "status": {"replicas": replicas, "readyReplicas": ready, "observedGeneration": 1},
    })
}

fn refused(message: &str) -> Value {
    let mut set = set(1, 0, 0);
    set["status"]["conditions"] = json!([
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message},
    ]);
    set
}

/// A pod that runs on a node and is not ready, with this container.
fn pod(name: &str, container: Value) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "t", "creationTimestamp": "2026-11-27T19:08:23Z"},
        "spec": {"nodeName": "node"},
        "status": {
            "phase": "Pending",
            "conditions": [
                {"type": "PodReadyToStartContainers", "status": "True", "lastTransitionTime": "2026-11-27T19:08:24Z"},
                {"type": "Initialized", "status": "True"},
                {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "containers with unready status: [c]"},
                {"type": "PodScheduled", "status": "True"},
            ],
            "containerStatuses": [container],
        },
    })
}

fn container(restarts: u32, state: Value, last: Value) -> Value {
    json!({"name": "c", "image": "redis:7", "ready": false, "restartCount": restarts, "state": state, "lastState": last})
}

fn ready(name: &str) -> Value {
    let mut pod = pod(
        name,
        container(
            0,
            json!({"running": {"startedAt": "2026-11-27T19:08:23Z"}}),
            json!({}),
        ),
    );
    pod["status"]["conditions"][2] = json!({"type": "Ready", "status": "True"});
    pod["status"]["containerStatuses"][0]["ready"] = json!(true);
    pod
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"waiting": {"reason": reason, "message": message}})
}

fn ended(code: i32, reason: &str, message: &str) -> Value {
    json!({"terminated": {
        "exitCode": code, "reason": reason, "message": message,
        "startedAt": "2026-11-27T19:08:50Z", "finishedAt": "2026-11-27T19:08:50Z",
    }})
}

/// The trouble of two pods like this one, and its message.
fn of_pod(state: Value, last: Value, restarts: u32) -> (Trouble, String) {
    let pods = ["hw7-b", "hw7-a"].map(|name| pod(name, container(restarts, state.clone(), last.clone())));
    let report = report(&[set(1, 2, 0)], &pods);
    if report.trouble != Trouble::Starting {
        assert_eq!((report.affected, report.pod.as_deref()), (2, Some("hw7-a")));
    }
    (report.trouble, report.message)
}

#[test]
fn pods_that_api_server_refuses_are_told_apart_by_its_words() {
    let of = |message: &str| {
        let report = report(&[refused(message)], &[]);
        assert_eq!((report.affected, report.pod), (2, None));
        (report.trouble, report.message)
    };
    let quota = "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1";
    let message = format!("pods \"quota-94778988-nz6pp\" is forbidden: {quota}");
    assert_eq!(of(&message), (Trouble::QuotaExceeded, quota.to_owned()));
    let message = "pods \"psa-59f84c6fd8-qjx55\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false";
    assert_eq!(
        of(message),
        (
            Trouble::PodSecurityViolation,
            "violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false".to_owned()
        )
    );
    let account = "error looking up service account t/none: serviceaccount \"none\" not found";
    let message = format!("pods \"sa-5ccc677876-\" is forbidden: {account}");
    assert_eq!(of(&message), (Trouble::PodsForbidden, account.to_owned()));
    let webhook = "admission webhook \"w.example.com\" denied the request: no";
    assert_eq!(of(webhook), (Trouble::PodsForbidden, webhook.to_owned()));
}

#[test]
fn refusal_that_is_over_is_no_trouble() {
    let mut set = refused("exceeded quota");
    set["status"]["replicas"] = json!(2);
    assert_eq!(
        report(&[set], &[ready("hw7-a"), ready("hw7-b")]).trouble,
        Trouble::Starting
    );
}

#[test]
fn image_that_cannot_be_pulled_is_named_with_the_cause() {
    let why = "failed to pull and unpack image \"redis:7\": not found";
    let expected = (Trouble::ImagePullFailed, format!("redis:7: {why}"));
    assert_eq!(of_pod(waiting("ErrImagePull", why), json!({}), 0), expected);
    let back_off = format!("Back-off pulling image \"redis:7\": ErrImagePull: {why}");
    assert_eq!(
        of_pod(waiting("ImagePullBackOff", &back_off), json!({}), 0),
        expected
    );
    let bare = "Back-off pulling image \"redis:7\"";
    let expected = (Trouble::ImagePullFailed, "redis:7: cannot be pulled".to_owned());
    assert_eq!(of_pod(waiting("ImagePullBackOff", bare), json!({}), 0), expected);
    for reason in ["InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"] {
        assert_eq!(
            of_pod(waiting(reason, "no"), json!({}), 0).0,
            Trouble::ImagePullFailed
        );
    }
}

#[test]
fn container_that_ends_again_and_again_crash_loops_in_each_phase() {
    let message = "container c exited with code 1 and was restarted 3 times: bad option".to_owned();
    let last = ended(1, "Error", "bad option\n");
    let back_off = waiting(
        "CrashLoopBackOff",
        "back-off 40s restarting failed container=c pod=hw7-a_t(cb296080)",
    );
    let expected = (Trouble::CrashLooping, message);
    assert_eq!(of_pod(back_off, last.clone(), 3), expected);
    assert_eq!(of_pod(last.clone(), json!({}), 3), expected);
    let just_started = json!({"running": {"startedAt": "2026-11-27T19:08:51Z"}});
    assert_eq!(of_pod(just_started.clone(), last.clone(), 3), expected);
    assert_eq!(of_pod(last.clone(), last.clone(), 1).0, Trouble::CrashLooping);
    let once = [of_pod(last.clone(), json!({}), 0), of_pod(just_started, last, 1)];
    assert!(
        once.iter().all(|(trouble, _)| *trouble == Trouble::Starting),
        "{once:?}"
    );
}

#[test]
fn program_that_does_not_exist_cannot_start() {
    let why = "exec: \"/no/such/program\": stat /no/such/program: no such file or directory";
    let expected = (Trouble::ContainerCannotStart, format!("container c: {why}"));
    let last = ended(128, "StartError", why);
    assert_eq!(
        of_pod(waiting("RunContainerError", why), last.clone(), 3),
        expected
    );
    assert_eq!(
        of_pod(waiting("CreateContainerError", why), json!({}), 0),
        expected
    );
    let back_off = waiting("CrashLoopBackOff", "back-off 40s restarting failed container=c");
    assert_eq!(of_pod(back_off, last, 3), expected);
}

#[test]
fn memory_limit_is_the_cause_and_not_the_crash_loop() {
    let expected = (
        Trouble::OOMKilled,
        "container c was killed, with exit code 137, because it used more memory than its limit".to_owned(),
    );
    let back_off = waiting(
        "CrashLoopBackOff",
        "back-off 10s restarting failed container=c pod=oom-8466f49b7b-tb8dg_t(cb296080)",
    );
    assert_eq!(of_pod(back_off, ended(137, "OOMKilled", ""), 3), expected);
    assert_eq!(of_pod(ended(137, "OOMKilled", ""), json!({}), 0), expected);
}

#[test]
fn scheduler_says_why_no_node_is_chosen() {
    let message = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
    let mut pod = pod("hw7-a", Value::Null);
    pod["spec"] = json!({});
    pod["status"] = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message},
    ]});
    let report = report(&[set(1, 1, 0)], &[pod]);
    assert_eq!(
        (report.trouble, report.message.as_str()),
        (Trouble::Unschedulable, message)
    );
}

#[test]
fn failing_init_container_is_named_whatever_its_cause() {
    let of = |state: Value, restarts: u32| {
        let mut pod = pod(
            "hw7-a",
            container(0, json!({"waiting": {"reason": "PodInitializing"}}), json!({})),
        );
        pod["status"]["conditions"][1]["status"] = json!("False");
        let mut init = container(restarts, state, json!({}));
        init["name"] = json!("i");
        pod["status"]["initContainerStatuses"] = json!([init]);
        let report = report(&[set(1, 1, 0)], &[pod]);
        (report.trouble, report.message)
    };
    let failing = |message: &str| (Trouble::InitContainerFailing, message.to_owned());
    assert_eq!(
        of(ended(1, "Error", ""), 3),
        failing("init container i exited with code 1 and was restarted 3 times")
    );
    assert_eq!(
        of(ended(1, "Error", ""), 0),
        failing("init container i exited with code 1")
    );
    assert_eq!(
        of(waiting("ErrImagePull", "not found"), 0),
        failing("init container i: redis:7: not found")
    );
    let runs = json!({"running": {"startedAt": "2026-11-27T19:08:25Z"}});
    assert_eq!(of(runs, 0).0, Trouble::Starting);
}

#[test]
fn missing_secret_of_environment_is_named() {
    let missing = waiting("CreateContainerConfigError", "secret \"none\" not found");
    let expected = (
        Trouble::ConfigMissing,
        "container c: secret \"none\" not found".to_owned(),
    );
    assert_eq!(of_pod(missing, json!({}), 0), expected);
}

#[test]
fn objects_of_volumes_are_named_when_the_sandbox_does_not_come() {
    let of = |since: &str, volumes: Value| {
        let mut pod = pod(
            "hw7-a",
            container(0, json!({"waiting": {"reason": "ContainerCreating"}}), json!({})),
        );
        pod["spec"]["volumes"] = volumes;
        pod["status"]["conditions"][0] = json!({
            "type": "PodReadyToStartContainers", "status": "False", "reason": "PodSandboxNotReady",
            "message": "no pod sandbox exists", "lastTransitionTime": since,
        });
        report(&[set(1, 1, 0)], &[pod])
    };
    let volumes = json!([
        {"name": "v", "secret": {"secretName": "none"}},
        {"name": "w", "configMap": {"name": "maybe", "optional": true}},
        {"name": "token", "projected": {"sources": []}},
    ]);
    let long = of("2026-11-27T19:08:24Z", volumes.clone());
    assert_eq!(long.trouble, Trouble::VolumeNotMounted);
    assert_eq!(
        long.message,
        "its volumes are not mounted (Secret none), or its network is not set up; `kubectl describe pod hw7-a` says what is missing"
    );
    assert_eq!(of("2026-11-27T19:08:50Z", volumes).trouble, Trouble::Starting);
    let disk = json!([{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]);
    assert_eq!(
        of("2026-11-27T19:08:24Z", disk.clone()).trouble,
        Trouble::Starting,
        "it is attached, perhaps"
    );
    assert_eq!(
        of("2026-11-27T19:07:50Z", disk).trouble,
        Trouble::VolumeNotMounted
    );
    assert_eq!(
        of("2026-11-27T19:08:24Z", json!([])).trouble,
        Trouble::Starting,
        "its network, perhaps"
    );
}

#[test]
fn container_that_runs_and_does_not_become_ready_is_not_ready_after_10_s() {
    let since = |time: &str| of_pod(json!({"running": {"startedAt": time}}), json!({}), 0);
    let (trouble, message) = since("2026-11-27T19:08:24Z");
    assert_eq!(trouble, Trouble::NotReady);
    assert_eq!(
        message,
        "container c runs, but its readiness or startup probe does not pass"
    );
    assert_eq!(since("2026-11-27T19:08:45Z").0, Trouble::Starting);
    let old_crash = json!({"running": {"startedAt": "2026-11-27T18:00:00Z"}});
    assert_eq!(of_pod(old_crash, ended(1, "Error", ""), 3).0, Trouble::NotReady);
}

#[test]
fn pods_that_are_being_made_are_starting() {
    let creating = of_pod(json!({"waiting": {"reason": "ContainerCreating"}}), json!({}), 0);
    assert_eq!(
        creating,
        (
            Trouble::Starting,
            "its images are being pulled, or its containers created".to_owned()
        )
    );
    let none = report(&[set(1, 0, 0)], &[]);
    assert_eq!((none.trouble, none.affected), (Trouble::Starting, 2));
    assert_eq!(none.message, "2 have not been created yet");
    let stateful = seen(Kind::StatefulSet, &[], &[ready("hw7-0")]);
    assert!(
        stateful.message.contains("kubectl describe statefulset hw7"),
        "{}",
        stateful.message
    );
    let starting = report(
        &[set(1, 2, 0)],
        &[pod("hw7-a", container(0, json!({}), json!({})))],
    );
    assert_eq!(starting.starting_for, Some(std::time::Duration::from_secs(29)));
}

#[test]
fn commonest_reason_wins_and_of_as_many_the_most_severe() {
    let image = |name: &str| {
        pod(
            name,
            container(0, waiting("ErrImagePull", "not found"), json!({})),
        )
    };
    let config = |name: &str| {
        pod(
            name,
            container(0, waiting("CreateContainerConfigError", "no"), json!({})),
        )
    };
    let starting = |name: &str| {
        pod(
            name,
            container(0, json!({"waiting": {"reason": "ContainerCreating"}}), json!({})),
        )
    };
    let most = report(&[], &[image("a"), config("c"), config("b"), ready("d")]);
    assert_eq!(
        (most.trouble, most.affected, most.pod.as_deref()),
        (Trouble::ConfigMissing, 2, Some("b"))
    );
    let tie = report(&[], &[image("b"), config("a")]);
    assert_eq!(
        (tie.trouble, tie.pod.as_deref()),
        (Trouble::ImagePullFailed, Some("b"))
    );
    let one = report(&[], &[starting("a"), starting("b"), image("c")]);
    assert_eq!(one.trouble, Trouble::ImagePullFailed, "the others may fail yet");
}

#[test]
fn pods_that_ended_or_are_ending_count_only_where_nothing_else_explains() {
    let mut evicted = pod("a", Value::Null);
    evicted["status"] =
        json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."});
    let mut ending = pod("b", container(0, waiting("ErrImagePull", "not found"), json!({})));
    ending["metadata"]["deletionTimestamp"] = json!(NOW);
    let config = pod(
        "c",
        container(0, waiting("CreateContainerConfigError", "no"), json!({})),
    );
    let explained = report(&[], &[evicted.clone(), ending.clone(), config]);
    assert_eq!(
        (explained.trouble, explained.affected),
        (Trouble::ConfigMissing, 1)
    );
    let alone = report(&[], &[evicted, ending]);
    assert_eq!(
        (alone.trouble, alone.pod.as_deref()),
        (Trouble::Starting, Some("a"))
    );
    assert_eq!(
        alone.message,
        "the pod failed: Evicted: The node was low on resource: memory."
    );
}

/// Whether a pod of the newest template was ready, and whether one cannot start.
fn template(sets: &[Value], pods: &[Value]) -> (bool, bool) {
    let template = report(sets, pods).template.unwrap();
    assert_eq!(template.applied, "hash");
    (template.is_ready, template.cannot_start)
}

#[test]
fn newest_revision_alone_tells_of_template() {
    assert!(template(&[set(10, 2, 1), set(9, 2, 0)], &[]).0);
    assert!(!template(&[set(9, 2, 2), set(10, 2, 0)], &[]).0);
    assert_eq!(report(&[], &[]).template, None, "there is none yet");

    let of_set = |revision: u32| {
        let mut pod = pod("a", container(0, waiting("ErrImagePull", "not found"), json!({})));
        pod["metadata"]["ownerReferences"] = json!([
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "set", "uid": format!("uid-{revision}"), "controller": true},
        ]);
        pod
    };
    let sets = [set(9, 2, 0), set(10, 2, 0)];
    assert_eq!(template(&sets, &[of_set(10)]), (false, true));
    assert_eq!(
        template(&sets, &[of_set(9)]),
        (false, false),
        "it is of the last one"
    );
}

#[test]
fn long_message_is_cut_between_characters_and_has_one_line() {
    let long = "ä \n".repeat(1000);
    let (_, message) = of_pod(waiting("CreateContainerConfigError", &long), json!({}), 0);
    assert_eq!(message.chars().count(), 401);
    assert!(message.ends_with('…') && !message.contains('\n'), "{message}");
}
