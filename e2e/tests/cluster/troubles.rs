//! Pods that are not ready: what `kubectl get wp` and the conditions show, how soon, and that it ends when the cause is gone.
//!
//! `--nocapture` prints a row for each trouble: what was done, the line of `kubectl get wp`, the sentence, the seconds since the pool was created.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use workerpool_e2e::wait::{Look, eventually};
use workerpool_e2e::{HW7, Namespace, Pool, in_namespace, pool};

/// The operator looks 15 s after pods are missing, and again after 15 s and 30 s; the kubelet needs two restarts to call it a crash loop.
const SEEN_WITHIN: Duration = Duration::from_secs(90);

/// One cause, how it is made, and how it is ended.
struct Trouble {
    /// Of the condition `PodsReady`.
    reason: &'static str,
    /// Part of the message: the kubelet's, the scheduler's or the API server's own words, where they have any.
    words: &'static str,
    /// Whether there are pods, one of which the message names.
    has_pods: bool,
    replicas: u32,
    pod: Value,
    before: Step,
    cure: Step,
}

/// Something that a person does in the namespace.
enum Step {
    Nothing,
    Apply(Value),
    Delete(&'static str),
    Label(&'static str),
    HealthyTemplate,
}

impl Step {
    async fn take(&self, ns: &Namespace) -> Result<()> {
        match self {
            Self::Nothing => {}
            Self::Apply(object) => {
                ns.apply(object).await?;
            }
            Self::Delete(object) => {
                ns.kubectl(["delete", object]).await?;
            }
            Self::Label(label) => {
                ns.kubectl(["label", "namespace", ns.name(), label]).await?;
            }
            Self::HealthyTemplate => set_template(ns, &healthy()).await?,
        }
        Ok(())
    }
}

/// A pool under this trouble: shown in the column, both conditions and an event; gone after the cure.
#[expect(clippy::print_stdout, reason = "a row of the table of troubles")]
async fn is_shown_until_cured(slug: &str, trouble: Trouble) -> Result<()> {
    in_namespace(slug, async |ns| {
        ns.deploy_redis().await?;
        trouble.before.take(ns).await?;
        let (reason, replicas) = (trouble.reason, trouble.replicas);
        let created = Instant::now();
        ns.apply(&pool(HW7, fixed_count(replicas, &trouble.pod))).await?;

        let seen = until(ns, &format!("is not ready: {reason}"), |pool| {
            ["PodsReady", "Ready"]
                .iter()
                .all(|kind| says(pool, kind, "False", reason))
        })
        .await?;
        let seconds = created.elapsed();
        ensure!(seconds < SEEN_WITHIN, "only after {seconds:?}");
        let message = message_of(&seen, "PodsReady")?;
        ensure!(
            message.starts_with(&format!("0 of {replicas} pods")),
            "no count: {message}"
        );
        ensure!(
            message.contains(trouble.words),
            "not in the words of Kubernetes: {message}"
        );
        if trouble.has_pods {
            names_pod(ns, &message).await?;
        }
        let line = line_with(ns, ["False", reason, &format!("0/{replicas}")]).await?;
        warned(ns, reason).await?;
        println!("| `{reason}` | `{line}` | {message} | {} |", seconds.as_secs());

        trouble.cure.take(ns).await?;
        until(ns, "is cured", |pool| {
            pool.is("PodsReady", "True") && says(pool, "Ready", "True", "OK")
        })
        .await?;
        line_with(ns, ["True", "OK", &format!("{replicas}/{replicas}")]).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn exceeded_quota_is_shown_as_quota_exceeded() -> Result<()> {
    let trouble = Trouble {
        reason: "QuotaExceeded",
        words: "exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1",
        has_pods: false,
        replicas: 2,
        pod: healthy(),
        before: Step::Apply(quota(1)),
        cure: Step::Delete("resourcequota/few"),
    };
    is_shown_until_cured("quota", trouble).await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn restricted_namespace_is_shown_as_pod_security_violation() -> Result<()> {
    let trouble = Trouble {
        reason: "PodSecurityViolation",
        words: "violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false",
        has_pods: false,
        replicas: 2,
        pod: healthy(),
        before: Step::Label("pod-security.kubernetes.io/enforce=restricted"),
        cure: Step::Label("pod-security.kubernetes.io/enforce-"),
    };
    is_shown_until_cured("restricted", trouble).await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn missing_service_account_is_shown_as_pods_forbidden() -> Result<()> {
    let trouble = Trouble {
        reason: "PodsForbidden",
        words: "serviceaccount \"late\" not found",
        has_pods: false,
        replicas: 2,
        pod: with(healthy(), "serviceAccountName", json!("late")),
        before: Step::Nothing,
        cure: Step::Apply(
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "late"}}),
        ),
    };
    is_shown_until_cured("no-account", trouble).await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn unknown_image_is_shown_as_image_pull_failed() -> Result<()> {
    let trouble = Trouble {
        reason: "ImagePullFailed",
        words: UNKNOWN_IMAGE,
        has_pods: true,
        replicas: 2,
        pod: worker(&json!({"image": UNKNOWN_IMAGE})),
        before: Step::Nothing,
        cure: Step::HealthyTemplate,
    };
    is_shown_until_cured("image", trouble).await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn ending_program_is_shown_as_crash_looping() -> Result<()> {
    let trouble = Trouble {
        // One pod: at each restart all pods are ready for a moment.
        reason: "CrashLooping",
        words: "exited with code 3",
        has_pods: true,
        replicas: 1,
        pod: worker(&json!({"command": ["sh", "-c", "exit 3"]})),
        before: Step::Nothing,
        cure: Step::HealthyTemplate,
    };
    is_shown_until_cured("crash-loop", trouble).await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn missing_program_is_shown_as_container_cannot_start() -> Result<()> {
    let trouble = Trouble {
        reason: "ContainerCannotStart",
        words: "/no/such/program",
        has_pods: true,
        replicas: 2,
        pod: worker(&json!({"command": ["/no/such/program"]})),
        before: Step::Nothing,
        cure: Step::HealthyTemplate,
    };
    is_shown_until_cured("no-program", trouble).await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn exceeded_memory_limit_is_shown_as_oom_killed() -> Result<()> {
    // The shell's own memory doubles until the kernel ends it.
    let grow = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done";
    let trouble = Trouble {
        reason: "OOMKilled",
        words: "more memory than its limit",
        has_pods: true,
        replicas: 2,
        pod: worker(&json!({
            "command": ["sh", "-c", grow],
            "resources": {"limits": {"memory": "16Mi"}},
        })),
        before: Step::Nothing,
        cure: Step::HealthyTemplate,
    };
    is_shown_until_cured("oom", trouble).await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn unmatched_node_selector_is_shown_as_unschedulable() -> Result<()> {
    let trouble = Trouble {
        reason: "Unschedulable",
        words: "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector",
        has_pods: true,
        replicas: 2,
        pod: with(healthy(), "nodeSelector", json!({"no": "such"})),
        before: Step::Nothing,
        cure: Step::HealthyTemplate,
    };
    is_shown_until_cured("no-node", trouble).await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn failing_init_container_is_shown_as_init_container_failing() -> Result<()> {
    let prepare = json!([{"name": "prepare", "image": BUSYBOX, "command": ["sh", "-c", "exit 4"]}]);
    let trouble = Trouble {
        reason: "InitContainerFailing",
        words: "exited with code 4",
        has_pods: true,
        replicas: 2,
        pod: with(healthy(), "initContainers", prepare),
        before: Step::Nothing,
        cure: Step::HealthyTemplate,
    };
    is_shown_until_cured("init", trouble).await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn missing_secret_of_environment_is_shown_as_config_missing() -> Result<()> {
    let from_secret =
        json!([{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "late", "key": "token"}}}]);
    let trouble = Trouble {
        reason: "ConfigMissing",
        words: "secret \"late\" not found",
        has_pods: true,
        replicas: 2,
        pod: worker(&json!({"env": from_secret})),
        before: Step::Nothing,
        cure: Step::Apply(late_secret()),
    };
    is_shown_until_cured("no-secret", trouble).await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn missing_secret_of_volume_is_shown_as_volume_not_mounted() -> Result<()> {
    let pod = worker(&json!({"volumeMounts": [{"name": "token", "mountPath": "/token"}]}));
    let trouble = Trouble {
        reason: "VolumeNotMounted",
        words: "Secret late",
        has_pods: true,
        replicas: 2,
        pod: with(
            pod,
            "volumes",
            json!([{"name": "token", "secret": {"secretName": "late"}}]),
        ),
        before: Step::Nothing,
        cure: Step::Apply(late_secret()),
    };
    is_shown_until_cured("no-volume", trouble).await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn failing_readiness_probe_is_shown_as_not_ready() -> Result<()> {
    let trouble = Trouble {
        reason: "NotReady",
        words: "readiness or startup probe does not pass",
        has_pods: true,
        replicas: 2,
        pod: worker(&json!({"readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1}})),
        before: Step::Nothing,
        cure: Step::HealthyTemplate,
    };
    is_shown_until_cured("unready", trouble).await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn pool_with_some_pods_stays_ready_and_counts_them() -> Result<()> {
    in_namespace("some-ready", async |ns| {
        ns.deploy_redis().await?;
        // Redis and three pods.
        ns.apply(&quota(4)).await?;
        ns.apply(&pool(
            HW7,
            json!({"replicas": 4, "template": template(&healthy())}),
        ))
        .await?;
        let seen = until(ns, "has three of four pods", |pool| {
            says(pool, "PodsReady", "False", "QuotaExceeded") && pool.at("/status/pods") == "3/4"
        })
        .await?;
        ensure!(says(&seen, "Ready", "True", "OK"), "{}", seen.at("/status"));
        let ready = message_of(&seen, "Ready")?;
        ensure!(
            ready.contains("3 of 4 pods"),
            "the message counts nothing: {ready}"
        );
        // A quarter of the desired pods may be missing, as in a Deployment.
        ensure!(seen.is("Available", "True"), "{}", seen.at("/status"));
        line_with(ns, ["True", "OK", "3/4"]).await?;

        ns.kubectl(["scale", "workerpool", HW7, "--replicas=8"]).await?;
        let seen = until(ns, "is not available with three of eight pods", |pool| {
            pool.is("Available", "False") && pool.at("/status/pods") == "3/8"
        })
        .await?;
        ensure!(says(&seen, "Ready", "True", "OK"), "{}", seen.at("/status"));
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn refused_pool_reports_running_pods_and_no_mode() -> Result<()> {
    in_namespace("refused-pods", async |ns| {
        ns.deploy_redis().await?;
        ns.apply(&pool(HW7, fixed_count(2, &healthy()))).await?;
        until(ns, "is ready", |pool| pool.is("PodsReady", "True")).await?;
        ns.ready(HW7, 2).await?;

        let secret = r#"{"spec":{"redis":{"credentialsSecretRef":{"name":"none"}}}}"#;
        ns.kubectl(["patch", "workerpool", HW7, "--type=merge", "-p", secret])
            .await?;
        let refused = until(ns, "is refused", |pool| {
            says(pool, "Ready", "False", "SecretNotFound")
        })
        .await?;
        ensure!(
            ["replicas", "readyReplicas"].map(|field| refused.count(field)) == [Some(2); 2],
            "two pods run: {}",
            refused.at("/status")
        );
        ensure!(
            refused.mode().is_empty(),
            "nobody decides: {}",
            refused.at("/status")
        );
        line_with(ns, ["False", "SecretNotFound", "2/2"]).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn unknown_image_does_not_stay_at_maximum() -> Result<()> {
    in_namespace("unproven", async |ns| {
        ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        // All jobs wait before the pool is there, so that the first step is the whole one.
        ensure!(
            api.submit_many(100).await?.len() == 100,
            "not every job was accepted"
        );
        let counts = ns.counts_of(HW7).await?;
        let bad = worker(&json!({"image": UNKNOWN_IMAGE}));
        let spec = json!({"scaling": {"maxReplicas": 20}, "template": template(&bad)});
        ns.apply(&pool(HW7, spec)).await?;
        ns.given(HW7, 20).await?;
        ns.given(HW7, 3).await?;
        let counts = counts.counts();
        // A new pool begins with minReplicas.
        ensure!(
            counts.strip_prefix(&[0]).unwrap_or(&counts) == [20, 3],
            "not up in one step and then down: {counts:?}"
        );
        let unproven = until(ns, "is unproven", |pool| {
            says(pool, "ScalingActive", "True", "Unproven")
        })
        .await?;
        ensure!(
            unproven.at("/status/provenTemplate").is_null() && unproven.count("desiredReplicas") == Some(3),
            "{}",
            unproven.at("/status")
        );
        let line = line_with(ns, ["False", "ImagePullFailed", "0/3"]).await?;
        println!(
            "| `Unproven` | `{line}` | {} |",
            message_of(&unproven, "ScalingActive")?
        );

        set_template(ns, &healthy()).await?;
        ns.ready(HW7, 20).await?;
        let proven = until(ns, "is proven", |pool| {
            pool.at("/status/provenTemplate").is_string()
        })
        .await?;
        ensure!(
            !says(&proven, "ScalingActive", "True", "Unproven"),
            "{}",
            proven.at("/status")
        );
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn pin_is_obeyed_while_image_is_unknown() -> Result<()> {
    in_namespace("unproven-pin", async |ns| {
        ns.deploy_redis().await?;
        let bad = worker(&json!({"image": UNKNOWN_IMAGE}));
        ns.apply(&pool(HW7, json!({"replicas": 5, "template": template(&bad)})))
            .await?;
        ns.given(HW7, 5).await?;
        let counts = ns.counts_of(HW7).await?;
        until(ns, "is not ready", |pool| {
            says(pool, "Ready", "False", "ImagePullFailed")
        })
        .await?;

        ns.kubectl(["scale", "workerpool", HW7, "--replicas=6"]).await?;
        ns.given(HW7, 6).await?;
        let pinned = until(ns, "is pinned at 6", |pool| {
            pool.count("desiredReplicas") == Some(6) && says(pool, "ScalingActive", "False", "Pinned")
        })
        .await?;
        ensure!(pinned.at("/status/pods") == "0/6", "{}", pinned.at("/status"));
        ensure!(counts.counts() == [5, 6], "{:?}", counts.counts());
        ns.kubectl(["scale", "workerpool", HW7, "--replicas=0"]).await?;
        ns.ready(HW7, 0).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn pin_to_zero_is_obeyed_while_roll_out_is_stuck() -> Result<()> {
    in_namespace("stuck", async |ns| {
        ns.deploy_redis().await?;
        ns.apply(&pool(HW7, fixed_count(2, &healthy()))).await?;
        ns.ready(HW7, 2).await?;
        set_template(ns, &worker(&json!({"image": UNKNOWN_IMAGE}))).await?;
        eventually("a pod cannot pull its image", SEEN_WITHIN, async || {
            let pods = ns.kubectl(["get", "pods"]).await?;
            Ok(Look::when(pods.contains("ImagePull"), (), || pods))
        })
        .await?;

        ns.kubectl(["scale", "workerpool", HW7, "--replicas=0"]).await?;
        let scaled = Instant::now();
        ns.ready(HW7, 0).await?;
        ensure!(
            scaled.elapsed() < SEEN_WITHIN,
            "only after {:?}",
            scaled.elapsed()
        );
        Ok(())
    })
    .await
}

const BUSYBOX: &str = "busybox:1";
/// Nothing listens there. A name would be looked up for 10 s, and the kubelet pulls one image after another.
const UNKNOWN_IMAGE: &str = "127.0.0.1:1/typo:1";

fn fixed_count(replicas: u32, pod: &Value) -> Value {
    json!({"scaling": {"minReplicas": replicas, "maxReplicas": replicas}, "template": template(pod)})
}

fn template(pod: &Value) -> Value {
    json!({"spec": pod})
}

/// A pod that is ready at once.
fn healthy() -> Value {
    worker(&json!({}))
}

/// A pod whose container `worker` sleeps, but for these fields.
fn worker(fields: &Value) -> Value {
    let mut container = json!({"name": "worker", "image": BUSYBOX, "command": ["sleep", "3600"]});
    for (field, value) in fields.as_object().into_iter().flatten() {
        container[field] = value.clone();
    }
    // `sleep` as process 1 does not end at SIGTERM.
    json!({"containers": [container], "terminationGracePeriodSeconds": 1})
}

fn with(mut pod: Value, field: &str, value: Value) -> Value {
    pod[field] = value;
    pod
}

fn quota(pods: u32) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few"},
        "spec": {"hard": {"pods": pods.to_string()}},
    })
}

fn late_secret() -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}, "stringData": {"token": "t"}})
}

/// Replaces the pool's template as a whole: what the old one has and the new one has not is gone.
async fn set_template(ns: &Namespace, pod: &Value) -> Result<()> {
    let patch = json!([{"op": "replace", "path": "/spec/template", "value": template(pod)}]).to_string();
    ns.kubectl(["patch", "workerpool", HW7, "--type=json", "-p", &patch])
        .await?;
    Ok(())
}

async fn until(ns: &Namespace, what: &str, holds: impl Fn(&Pool) -> bool) -> Result<Pool> {
    ns.pool_until(HW7, what, holds).await
}

fn says(pool: &Pool, kind: &str, status: &str, reason: &str) -> bool {
    pool.condition(kind)
        .is_some_and(|condition| condition.status == status && condition.reason == reason)
}

fn message_of(pool: &Pool, kind: &str) -> Result<String> {
    Ok(pool.condition(kind).context("no such condition")?.message)
}

/// Waits for these columns READY, STATUS and PODS in the pool's line of `kubectl get wp`; answers the line, with single spaces. A container
/// without a probe is ready for the moment until it ends.
async fn line_with(ns: &Namespace, columns: [&str; 3]) -> Result<String> {
    eventually(
        &format!("kubectl get wp shows {columns:?}"),
        SEEN_WITHIN,
        async || {
            let table = ns.kubectl(["get", "wp", HW7, "--no-headers"]).await?;
            let cells: Vec<_> = table.split_whitespace().collect();
            let is_shown = cells.get(1..4) == Some(&columns[..]);
            Ok(Look::when(is_shown, cells.join(" "), || table))
        },
    )
    .await
}

async fn names_pod(ns: &Namespace, message: &str) -> Result<()> {
    let pods = ns.pods_of(HW7).await?;
    let mut names = pods.iter().filter_map(|pod| pod.metadata.name.as_deref());
    ensure!(
        names.any(|name| message.contains(name)),
        "names no pod: {message}"
    );
    Ok(())
}

/// Waits for a Warning event with this reason.
async fn warned(ns: &Namespace, reason: &str) -> Result<()> {
    let of_pool = "--field-selector=involvedObject.kind=WorkerPool,type=Warning";
    eventually(&format!("a warning {reason}"), SEEN_WITHIN, async || {
        let events = ns.kubectl(["get", "events", of_pool]).await?;
        Ok(Look::when(events.contains(reason), (), || events))
    })
    .await
}
