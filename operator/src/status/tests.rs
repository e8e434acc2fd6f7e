use k8s_openapi::jiff::Timestamp;
use scaling::Reason;
use serde_json::json;

use super::*;
use crate::pods::{Report, Trouble};

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

/// A Deployment that asks for four pods, of which so many are ready.
fn deployment(ready: u32) -> Workload {
    serde_json::from_value(json!({
        "metadata": {"name": "hw7"},
        "spec": {"replicas": 4, "strategy": {"rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}},
        "status": {"replicas": 4, "readyReplicas": ready},
    }))
    .unwrap()
}

#[test]
fn queue_that_is_followed_makes_all_conditions_true() {
    let (view, decision) = (view(7), decision(4, scaling::Mode::Queue, Reason::JobsPerReplica));
    let deployment = deployment(4);
    let findings = Findings {
        view: Some(&view),
        deployment: Some(&deployment),
        readiness: Some(Readiness::AllReady),
        decision: Some((&decision, &InForce::default())),
        ..Findings::default()
    };
    let status = build_status(&pool(), &findings, &WorkerPoolStatus::default(), at(1));
    assert_eq!(condition(&status, "Ready"), ("True", "OK"));
    assert_eq!(condition(&status, "Accepted"), ("True", "Accepted"));
    assert_eq!(condition(&status, "QueueReadable"), ("True", "Tracked"));
    assert_eq!(condition(&status, "ScalingActive"), ("True", "JobsPerReplica"));
    assert_eq!(condition(&status, "PodsReady"), ("True", "AllReady"));
    assert_eq!(condition(&status, "Available"), ("True", "EnoughReady"));
    assert_eq!(status.observed_generation, Some(4));
    assert_eq!(status.desired_replicas, Some(4));
    assert_eq!(status.pods.as_deref(), Some("4/4"));
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
    assert_eq!(condition(&status, "Ready"), ("True", "OK"));
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
    assert_eq!(condition(&at_risk, "Ready"), ("True", "OK"));
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

fn message(status: &WorkerPoolStatus, kind: &str) -> String {
    let mut conditions = status.conditions.iter();
    let found = conditions.find(|condition| condition.type_ == kind);
    found.unwrap().message.clone()
}

fn image_report() -> Report {
    Report {
        trouble: Trouble::ImagePullFailed,
        affected: 4,
        pod: Some("hw7-a".to_owned()),
        message: "does-not-exist:1: not found".to_owned(),
        template: None,
        starting_for: None,
        is_partial: false,
    }
}

/// The status of a pool that asks for four pods, of which so many are ready.
fn with_pods(ready: u32, readiness: Readiness<'_>, last: &WorkerPoolStatus) -> WorkerPoolStatus {
    let (view, decision) = (view(7), decision(4, scaling::Mode::Queue, Reason::JobsPerReplica));
    let deployment = deployment(ready);
    let findings = Findings {
        view: Some(&view),
        deployment: Some(&deployment),
        readiness: Some(readiness),
        decision: Some((&decision, &InForce::default())),
        ..Findings::default()
    };
    build_status(&pool(), &findings, last, at(1))
}

fn failing(report: &Report, none_ready: bool) -> Readiness<'_> {
    Readiness::Failing {
        trouble: report.trouble,
        report: Some(report),
        lasted: std::time::Duration::from_secs(120),
        none_ready,
    }
}

#[test]
fn pool_without_ready_pod_is_not_ready_for_the_reason_of_its_pods() {
    let report = image_report();
    let status = with_pods(0, failing(&report, true), &WorkerPoolStatus::default());
    assert_eq!(condition(&status, "PodsReady"), ("False", "ImagePullFailed"));
    assert_eq!(condition(&status, "Ready"), ("False", "ImagePullFailed"));
    let said = "0 of 4 pods are ready for 2m: ImagePullFailed: does-not-exist:1: not found, pod hw7-a";
    assert_eq!(message(&status, "PodsReady"), said);
    assert_eq!(message(&status, "Ready"), said);
    assert_eq!(status.pods.as_deref(), Some("0/4"));
}

#[test]
fn pool_with_some_ready_pods_stays_ready_and_counts_them() {
    let report = image_report();
    let status = with_pods(3, failing(&report, false), &WorkerPoolStatus::default());
    assert_eq!(condition(&status, "PodsReady"), ("False", "ImagePullFailed"));
    assert_eq!(condition(&status, "Ready"), ("True", "OK"));
    assert_eq!(
        message(&status, "Ready"),
        "the last decision is applied; 3 of 4 pods are ready for 2m: ImagePullFailed: does-not-exist:1: not found, pod hw7-a"
    );
}

#[test]
fn pods_that_start_leave_the_pool_ready() {
    let status = with_pods(1, Readiness::Starting(None), &WorkerPoolStatus::default());
    assert_eq!(condition(&status, "PodsReady"), ("Unknown", "Starting"));
    assert_eq!(
        message(&status, "PodsReady"),
        "1 of 4 pods are ready, the others are starting"
    );
    assert_eq!(condition(&status, "Ready"), ("True", "OK"));
    assert_eq!(message(&status, "Ready"), "the last decision is applied");
}

#[test]
fn pods_not_ready_stays_as_it_was_while_nothing_new_is_known() {
    let report = image_report();
    let last = with_pods(0, failing(&report, true), &WorkerPoolStatus::default());
    let same = with_pods(0, Readiness::AsBefore { none_ready: true }, &last);
    assert_eq!(same, last);
    // All are ready for a moment.
    let moment = with_pods(4, Readiness::AsBefore { none_ready: true }, &last);
    assert_eq!(moment.conditions[0], last.conditions[0], "Ready");
    assert_eq!(message(&moment, "PodsReady"), message(&last, "PodsReady"));
    assert_eq!(condition(&moment, "PodsReady"), ("False", "ImagePullFailed"));
}

#[test]
fn available_compares_with_what_is_desired_less_max_unavailable() {
    let available = |ready| {
        let status = with_pods(ready, Readiness::AllReady, &WorkerPoolStatus::default());
        (
            condition(&status, "Available").0.to_owned(),
            message(&status, "Available"),
        )
    };
    let (status, said) = available(2);
    assert_eq!(
        (status.as_str(), said.as_str()),
        ("False", "2 of 4 desired pods are ready; at least 3 must be")
    );
    assert_eq!(available(3).0, "True");
}

#[test]
fn target_known_by_its_scale_alone_says_that_readiness_is_unknown() {
    let (view, decision) = (view(7), decision(4, scaling::Mode::Queue, Reason::JobsPerReplica));
    let deployment = deployment(4);
    let findings = Findings {
        view: Some(&view),
        deployment: Some(&deployment),
        decision: Some((&decision, &InForce::default())),
        ..Findings::default()
    };
    let status = build_status(&pool(), &findings, &WorkerPoolStatus::default(), at(1));
    assert_eq!(condition(&status, "PodsReady"), ("Unknown", "ScaleOnly"));
    assert_eq!(condition(&status, "Ready"), ("True", "OK"));
}

#[test]
fn refused_pool_reports_its_pods_and_no_mode_of_the_past() {
    let last = with_pods(4, Readiness::AllReady, &WorkerPoolStatus::default());
    assert_eq!(last.mode, Some(Mode::Queue));
    let (refusal, deployment, report) = (Refusal::NeedsScaleTarget, deployment(2), image_report());
    let findings = Findings {
        refusal: Some(&refusal),
        deployment: Some(&deployment),
        readiness: Some(failing(&report, false)),
        ..Findings::default()
    };
    let status = build_status(&pool(), &findings, &last, at(2));
    assert_eq!((status.replicas, status.ready_replicas), (Some(4), Some(2)));
    assert_eq!(
        (status.mode, status.desired_replicas, status.decision.as_ref()),
        (None, None, None)
    );
    assert_eq!(status.pods.as_deref(), Some("2/4"));
    assert_eq!(condition(&status, "Ready"), ("False", "NeedsScaleTarget"));
    assert_eq!(condition(&status, "PodsReady"), ("False", "ImagePullFailed"));
    assert_eq!(condition(&status, "Available"), ("False", "TooFewReady"));
}
