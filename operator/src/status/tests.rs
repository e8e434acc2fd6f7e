use k8s_openapi::jiff::Timestamp;
use scaling::Reason;
use serde_json::json;

use super::*;

fn pool() -> WorkerPool {
    serde_json::from_value(json!({
        "apiVersion": "workerpool.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {"name": "hw7", "namespace": "default", "generation": 4},
        "spec": {},
    }))
    .unwrap()
}

fn view(waiting: u64) -> View {
    View {
        reading: Some(crate::queues::tests::reading(waiting, 0)),
        ..View::default()
    }
}

fn decision(replicas: u32, mode: scaling::Mode, reason: Reason) -> Decision {
    Decision {
        replicas,
        desired: replicas,
        raw: None,
        recommended: replicas,
        working: true,
        mode,
        reason,
        not_before: None,
    }
}

fn condition<'a>(status: &'a WorkerPoolStatus, kind: &str) -> (&'a str, &'a str) {
    let found = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind)
        .unwrap();
    (&found.status, &found.reason)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn queue_that_is_followed_makes_all_conditions_true() {
    let (view, decision) = (view(7), decision(2, scaling::Mode::Queue, Reason::JobsPerReplica));
    let findings = Findings {
        view: Some(&view),
        decision: Some((&decision, &InForce::default())),
        ..Findings::default()
    };
    let status = build_status(&pool(), &findings, &WorkerPoolStatus::default(), at(1));
    assert_eq!(condition(&status, "Ready"), ("True", "Applied"));
    assert_eq!(condition(&status, "Accepted"), ("True", "Accepted"));
    assert_eq!(condition(&status, "QueueReadable"), ("True", "Tracked"));
    assert_eq!(condition(&status, "ScalingActive"), ("True", "JobsPerReplica"));
    assert_eq!(condition(&status, "Available"), ("True", "EnoughReady"));
    assert_eq!(status.observed_generation, Some(4));
    assert_eq!(status.desired_replicas, Some(2));
    assert_eq!(status.queue.as_ref().unwrap().waiting, 7);
}

#[test]
fn transition_time_moves_only_when_the_status_of_a_condition_does() {
    let (view, decision) = (view(7), decision(2, scaling::Mode::Queue, Reason::JobsPerReplica));
    let findings = Findings {
        view: Some(&view),
        decision: Some((&decision, &InForce::default())),
        ..Findings::default()
    };
    let first = build_status(&pool(), &findings, &WorkerPoolStatus::default(), at(1));
    let second = build_status(&pool(), &findings, &first, at(2));
    assert_eq!(first, second);

    let refusal = Refusal::NeedsScaleTarget;
    let refused = Findings {
        refusal: Some(&refusal),
        ..findings
    };
    let third = build_status(&pool(), &refused, &second, at(3));
    let time = |kind: &str| {
        let found = third
            .conditions
            .iter()
            .find(|condition| condition.type_ == kind)
            .unwrap();
        found.last_transition_time.0
    };
    assert_eq!(condition(&third, "Accepted"), ("False", "NeedsScaleTarget"));
    assert_eq!(time("Accepted"), at(3));
    assert_eq!(time("QueueReadable"), at(1));
}

#[test]
fn pinned_pool_is_ready_though_its_queue_cannot_be_read() {
    let view = View {
        error: Some(queue::Error::Loading),
        failures: 5,
        ..View::default()
    };
    let pinned = decision(3, scaling::Mode::Pinned, Reason::Pinned);
    let findings = Findings {
        view: Some(&view),
        decision: Some((&pinned, &InForce::default())),
        ..Findings::default()
    };
    let status = build_status(&pool(), &findings, &WorkerPoolStatus::default(), at(1));
    assert_eq!(condition(&status, "Ready"), ("True", "Applied"));
    assert_eq!(condition(&status, "QueueReadable"), ("False", "Loading"));
    assert_eq!(condition(&status, "ScalingActive"), ("False", "Pinned"));
    assert_eq!(status.mode, Some(Mode::Pinned));

    let following = decision(3, scaling::Mode::Queue, Reason::QueueUnreadable);
    let findings = Findings {
        decision: Some((&following, &InForce::default())),
        ..findings
    };
    let status = build_status(&pool(), &findings, &status, at(2));
    assert_eq!(condition(&status, "Ready"), ("False", "QueueUnreadable"));
}

#[test]
fn what_was_said_of_the_data_holds_until_it_is_asked_again_for_the_same_spec() {
    let of = |pool: &WorkerPool, risks, last: &WorkerPoolStatus| {
        let view = View { risks, ..view(7) };
        let findings = Findings {
            view: Some(&view),
            ..Findings::default()
        };
        build_status(pool, &findings, last, at(1))
    };
    let mut pool = pool();
    let last = of(
        &pool,
        Some(Ok(vec![queue::Risk::NoAppendOnly])),
        &WorkerPoolStatus::default(),
    );
    assert_eq!(of(&pool, None, &last), last);
    pool.metadata.generation = Some(5);
    assert_eq!(
        condition(&of(&pool, None, &last), "DataSafe"),
        ("Unknown", "NotAskedYet")
    );
}

#[test]
fn data_at_risk_is_told_in_plain_words_and_leaves_the_pool_ready() {
    let decision = decision(2, scaling::Mode::Queue, Reason::JobsPerReplica);
    let build = |risks| {
        let view = View { risks, ..view(7) };
        let findings = Findings {
            view: Some(&view),
            decision: Some((&decision, &InForce::default())),
            ..Findings::default()
        };
        build_status(&pool(), &findings, &WorkerPoolStatus::default(), at(1))
    };
    assert_eq!(condition(&build(None), "DataSafe"), ("Unknown", "NotAskedYet"));
    assert_eq!(
        condition(&build(Some(Ok(Vec::new()))), "DataSafe"),
        ("True", "NoRiskFound")
    );
    let denied = queue::Error::Denied("config".to_owned());
    assert_eq!(
        condition(&build(Some(Err(denied))), "DataSafe"),
        ("Unknown", "PermissionDenied")
    );

    let policy = "allkeys-lru".to_owned();
    let at_risk = build(Some(Ok(vec![queue::Risk::Evicts { policy }])));
    assert_eq!(condition(&at_risk, "DataSafe"), ("False", "AtRisk"));
    assert_eq!(condition(&at_risk, "Ready"), ("True", "Applied"));
    let found = at_risk
        .conditions
        .iter()
        .find(|condition| condition.type_ == "DataSafe");
    let message = &found.unwrap().message;
    assert!(message.contains("allkeys-lru"), "{message}");
}

#[test]
fn depth_alone_is_told_from_other_changes() {
    let decision = decision(2, scaling::Mode::Queue, Reason::JobsPerReplica);
    let build = |view: &View, last: &WorkerPoolStatus| {
        let findings = Findings {
            view: Some(view),
            decision: Some((&decision, &InForce::default())),
            ..Findings::default()
        };
        build_status(&pool(), &findings, last, at(1))
    };
    let first = build(&view(7), &WorkerPoolStatus::default());
    let deeper = build(&view(8), &first);
    assert!(differs_in_depth_only(&first, &deeper));
    assert!(!differs_in_depth_only(&first, &first));
    let mut asked_for_more = first.clone();
    asked_for_more.decision.as_mut().unwrap().raw_replicas = Some(9);
    assert!(differs_in_depth_only(&first, &asked_for_more));
    let more = WorkerPoolStatus {
        desired_replicas: Some(3),
        ..deeper
    };
    assert!(!differs_in_depth_only(&first, &more));
}
