use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::queues::MarkPods;

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
            addresses: Default::default(),
            mark: Mark::Quiet,
        },
        marked: idle.clone(),
        idle,
        foreign: false,
        at: Instant::now(),
    }
}

fn names(victims: &[Victim]) -> Vec<&str> {
    victims.iter().map(|victim| victim.name.as_str()).collect()
}

#[test]
fn idle_pods_go_and_busy_ones_stay() {
    let pods = sorted(vec![ready("a"), ready("b"), ready("c")]);
    assert_eq!(
        names(&plan_victims(&pods, 2, Order::Costs, &marks(&["b", "c"]))),
        ["b", "c"]
    );
    assert_eq!(
        names(&plan_victims(&pods, 1, Order::Costs, &marks(&["b", "c"]))),
        ["b"]
    );
    assert!(plan_victims(&pods, 2, Order::Costs, &marks(&[])).is_empty());
}

#[test]
fn busy_pod_that_is_not_ready_blocks_all_others_as_kubernetes_would_take_it_first() {
    let pods = sorted(vec![
        ready("idle"),
        pod("busy", "Running", false, 0),
        pod("new", "Pending", false, 0),
    ]);
    assert_eq!(
        names(&plan_victims(&pods, 3, Order::Costs, &marks(&["idle", "new"]))),
        ["new"]
    );
}

#[test]
fn pending_pods_use_up_the_count_first() {
    let pods = sorted(vec![ready("a"), pod("new", "Pending", false, 0)]);
    let asked = plan_marks(&pods, 1, Order::Costs, Mark::Quiet);
    assert_eq!(
        (asked.first, asked.others),
        (vec!["new".to_owned()], vec!["a".to_owned()])
    );
    assert_eq!(
        names(&plan_victims(&pods, 1, Order::Costs, &marks(&["new"]))),
        ["new"]
    );
}

#[test]
fn count_is_lowered_only_when_kubernetes_would_take_exactly_the_victims() {
    let victims = |names: &[&str]| -> Vec<_> {
        names
            .iter()
            .map(|&name| Victim {
                uid: name.to_owned(),
                name: name.to_owned(),
                address: None,
                grace: Duration::ZERO,
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

const FROM_ZERO: Order = Order::Ordinals { start: 0 };

fn numbered(numbers: &[u32]) -> Vec<Pod> {
    let mut pods: Vec<_> = numbers
        .iter()
        .map(|number| ready(&format!("web-{number}")))
        .collect();
    FROM_ZERO.sort(&mut pods);
    pods
}

#[test]
fn highest_ordinals_go_by_number_whatever_their_class_and_cost() {
    let mut pods = numbered(&[2, 10, 9]);
    pods.push(pod("web-0", "Pending", false, -1_000_000));
    FROM_ZERO.sort(&mut pods);
    let all: Vec<_> = pods
        .iter()
        .filter_map(|pod| pod.metadata.name.as_deref())
        .collect();
    assert_eq!(all, ["web-10", "web-9", "web-2", "web-0"]);

    let asked = plan_marks(&pods, 2, FROM_ZERO, Mark::Drain);
    assert_eq!(
        (asked.first, asked.others),
        (vec!["web-10".to_owned(), "web-9".to_owned()], Vec::new())
    );
}

#[test]
fn busy_highest_ordinal_keeps_all_below_it() {
    let pods = numbered(&[0, 1, 2]);
    let victims = |idle: &[&str]| plan_victims(&pods, 2, FROM_ZERO, &marks(idle));
    assert!(victims(&["web-0", "web-1"]).is_empty());
    assert_eq!(names(&victims(&["web-2"])), ["web-2"]);
    assert_eq!(names(&victims(&["web-1", "web-2"])), ["web-2", "web-1"]);
}

#[test]
fn count_of_numbered_pods_follows_their_numbers_and_not_how_many_there_are() {
    // 2 is being made anew: with 3 replicas 3 would go, which may be busy.
    let pods = numbered(&[0, 1, 3]);
    assert_eq!(FROM_ZERO.count(&pods), 4);
    assert_eq!(FROM_ZERO.excess(&pods, 2), 1);
    assert_eq!(FROM_ZERO.left(&pods, 1), 3);
    assert_eq!(FROM_ZERO.left(&pods, 2), 1);
    assert_eq!(FROM_ZERO.count(&[]), 0);

    let from_five = Order::Ordinals { start: 5 };
    let mut pods = numbered(&[5, 6, 7]);
    from_five.sort(&mut pods);
    assert_eq!(
        (
            from_five.count(&pods),
            from_five.excess(&pods, 1),
            from_five.left(&pods, 2)
        ),
        (3, 2, 1)
    );
}

#[test]
fn pods_that_may_just_be_made_are_waited_for_before_the_count_falls_to_those_there() {
    let (mut lowering, start) = (ScaleDown::default(), Instant::now());
    assert_eq!(
        lowering.lower_to_those_there(18, 1, start),
        Progress::Waiting(SETTLE)
    );
    let half = start + SETTLE / 2;
    assert_eq!(
        lowering.lower_to_those_there(19, 1, half),
        Progress::Waiting(SETTLE),
        "one more has come"
    );
    assert_eq!(
        lowering.lower_to_those_there(19, 1, start + SETTLE),
        Progress::Waiting(SETTLE / 2)
    );
    assert_eq!(
        lowering.lower_to_those_there(19, 1, half + SETTLE),
        Progress::Lower(19)
    );
    assert_eq!(
        lowering.lower_to_those_there(19, 20, half + SETTLE),
        Progress::Lower(20)
    );
    let mut none = ScaleDown::default();
    assert_eq!(
        none.lower_to_those_there(0, 2, start),
        Progress::Lower(2),
        "none can be busy"
    );
}
