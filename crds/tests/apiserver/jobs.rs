//! Jobs: good and bad ones, and what their author reads.

use std::time::{Duration, Instant};

use crate::kubectl::{Namespace, Output};

/// How long a new definition may take to be in force.
const IN_FORCE: Duration = Duration::from_secs(20);

const IMMUTABLE: &str =
    "is invalid: spec: Invalid value: the spec of a Job is immutable: delete it, or make another one";

/// The spec before, if there is one; the spec; and what the answer ends with.
type Case = (Option<&'static str>, &'static str, &'static str);

#[rustfmt::skip]
const CASES: [Case; 16] = [
    (None, "{poolName: thumbs}", ""),
    (None, "{poolName: thumbs, start: in.png, end: 64x64, payload: {a: [1, {b: null}]}, maxAttempts: 3, timeoutSeconds: 60, \
        ttlSecondsAfterFinished: 0}", ""),
    (None, "{poolName: thumbs, payload: 12}", ""),
    (None, "{poolName: thumbs, payload: [text]}", ""),
    (None, "{}", "spec.poolName: Required value"),
    (None, "{poolName: Thumbs}",
        "poolName must be the name of a WorkerPool: lower-case letters, digits, '-' and '.'"),
    (None, "{poolName: thumbs, paylod: {}}", "strict decoding error: unknown field \"spec.paylod\""),
    (None, "{poolName: thumbs, maxAttempts: 0}",
        "spec.maxAttempts: Invalid value: 0: spec.maxAttempts in body should be greater than or equal to 1"),
    (None, "{poolName: thumbs, id: report-2026.11_a}", ""),
    (None, "{poolName: thumbs, id: ''}", "spec.id: Invalid value: \"\": spec.id in body should be at least 1 chars long"),
    (None, "{poolName: thumbs, id: a/b}",
        "id must be letters, digits, '-', '_' and '.', with a letter or a digit at both ends"),
    (Some("{poolName: thumbs, start: a}"), "{poolName: thumbs, start: a}", ""),
    (Some("{poolName: thumbs, start: a}"), "{poolName: thumbs, start: b}", IMMUTABLE),
    (Some("{poolName: thumbs, payload: {a: 1}}"), "{poolName: thumbs, payload: {a: 2}}", IMMUTABLE),
    (Some("{poolName: thumbs, payload: {a: 1}}"), "{poolName: thumbs}", IMMUTABLE),
    (Some("{poolName: thumbs, id: a}"), "{poolName: thumbs, id: b}", IMMUTABLE),
];

#[test]
#[ignore = "needs a cluster"]
fn each_job_gets_the_answer_that_its_author_should_read() {
    let namespace = Namespace::create("crds-jobs");
    let deadline = Instant::now() + IN_FORCE;
    let mut wrong = Vec::new();
    for (number, (given, spec, answer)) in CASES.into_iter().enumerate() {
        let name = format!("case-{number}");
        if let Some(given) = given {
            until(
                deadline,
                || apply(&namespace, &name, given, &[]),
                |output| output.success,
            )
            .succeeded();
        }
        let apply = || apply(&namespace, &name, spec, &["--dry-run=server"]);
        let right = |output: &Output| output.success == answer.is_empty() && fails_with(output, answer);
        let last = until(deadline, apply, right);
        if !right(&last) {
            wrong.push(format!(
                "{spec}:\n  expected {answer:?}\n  seen     {:?}",
                last.stderr
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn fails_with(output: &Output, answer: &str) -> bool {
    answer.is_empty() || output.stderr.contains(answer)
}

fn apply(namespace: &Namespace, name: &str, spec: &str, flags: &[&str]) -> Output {
    let arguments = [&["apply", "-f", "-"], flags].concat();
    let file =
        format!("apiVersion: workerpool.dev/v1alpha1\nkind: Job\nmetadata: {{name: {name}}}\nspec: {spec}\n");
    namespace.kubectl(&arguments, &file)
}

/// Again and again, until it is right or time is up.
fn until(deadline: Instant, again: impl Fn() -> Output, right: impl Fn(&Output) -> bool) -> Output {
    let mut last = again();
    while !right(&last) && Instant::now() < deadline {
        last = again();
    }
    last
}

#[test]
#[ignore = "needs a cluster"]
fn the_short_names_are_ours_and_plain_jobs_stay_those_of_batch() {
    let namespace = Namespace::create("crds-job-names");
    let job = || apply(&namespace, "mine", "{poolName: thumbs}", &[]);
    until(Instant::now() + IN_FORCE, job, |output| output.success).succeeded();
    for name in ["wj", "wpjob", "jobs.workerpool.dev"] {
        let listed = namespace.kubectl(&["get", name, "-o", "name"], "").succeeded();
        assert_eq!(listed.trim(), "job.workerpool.dev/mine", "{name}");
    }
    assert_eq!(
        namespace.kubectl(&["get", "jobs", "-o", "name"], "").succeeded(),
        ""
    );
    // A name that stands for both kinds would be of no use to `kubectl scale`.
    let pools = namespace
        .kubectl(&["get", "workerpool", "-o", "name"], "")
        .succeeded();
    assert_eq!(pools, "");
}

/// 0.1.0 wrote the queue's word as the state.
#[test]
#[ignore = "needs a cluster"]
fn status_of_0_1_0_stays_writable_and_explain_lists_states() {
    let namespace = Namespace::create("crds-job-status");
    let job = || apply(&namespace, "old", "{poolName: thumbs}", &[]);
    until(Instant::now() + IN_FORCE, job, |output| output.success).succeeded();
    let patch = |subresource: &str, patch: &str| {
        let arguments = ["patch", "wj", "old", subresource, "--type=merge", "-p", patch];
        namespace.kubectl(&arguments, "").succeeded()
    };
    patch("--subresource=status", r#"{"status": {"state": "in progress"}}"#);
    patch(
        "--subresource=",
        r#"{"metadata": {"finalizers": ["workerpool.dev/cancel"]}}"#,
    );
    patch(
        "--subresource=status",
        r#"{"status": {"state": "Running", "queueState": "in progress"}}"#,
    );
    patch("--subresource=", r#"{"metadata": {"finalizers": null}}"#);
    let status = namespace.get("wj/old")["status"].clone();
    assert_eq!(
        status,
        serde_json::json!({"state": "Running", "queueState": "in progress"})
    );

    let explain = || namespace.kubectl(&["explain", "wj.status.state"], "");
    let explained = |output: &Output| {
        let words: Vec<_> = output.stdout.split_whitespace().collect();
        words
            .join(" ")
            .contains("`Scheduled`: the job waits for its time, `nextAttemptTime`")
    };
    let last = until(Instant::now() + IN_FORCE, explain, explained);
    assert!(explained(&last), "{}{}", last.stdout, last.stderr);
}
