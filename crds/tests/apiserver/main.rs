//! What a user sees: resources given to a real API server by kubectl, and the answers.
//!
//! Needs a cluster: `KUBECONFIG=$(dev/cluster --name test kubeconfig) cargo test -p workerpool-crds --test apiserver --
//! --ignored`, or WORKERPOOL_TEST_KUBECONFIG in place of KUBECONFIG.

#![allow(clippy::expect_used, clippy::panic)]

mod applied;
mod cases;
mod jobs;
mod kubectl;

use std::time::{Duration, Instant};

use cases::{Case, cases};
use crds::WorkerPoolSpec;
use kubectl::{Namespace, Output};
use serde_json::{Value, json};

/// How long a new definition may take to be in force.
const IN_FORCE: Duration = Duration::from_secs(20);

#[test]
#[ignore = "needs a cluster"]
fn each_resource_gets_the_answer_that_its_author_should_read() {
    let namespace = Namespace::create("crds-cases");
    let deadline = Instant::now() + IN_FORCE;
    let mut wrong = Vec::new();
    for (number, case) in cases().iter().enumerate() {
        let name = case
            .metadata_name
            .map_or_else(|| format!("case-{number}"), str::to_owned);
        if let Some(given) = case.given {
            namespace
                .kubectl(&["apply", "-f", "-"], &manifest(&name, given))
                .succeeded();
        }
        let seen = || answer(&namespace, &name, case);
        let mut last = seen();
        while last != case.answer.text(&name) && Instant::now() < deadline {
            last = seen();
        }
        if last != case.answer.text(&name) {
            wrong.push(format!(
                "{}:\n  expected {}\n  seen     {last}",
                case.name,
                case.answer.text(&name)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What kubectl says; the value that older servers print for an object ("object") is left out.
fn answer(namespace: &Namespace, name: &str, case: &Case) -> String {
    // Apply would leave nulls out of what it creates.
    let verb = if case.given.is_some() { "apply" } else { "create" };
    let output = namespace.kubectl(&[verb, "--dry-run=server", "-f", "-"], &manifest(name, case.spec));
    if output.success {
        "accepted".to_owned()
    } else {
        output.stderr.replace("\"object\": ", "")
    }
}

fn manifest(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: workerpool.dev/v1alpha1\nkind: WorkerPool\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}

#[test]
#[ignore = "needs a cluster"]
fn an_empty_spec_becomes_what_the_types_call_default() {
    let namespace = Namespace::create("crds-defaults");
    namespace
        .kubectl(&["apply", "-f", "-"], &manifest("empty", "{}"))
        .succeeded();
    let stored: Value = namespace.get("wp/empty");
    let spec: WorkerPoolSpec = serde_json::from_value(stored["spec"].clone()).expect("a spec");
    assert_eq!(spec, WorkerPoolSpec::default());
}

#[test]
#[ignore = "needs a cluster"]
fn a_null_is_an_absent_field() {
    let namespace = Namespace::create("crds-null");
    let nulls = "{replicas: null, redis: null, template: null, scaling: {minReplicas: null, fallback: null}}";
    namespace
        .kubectl(&["create", "-f", "-"], &manifest("nulls", nulls))
        .succeeded();
    let stored = namespace.get("wp/nulls")["spec"].clone();
    assert!(!stored.to_string().contains("null"), "{stored}");
    let spec: WorkerPoolSpec = serde_json::from_value(stored).expect("a spec");
    assert_eq!(spec, WorkerPoolSpec::default());
}

#[test]
#[ignore = "needs a cluster"]
fn kubectl_scale_pins_and_a_null_unpins() {
    let namespace = Namespace::create("crds-scale");
    let file = manifest("pool", "{scaling: {maxReplicas: 4}}");
    let replicas = || namespace.get("wp/pool")["spec"]["replicas"].clone();
    namespace.kubectl(&["apply", "-f", "-"], &file).succeeded();
    assert_eq!(replicas(), Value::Null);

    let unpinned = namespace.kubectl(&["get", "--raw", &namespace.scale_path("pool")], "");
    assert!(
        unpinned
            .stderr
            .contains("the spec replicas field \".spec.replicas\" does not exist"),
        "{}",
        unpinned.stderr
    );

    namespace
        .kubectl(&["scale", "workerpool", "pool", "--replicas=3"], "")
        .succeeded();
    assert_eq!(
        replicas(),
        3,
        "scaling works though the field was absent, and pins"
    );

    namespace.kubectl(&["apply", "-f", "-"], &file).succeeded();
    assert_eq!(replicas(), 3, "applying the file without the field keeps the pin");

    namespace
        .kubectl(
            &[
                "scale",
                "workerpool",
                "pool",
                "--current-replicas=3",
                "--replicas=2",
            ],
            "",
        )
        .succeeded();
    assert_eq!(
        replicas(),
        2,
        "with a pin there is a current count to compare with"
    );

    let unpin = r#"{"spec":{"replicas":null}}"#;
    namespace
        .kubectl(&["patch", "wp", "pool", "--type=merge", "-p", unpin], "")
        .succeeded();
    assert_eq!(replicas(), Value::Null, "a null takes the pin away");
}

#[test]
#[ignore = "needs a cluster"]
fn a_pin_that_a_file_set_is_taken_away_by_the_file_without_it() {
    let namespace = Namespace::create("crds-pin-file");
    namespace
        .kubectl(&["apply", "-f", "-"], &manifest("pool", "{replicas: 2}"))
        .succeeded();
    assert_eq!(namespace.get("wp/pool")["spec"]["replicas"], 2);
    namespace
        .kubectl(&["apply", "-f", "-"], &manifest("pool", "{}"))
        .succeeded();
    assert_eq!(namespace.get("wp/pool")["spec"]["replicas"], Value::Null);
}

#[test]
#[ignore = "needs a cluster"]
fn the_scale_subresource_reads_the_status() {
    let namespace = Namespace::create("crds-scale-status");
    namespace
        .kubectl(&["apply", "-f", "-"], &manifest("pool", "{replicas: 2}"))
        .succeeded();
    let status = r#"{"status":{"replicas":1,"selector":"workerpool.dev/pool=pool"}}"#;
    namespace
        .kubectl(
            &[
                "patch",
                "wp",
                "pool",
                "--subresource=status",
                "--type=merge",
                "-p",
                status,
            ],
            "",
        )
        .succeeded();
    let scale = namespace
        .kubectl(&["get", "--raw", &namespace.scale_path("pool")], "")
        .succeeded();
    let scale: Value = serde_json::from_str(&scale).expect("JSON");
    assert_eq!(scale["spec"]["replicas"], 2);
    assert_eq!(scale["status"]["replicas"], 1);
    assert_eq!(scale["status"]["selector"], "workerpool.dev/pool=pool");
}

#[test]
#[ignore = "needs a cluster"]
fn get_shows_the_decision_and_what_it_was_made_from() {
    let namespace = Namespace::create("crds-columns");
    namespace
        .kubectl(
            &["apply", "-f", "-"],
            &manifest("pool", "{queues: [{name: mails}]}"),
        )
        .succeeded();
    let status = r#"{"status":{"mode":"Queue","desiredReplicas":3,"readyReplicas":2,"pods":"2/3","queueNames":"mails,+1",
        "queue":{"waiting":11,"running":2,"dead":1},
        "decision":{"minReplicas":0,"maxReplicas":10,"disabled":"ScaleDown"},
        "conditions":[{"type":"Ready","status":"True","reason":"OK","message":"","lastTransitionTime":"2026-11-24T10:00:00Z"},
        {"type":"ScalingActive","status":"True","reason":"JobsPerReplica","message":"",
        "lastTransitionTime":"2026-11-24T10:00:00Z"}]}}"#;
    namespace
        .kubectl(
            &[
                "patch",
                "wp",
                "pool",
                "--subresource=status",
                "--type=merge",
                "-p",
                status,
            ],
            "",
        )
        .succeeded();

    let table = namespace.kubectl(&["get", "workerpools"], "").succeeded();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let columns = [
        "NAME", "READY", "STATUS", "PODS", "QUEUE", "WAITING", "RUNNING", "DEAD", "AGE",
    ];
    assert_eq!(rows[0], columns);
    assert_eq!(
        rows[1][..8],
        ["pool", "True", "OK", "2/3", "mails,+1", "11", "2", "1"]
    );

    let wide = namespace
        .kubectl(&["get", "workerpools", "-o", "wide"], "")
        .succeeded();
    let rows: Vec<Vec<&str>> = wide
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let more = ["MODE", "MIN", "MAX", "DESIRED", "REASON", "DISABLED"];
    assert_eq!(rows[0], [&columns[..], &more].concat());
    assert_eq!(
        rows[1][9..],
        ["Queue", "0", "10", "3", "JobsPerReplica", "ScaleDown"]
    );
    let by_category = namespace
        .kubectl(&["get", "workerpool", "-o", "name"], "")
        .succeeded();
    assert_eq!(by_category.trim(), "workerpool.workerpool.dev/pool");
}

#[test]
#[ignore = "needs a cluster"]
fn explain_describes_fields_and_their_values() {
    let namespace = Namespace::create("crds-explain");
    for (field, meaning) in [
        (
            "workerpool.spec.replicas",
            "Exactly this many replicas, whatever the queue says",
        ),
        (
            "workerpool.spec.scaling.combine",
            "`Sum` (default): all of them together",
        ),
        ("workerpool.spec.queues.serializer", "`Json`: a JSON string"),
    ] {
        // kubectl breaks the lines.
        let explained = |output: &Output| {
            let words: Vec<_> = output.stdout.split_whitespace().collect();
            words.join(" ").contains(meaning)
        };
        // The API server publishes the schema of a new definition a moment after it is in force.
        let deadline = Instant::now() + IN_FORCE;
        let mut last: Output = namespace.kubectl(&["explain", field], "");
        while !explained(&last) && Instant::now() < deadline {
            last = namespace.kubectl(&["explain", field], "");
        }
        assert!(explained(&last), "{field}: {}{}", last.stdout, last.stderr);
    }
}

#[test]
#[ignore = "needs a cluster"]
fn references_are_replaced_whole_by_server_side_apply() {
    let namespace = Namespace::create("crds-atomic");
    let one = "{redis: {credentialsSecretRef: {name: one, passwordKey: secret}, tls: {secretRef: {name: one, caKey: root.pem}}}, \
        template: {spec: {containers: [{name: worker, env: [{name: A, valueFrom: {secretKeyRef: {name: one, key: k, optional: true}}}]}]}}}";
    let two = "{redis: {credentialsSecretRef: {name: two}, tls: {secretRef: {name: two}}}, \
        template: {spec: {containers: [{name: worker, env: [{name: A, valueFrom: {secretKeyRef: {name: two, key: k}}}]}]}}}";
    for (manager, spec) in [("one", one), ("two", two)] {
        let manager = format!("--field-manager={manager}");
        let arguments = ["apply", "--server-side", "--force-conflicts", &manager, "-f", "-"];
        namespace.kubectl(&arguments, &manifest("pool", spec)).succeeded();
    }
    let spec = namespace.get("wp/pool")["spec"].clone();
    let name_alone = json!({"name": "two"});
    assert_eq!(spec["redis"]["credentialsSecretRef"], name_alone);
    assert_eq!(spec["redis"]["tls"]["secretRef"], name_alone);
    let env = &spec["template"]["spec"]["containers"][0]["env"][0];
    let key = json!({"name": "two", "key": "k"});
    assert_eq!(env["valueFrom"]["secretKeyRef"], key);
}

#[test]
#[ignore = "needs a cluster"]
fn both_kinds_are_in_one_category_and_pools_alone_in_another() {
    let namespace = Namespace::create("crds-categories");
    let job = "---\napiVersion: workerpool.dev/v1alpha1\nkind: Job\nmetadata: {name: job}\nspec: {poolName: pool}\n";
    let file = manifest("pool", "{}") + job;
    namespace.kubectl(&["apply", "-f", "-"], &file).succeeded();
    let (pool, job) = ("workerpool.workerpool.dev/pool", "job.workerpool.dev/job");
    for (category, expected) in [("workerpools-all", vec![job, pool]), ("workerpool", vec![pool])] {
        let deadline = Instant::now() + IN_FORCE;
        let list = || {
            let listed = namespace.kubectl(&["get", category, "-o", "name"], "");
            let mut names: Vec<_> = listed.stdout.lines().map(str::to_owned).collect();
            names.sort_unstable();
            names
        };
        // kubectl learns of a new category with the next discovery.
        let mut last = list();
        while last != expected && Instant::now() < deadline {
            last = list();
        }
        assert_eq!(last, expected, "{category}");
    }
}

#[test]
#[ignore = "needs a cluster"]
fn two_appliers_share_a_template_container_by_container() {
    let namespace = Namespace::create("crds-ssa");
    let apply = |manager: &str, spec: &str| {
        let field_manager = format!("--field-manager={manager}");
        namespace
            .kubectl(
                &["apply", "--server-side", &field_manager, "-f", "-"],
                &manifest("pool", spec),
            )
            .succeeded();
    };
    apply(
        "one",
        "{template: {spec: {containers: [{name: worker, env: [{name: A, value: a}]}]}}}",
    );
    apply(
        "two",
        "{template: {spec: {containers: [{name: worker, env: [{name: B, value: b}]}, {name: sidecar, image: s}]}}}",
    );
    let pool = namespace.get("wp/pool");
    let containers = &pool["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers.as_array().map(Vec::len), Some(2), "{containers}");
    assert_eq!(
        containers[0]["env"].as_array().map(Vec::len),
        Some(2),
        "{containers}"
    );
}
