//! What is planned and said for one Job.

use std::time::{Duration, Instant};

use crds::job::{FINALIZER, conditions, status::JobStatus};
use k8s_openapi::jiff::Timestamp;
use queue::{JobState, Progress, ResultHead, Status};
use serde_json::json;

use super::{
    access::Access,
    entry::{Entry, News, Rejection},
    objects::WatchedJob,
    plan::{CANCEL_TIME, Line, Step, plan},
    status::{build_status, find, without_result},
    story,
};

const MISSING: Access = Access::Missing { was_served: false };

/// A Job that was just created, and the time.
struct Case {
    entry: Entry,
    now: Instant,
    clock: Timestamp,
}

impl Case {
    fn new() -> Self {
        let job: WatchedJob = serde_json::from_value(json!({
            "apiVersion": "workerpool.dev/v1alpha1",
            "kind": "Job",
            "metadata": {"name": "a", "namespace": "team", "uid": "u-1", "resourceVersion": "7", "generation": 1},
            "spec": {"poolName": "thumbs", "payload": {"x": 1}, "ttlSecondsAfterFinished": 60},
        }))
        .unwrap();
        let now = Instant::now();
        let mut entry = Entry::new(&job, now).unwrap();
        entry.see(&job.metadata, now);
        Self {
            entry,
            now,
            clock: Timestamp::from_second(1_000).unwrap(),
        }
    }

    /// It lies in the queue, under our finalizer, and its status says so.
    fn submitted(mut self) -> Self {
        self.entry.submitted = true;
        self.entry.finalizers = vec![FINALIZER.to_owned()];
        self.entry.hear(News::Submitted(Some(900_500)), self.now);
        self.written()
    }

    fn heard(mut self, state: JobState) -> Self {
        self.entry.hear(News::State(Box::new(state)), self.now);
        self
    }

    fn deleted(mut self) -> Self {
        self.entry.deleting = Some(self.now);
        self
    }

    fn released(mut self) -> Self {
        self.entry.finalizers.clear();
        self
    }

    /// What there is to say was said.
    fn written(mut self) -> Self {
        self.entry.status = without_result(&self.status(&Access::Open));
        self.entry.news = None;
        self.entry.written_at = Some(self.now);
        self
    }

    fn later(mut self, passed: Duration) -> Self {
        self.now += passed;
        self.clock += passed;
        self
    }

    fn status(&self, access: &Access) -> JobStatus {
        build_status(&self.entry, access, self.clock)
    }

    fn plan(&self, access: &Access) -> Step {
        plan(&self.entry, access, self.now, self.clock)
    }

    fn writes(&self, access: &Access) -> JobStatus {
        match self.plan(access) {
            Step::Write(status) => *status,
            other => panic!("{other:?}"),
        }
    }
}

fn state(status: Status) -> JobState {
    JobState {
        status,
        attempts: 1,
        failures: 0,
        lost: 0,
        worker_ip: Some("10.0.0.1".to_owned()),
        worker_pod: Some("thumbs-1".to_owned()),
        submitted_ms: Some(900_500),
        started_ms: Some(950_000),
        finished_ms: None,
        due_ms: None,
        progress: None,
        reason: None,
        error: None,
        result: None,
    }
}

fn complete(body: &[u8], size: u64) -> JobState {
    JobState {
        finished_ms: Some(990_000),
        result: Some(ResultHead {
            content_type: "text/plain".to_owned(),
            size,
            head: body.to_vec(),
        }),
        ..state(Status::Complete)
    }
}

/// The Job's own word for its state, and the queue's.
fn words(status: &JobStatus) -> (&str, &str) {
    let [state, queue_state] = [&status.state, &status.queue_state];
    (
        state.as_deref().unwrap_or_default(),
        queue_state.as_deref().unwrap_or_default(),
    )
}

fn reason<'a>(status: &'a JobStatus, kind: &str) -> (&'a str, &'a str) {
    let condition = find(status, kind).unwrap();
    (&condition.status, &condition.reason)
}

