use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::{objects::Pod, queues::MarkPods};

fn pod(name: &str, phase: &str, ready: bool, cost: i32) -> Pod {
    serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "uid": name, "annotations": {order::DELETION_COST: cost.to_string()}},
        "spec": {"nodeName": "node"},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    }))
    .unwrap()
}

fn ready(name: &str) -> Pod {
    pod(name, "Running", true, 0)
}

fn sorted(mut pods: Vec<Pod>) -> Vec<Pod> {
    order::sort(&mut pods);
    pods
}

fn marks(idle: &[&str]) -> Marks {
    let idle: BTreeSet<_> = idle.iter().map(|&uid| uid.to_owned()).collect();
    Marks {
        asked: MarkPods {
            count: idle.len(),
            first: Vec::new(),
            others: Vec::new(),
            mark: Mark::Quiet,
        },
        marked: idle.clone(),
        idle,
        at: Instant::now(),
    }
}

fn names(victims: &[Victim]) -> Vec<&str> {
    victims.iter().map(|victim| victim.name.as_str()).collect()
}

#[test]
fn idle_pods_go_and_busy_ones_stay() {
    let pods = sorted(vec![ready("a"), ready("b"), ready("c")]);
    assert_eq!(names(&plan_victims(&pods, 2, &marks(&["b", "c"]))), ["b", "c"]);
    assert_eq!(names(&plan_victims(&pods, 1, &marks(&["b", "c"]))), ["b"]);
    assert!(plan_victims(&pods, 2, &marks(&[])).is_empty());
}

#[test]
fn busy_pod_that_is_not_ready_blocks_all_others_as_kubernetes_would_take_it_first() {
    let pods = sorted(vec![
        ready("idle"),
        pod("busy", "Running", false, 0),
        pod("new", "Pending", false, 0),
    ]);
    assert_eq!(names(&plan_victims(&pods, 3, &marks(&["idle", "new"]))), ["new"]);
}

#[test]
fn pending_pods_use_up_the_count_first() {
    let pods = sorted(vec![ready("a"), pod("new", "Pending", false, 0)]);
    let asked = plan_marks(&pods, 1, Mark::Quiet);
    assert_eq!(
        (asked.first, asked.others),
        (vec!["new".to_owned()], vec!["a".to_owned()])
    );
    assert_eq!(names(&plan_victims(&pods, 1, &marks(&["new"]))), ["new"]);
}

#[test]
fn count_is_lowered_only_when_kubernetes_would_take_exactly_the_victims() {
    let victims = |names: &[&str]| -> Vec<_> {
        names
            .iter()
            .map(|&name| Victim {
                uid: name.to_owned(),
                name: name.to_owned(),
            })
            .collect()
    };
    let preferred = [pod("a", "Running", true, -1_000_000), ready("b")];
    assert!(would_go(&preferred, &victims(&["a"])));
    assert!(!would_go(&preferred, &victims(&["b"])), "b would stay");

    let no_cost = [ready("a"), ready("b")];
    assert!(!would_go(&no_cost, &victims(&["a"])), "either could go");
    assert!(would_go(&no_cost, &victims(&["a", "b"])), "all go");

    let not_ready = [
        pod("a", "Running", true, -1_000_000),
        pod("b", "Running", false, 1000),
    ];
    assert!(
        !would_go(&not_ready, &victims(&["a"])),
        "b is not ready and goes before any cost"
    );

    let lower = [
        pod("a", "Running", true, -1_000_000),
        pod("b", "Running", true, -2_000_000),
    ];
    assert!(
        !would_go(&lower, &victims(&["a"])),
        "somebody gave b a lower cost"
    );
    assert!(
        !would_go(&preferred, &victims(&["a", "gone"])),
        "a victim is gone already"
    );
}
