//! Files that are applied again and again, as people and GitOps tools do.

use std::{fs, path::Path};

use serde_json::Value;

use super::{kubectl::Namespace, manifest};

/// Every kind of list item that once had a default.
const LISTS: &str = "{queues: [{name: a, source: {waiting: [{key: k}], running: [{key: r}]}}], scaleTargetRef: {name: t}, \
    scaling: {schedules: [{name: s, start: '0 8 * * *', end: '0 9 * * *', minReplicas: 1}], \
    behavior: {scaleUp: {policies: [{type: Pods, value: 1, periodSeconds: 60}]}}}}";
/// Ports, and references whose readers know defaults.
const PORTS: &str = "{redis: {credentialsSecretRef: {name: s}, tls: {secretRef: {name: t}}}, template: {spec: {containers: [{name: worker, env: [{name: A, value: a}], \
    ports: [{containerPort: 80}, {containerPort: 80, protocol: UDP}]}], \
    initContainers: [{name: init, image: i, ports: [{containerPort: 81}]}]}}}";

const JOB: &str = "apiVersion: workerpool.dev/v1alpha1\nkind: Job\nmetadata: {name: again}\nspec: {poolName: lists, start: a}\n";

/// The samples, the README's own pool, and pools that have every kind of list item: each with its name.
fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let samples = fs::read_dir(root.join("deploy/samples")).expect("the folder of samples");
    let mut files: Vec<_> = samples
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let text = fs::read_to_string(&path).expect("a sample is text");
            (path.display().to_string(), text)
        })
        .collect();
    let readme = fs::read_to_string(root.join("README.md")).expect("the README");
    let pool = readme
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    files.push((
        "README.md".to_owned(),
        pool.expect("the README has a pool").to_owned(),
    ));
    files.push(("lists".to_owned(), manifest("lists", LISTS)));
    files.push(("ports".to_owned(), manifest("ports", PORTS)));
    files.push(("a Job".to_owned(), JOB.to_owned()));
    assert!(files.len() > 6, "{files:?}");
    files
}

fn apply(namespace: &Namespace, arguments: &[&str], file: &str) -> String {
    let arguments = [&["apply", "-f", "-"], arguments].concat();
    namespace.kubectl(&arguments, file).succeeded()
}

fn assert_no_difference(namespace: &Namespace, arguments: &[&str], (name, file): &(String, String)) {
    let arguments = [&["diff", "-f", "-"], arguments].concat();
    let diff = namespace.kubectl(&arguments, file);
    assert!(
        diff.success && diff.stdout.is_empty(),
        "{name}: {}{}",
        diff.stdout,
        diff.stderr
    );
}

#[test]
#[ignore = "needs a cluster"]
fn samples_are_unchanged_when_applied_again_by_client() {
    let namespace = Namespace::create("crds-again");
    for file in files() {
        apply(&namespace, &[], &file.1);
        for _ in 0..2 {
            let said = apply(&namespace, &[], &file.1);
            assert!(
                said.lines().all(|line| line.ends_with(" unchanged")),
                "{}: {said}",
                file.0
            );
        }
        assert_no_difference(&namespace, &[], &file);
    }
}

#[test]
#[ignore = "needs a cluster"]
fn samples_are_unchanged_when_applied_again_by_server() {
    let namespace = Namespace::create("crds-server");
    for file in files() {
        let applied = |manager: &str| {
            let manager = format!("--field-manager={manager}");
            let arguments = ["--server-side", manager.as_str(), "-o", "json"];
            let json = apply(&namespace, &arguments, &file.1);
            // Several objects are a List.
            versions(&serde_json::from_str(&json).expect("JSON"))
        };
        for manager in ["one", "two"] {
            let first = applied(manager);
            for _ in 0..2 {
                assert_eq!(applied(manager), first, "{}", file.0);
            }
        }
        assert_eq!(
            applied("one"),
            applied("two"),
            "{}: they change nothing in turn",
            file.0
        );
        assert_no_difference(&namespace, &["--server-side", "--field-manager=one"], &file);
    }
}

fn versions(applied: &Value) -> Vec<String> {
    let one = std::slice::from_ref(applied);
    let objects = applied["items"].as_array().map_or(one, Vec::as_slice);
    let version = |object: &Value| object["metadata"]["resourceVersion"].to_string();
    objects.iter().map(version).collect()
}

#[test]
#[ignore = "needs a cluster"]
fn object_with_stored_defaults_settles_after_one_apply() {
    let namespace = Namespace::create("crds-stored");
    let file = manifest("lists", LISTS);
    apply(&namespace, &[], &file);
    // As a definition with defaults in list items and references stored it.
    let stored = r#"{"spec": {"queues": [{"name": "a", "weight": 1, "source": {"db": 0,
        "waiting": [{"type": "List", "key": "k"}], "running": [{"type": "List", "key": "r"}]}}],
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "t"},
        "scaling": {"schedules": [{"name": "s", "start": "0 8 * * *", "end": "0 9 * * *", "timeZone": "UTC", "minReplicas": 1}]}}}"#;
    namespace
        .kubectl(&["patch", "wp", "lists", "--type=merge", "-p", stored], "")
        .succeeded();
    let read = || -> crds::WorkerPoolSpec {
        serde_json::from_value(namespace.get("wp/lists")["spec"].clone()).expect("a spec")
    };
    let before = read();
    assert!(apply(&namespace, &[], &file).ends_with(" configured\n"));
    assert!(apply(&namespace, &[], &file).ends_with(" unchanged\n"));
    assert_eq!(read(), before, "it means the same");
    for manager in ["--field-manager=one", "--field-manager=two"] {
        apply(
            &namespace,
            &["--server-side", "--force-conflicts", manager],
            &file,
        );
        assert_eq!(read(), before, "{manager} means the same");
    }
}