fn boom() -> telemetry::Panicked {
    let panicked = telemetry::catch_panic_now("test", || panic!("boom"));
    panicked.map(|(): ()| ()).unwrap_err()
}

#[test]
fn job_whose_step_panicked_says_so_and_is_tried_again() {
    let mut case = Case::new();
    case.entry.panicked(Some(Line::Submit), boom(), case.now);
    assert!(
        matches!(case.plan(&Access::Open), Step::Rest(Some(_))),
        "after a wait"
    );
    let mut case = case.later(Duration::from_secs(1));
    let status = case.writes(&Access::Open);
    assert_eq!(reason(&status, conditions::ACCEPTED), ("False", "InternalError"));
    case.entry.status = status;
    case.entry.succeeded(Line::Write);
    assert_eq!(case.plan(&Access::Open), Step::Submit, "and no second write");

    case.entry.submitted = true;
    case.entry.finalizers = vec![FINALIZER.to_owned()];
    case.entry.succeeded(Line::Submit);
    let status = case.status(&Access::Open);
    assert_eq!(reason(&status, conditions::ACCEPTED), ("True", "Submitted"));
}

#[test]
fn rejected_job_whose_step_panicked_keeps_its_ending() {
    let mut case = Case::new();
    case.entry.hear(
        News::Rejected(Rejection {
            reason: "PayloadTooLarge",
            message: "too large".to_owned(),
        }),
        case.now,
    );
    let mut case = case.written();
    case.entry.panicked(None, boom(), case.now);
    let case = case.later(Duration::from_secs(1));
    let status = case.status(&Access::Open);
    assert_eq!(
        reason(&status, conditions::ACCEPTED),
        ("False", "PayloadTooLarge")
    );
    assert!(case.entry.retries_planning(case.now, case.clock));
}

#[test]
fn planning_that_panicked_is_retried_once_that_is_said() {
    let mut case = Case::new().submitted();
    case.entry.panicked(None, boom(), case.now);
    let mut case = case.later(Duration::from_secs(1));
    assert!(!case.entry.retries_planning(case.now, case.clock), "not said yet");
    let status = case.writes(&Access::Open);
    assert_eq!(reason(&status, conditions::ACCEPTED), ("True", "InternalError"));
    case.entry.status = status;
    case.entry.succeeded(Line::Write);
    assert!(case.entry.retries_planning(case.now, case.clock));
}

#[test]
fn job_that_is_deleted_is_cancelled_though_step_panicked() {
    let mut case = Case::new().submitted().deleted();
    case.entry.panicked(Some(Line::Tidy), boom(), case.now);
    let case = case.later(Duration::from_secs(1));
    assert_eq!(case.plan(&Access::Open), Step::Cancel);
}

#[test]
fn new_job_is_submitted_at_once_and_once() {
    assert_eq!(Case::new().plan(&Access::Open), Step::Submit);
    assert_eq!(Case::new().submitted().plan(&Access::Open), Step::Rest(None));
}

#[test]
fn job_whose_pool_is_missing_waits_and_says_so_after_a_moment() {
    let case = Case::new();
    let told_at = match case.plan(&MISSING) {
        Step::Rest(Some(at)) => at - case.now,
        other => panic!("{other:?}"),
    };
    let case = case.later(told_at);
    let status = case.writes(&MISSING);
    assert_eq!(reason(&status, conditions::ACCEPTED), ("False", "PoolNotFound"));
    assert_eq!(
        story::between(&JobStatus::default(), &status)[0].reason,
        "Waiting"
    );

    let mut case = case;
    case.entry.status = status;
    assert_eq!(case.plan(&MISSING), Step::Rest(None));
    assert_eq!(case.plan(&Access::Open), Step::Submit, "the pool is there");
}

#[test]
fn queue_that_fails_is_told_of_once_and_tried_all_the_same() {
    let failing = |detail: &str| Access::Failing(queue::Error::OutOfMemory(detail.to_owned()));
    let mut case = Case::new().later(Duration::from_secs(5));
    let status = case.writes(&failing("one"));
    assert_eq!(reason(&status, conditions::ACCEPTED), ("False", "OutOfMemory"));
    case.entry.status = status;
    assert_eq!(case.plan(&failing("in other words")), Step::Submit);
}

#[test]
fn pool_deleted_under_a_waiting_job_is_told_of_and_so_is_its_return() {
    let mut case = Case::new().submitted().later(Duration::from_secs(1));
    let gone = Access::Missing { was_served: true };
    let status = case.writes(&gone);
    assert_eq!(reason(&status, conditions::ACCEPTED), ("False", "PoolDeleted"));
    case.entry.status = status;
    assert_eq!(case.plan(&gone), Step::Rest(None));
    let status = case.writes(&Access::Open);
    assert_eq!(reason(&status, conditions::ACCEPTED), ("True", "Submitted"));
}

#[test]
fn what_may_change_again_at_once_is_written_after_a_moment_and_an_end_at_once() {
    let running = Case::new().submitted().heard(state(Status::InProgress));
    let Step::Rest(Some(at)) = running.plan(&Access::Open) else {
        panic!("{:?}", running.plan(&Access::Open));
    };
    assert!(at - running.now < Duration::from_millis(100));
    let running = running.later(Duration::from_millis(100));
    let status = running.writes(&Access::Open);
    assert_eq!(words(&status), ("Running", "in progress"));

    let done = Case::new().submitted().heard(complete(b"hi", 2));
    assert_eq!(
        reason(&done.writes(&Access::Open), conditions::COMPLETE),
        ("True", "Completed")
    );
}

#[test]
fn progress_alone_is_written_once_a_second() {
    let told = |percent| JobState {
        progress: Some(Progress {
            percent: Some(percent),
            message: "resizing".to_owned(),
        }),
        ..state(Status::InProgress)
    };
    let case = Case::new().submitted().heard(told(1)).written().heard(told(2));
    let case = case.later(Duration::from_millis(900));
    assert!(matches!(case.plan(&Access::Open), Step::Rest(Some(_))));
    let status = case.later(Duration::from_millis(100)).writes(&Access::Open);
    assert_eq!(status.progress.unwrap().percent, Some(2));
}

#[test]
fn the_same_news_again_are_not_written_again() {
    let done = Case::new()
        .submitted()
        .heard(complete(b"hi", 2))
        .written()
        .released();
    let heard_again = done.heard(complete(b"hi", 2));
    assert!(
        matches!(heard_again.plan(&Access::Open), Step::Rest(Some(_))),
        "{:?}",
        heard_again.plan(&Access::Open)
    );
}

#[test]
fn job_that_ended_is_let_go_and_deleted_after_its_time_to_live() {
    let done = Case::new().submitted().heard(complete(b"hi", 2)).written();
    assert_eq!(done.plan(&Access::Open), Step::Release { uncancelled: false });
    let done = done.released();
    assert_eq!(
        done.plan(&Access::Open),
        Step::Rest(Some(done.now + Duration::from_secs(60)))
    );
    assert_eq!(
        done.later(Duration::from_secs(60)).plan(&Access::Open),
        Step::Expire
    );
}

#[test]
fn state_has_word_of_jobs_beside_word_of_queue() {
    let at = |status, due_ms| JobState {
        due_ms,
        ..state(status)
    };
    for (state, expected) in [
        (at(Status::Submitted, None), ("Waiting", "submitted")),
        (at(Status::Submitted, Some(1_000_000)), ("Scheduled", "submitted")),
        (at(Status::InProgress, None), ("Running", "in progress")),
        (at(Status::Complete, None), ("Complete", "complete")),
        (at(Status::Failed, None), ("Failed", "failed")),
        (at(Status::Cancelled, None), ("Cancelled", "cancelled")),
        (
            at(Status::Other("converting".to_owned()), None),
            ("Running", "converting"),
        ),
    ] {
        let case = Case::new().submitted().heard(state);
        assert_eq!(words(&case.status(&Access::Open)), expected);
    }
    assert_eq!(
        words(&Case::new().submitted().entry.status),
        ("Waiting", "submitted")
    );
}

/// 0.1.0 wrote the queue's word as the state.
#[test]
fn open_job_of_0_1_0_gets_new_words_and_ended_one_stays() {
    let stored = |state: &str, conditions: serde_json::Value| {
        let job: WatchedJob = serde_json::from_value(json!({
            "apiVersion": "workerpool.dev/v1alpha1",
            "kind": "Job",
            "metadata": {"name": "a", "namespace": "team", "uid": "u-1", "resourceVersion": "7", "generation": 1},
            "spec": {"poolName": "thumbs"},
            "status": {"state": state, "attempts": 1, "conditions": conditions},
        }))
        .unwrap();
        let mut case = Case::new();
        case.entry = Entry::new(&job, case.now).unwrap();
        case
    };
    let condition = |kind: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": "True", "reason": reason, "message": message, "observedGeneration": 1,
            "lastTransitionTime": "2026-11-27T21:36:08Z"})
    };
    let accepted = condition(
        "Accepted",
        "Submitted",
        "it is in the queue of the WorkerPool thumbs",
    );

    let open = stored("in progress", json!([accepted]));
    assert!(open.entry.submitted, "it is not submitted again");
    let open = open
        .heard(state(Status::InProgress))
        .later(Duration::from_secs(1));
    assert_eq!(open.plan(&Access::Open), Step::Keep);
    assert_eq!(words(&open.status(&Access::Open)), ("Running", "in progress"));

    // Its result is not in memory: a write would take it out of the status.
    let ended = stored(
        "complete",
        json!([accepted, condition("Complete", "Completed", "it was done")]),
    );
    assert_eq!(ended.plan(&Access::Open), Step::Rest(None));
    assert_eq!(ended.status(&Access::Open).state.as_deref(), Some("complete"));
}

#[test]
fn job_that_another_program_ended_in_its_own_words_has_failed() {
    let word = || state(Status::Other("finished".to_owned()));
    let open = Case::new()
        .submitted()
        .heard(word())
        .later(Duration::from_secs(1));
    assert!(find(&open.writes(&Access::Open), conditions::FAILED).is_none());
    let ended = JobState {
        finished_ms: Some(960_000),
        ..word()
    };
    let status = Case::new().submitted().heard(ended).writes(&Access::Open);
    assert_eq!(words(&status), ("Failed", "finished"));
    let condition = find(&status, conditions::FAILED).unwrap();
    assert_eq!(condition.reason, "EndedElsewhere");
    assert!(
        condition.message.contains("\"finished\""),
        "{}",
        condition.message
    );
}

#[test]
fn job_that_failed_says_why_and_one_that_is_retried_is_kept_again() {
    let failed = JobState {
        attempts: 3,
        reason: Some("failed".to_owned()),
        error: Some("no such file".to_owned()),
        ..state(Status::Failed)
    };
    let case = Case::new().submitted().heard(failed);
    let status = case.writes(&Access::Open);
    let condition = find(&status, conditions::FAILED).unwrap();
    assert_eq!(condition.message, "given up after 3 runs: failed: no such file");
    assert_eq!(story::between(&case.entry.status, &status)[0].reason, "Failed");

    let retried = case
        .written()
        .released()
        .heard(state(Status::Submitted))
        .later(Duration::from_secs(1));
    assert_eq!(retried.plan(&Access::Open), Step::Keep);
    let mut retried = retried;
    retried.entry.finalizers = vec![FINALIZER.to_owned()];
    assert!(find(&retried.writes(&Access::Open), conditions::FAILED).is_none());
}

#[test]
fn job_that_the_queue_forgot_or_refuses_has_failed() {
    let mut lost = Case::new().submitted();
    lost.entry.hear(News::Lost, lost.now);
    let status = lost.writes(&Access::Open);
    assert_eq!(reason(&status, conditions::FAILED), ("True", "NotInQueue"));
    assert_eq!(
        words(&status),
        ("Failed", "submitted"),
        "and the queue's last word"
    );

    let mut refused = Case::new();
    let rejection = Rejection {
        reason: "PayloadTooLarge",
        message: "a payload has at most 65536 bytes, not 65537".to_owned(),
    };
    refused.entry.hear(News::Rejected(rejection), refused.now);
    let status = refused.writes(&Access::Open);
    assert_eq!(reason(&status, conditions::FAILED), ("True", "PayloadTooLarge"));
    assert_eq!(
        reason(&status, conditions::ACCEPTED),
        ("False", "PayloadTooLarge")
    );
    assert_eq!(words(&status), ("Failed", ""));
    assert_eq!(status.queue_word(), None, "it was never in the queue");
    refused.entry.status = status;
    refused.entry.news = None;
    assert_ne!(refused.plan(&Access::Open), Step::Submit);
}

#[test]
fn deleting_a_job_cancels_it_and_then_lets_it_go() {
    let mut case = Case::new().submitted().deleted();
    assert_eq!(case.plan(&Access::Open), Step::Cancel);
    assert_eq!(case.plan(&Access::Missing { was_served: true }), Step::Cancel);
    case.entry.cancelled = true;
    assert_eq!(case.plan(&Access::Open), Step::Release { uncancelled: false });
    assert_eq!(case.released().plan(&Access::Open), Step::Rest(None));
}

#[test]
fn job_that_cannot_be_cancelled_goes_in_time_all_the_same() {
    let failing = Access::Failing(queue::Error::Loading);
    for access in [MISSING, Access::Unknown, failing] {
        let case = Case::new().submitted().deleted();
        assert_ne!(case.plan(&access), Step::Release { uncancelled: true });
        let case = case.later(CANCEL_TIME);
        assert_eq!(
            case.plan(&access),
            Step::Release { uncancelled: true },
            "{access:?}"
        );
    }
}

#[test]
fn job_that_ended_or_was_never_kept_does_not_wait_for_a_queue_that_is_gone() {
    let ended = Case::new()
        .submitted()
        .heard(complete(b"hi", 2))
        .written()
        .deleted();
    assert_eq!(ended.plan(&MISSING), Step::Release { uncancelled: false });
    assert_eq!(Case::new().deleted().plan(&MISSING), Step::Rest(None));
}

#[test]
fn short_result_stands_in_the_status_and_a_long_one_says_where_it_is() {
    let result = |body: &[u8], size| {
        let case = Case::new().submitted().heard(complete(body, size));
        case.status(&Access::Open).result.unwrap()
    };
    assert_eq!(result(b"hi", 2).text.as_deref(), Some("hi"));
    assert_eq!(result(b"\x89PNG", 4).data.unwrap().0, b"\x89PNG");
    let long = result(&[b'x'; 4096], 4097);
    assert_eq!(
        (long.text, long.path.as_deref()),
        (None, Some("/jobs/u-1/result"))
    );
}

#[test]
fn failed_call_is_repeated_later_and_what_is_older_than_known_is_passed_over() {
    let mut case = Case::new();
    case.entry.failed(case.now);
    assert_eq!(
        case.plan(&Access::Open),
        Step::Rest(Some(case.now + Duration::from_millis(500)))
    );
    let mut metadata = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        resource_version: Some("6".to_owned()),
        finalizers: Some(vec![FINALIZER.to_owned()]),
        ..Default::default()
    };
    case.entry.see(&metadata, case.now);
    assert!(!case.entry.is_kept());
    metadata.resource_version = Some("8".to_owned());
    case.entry.see(&metadata, case.now);
    assert!(case.entry.is_kept());
}
