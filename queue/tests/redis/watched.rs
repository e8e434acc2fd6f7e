//! Jobs that somebody mirrors elsewhere.

use std::time::Duration;

use queue::{
    Change, Ending, Finish, JobId, JobResult, JobState, Observer, Progress, ResultHead, Retry, Status, Terms,
};

use crate::common::{Fixture, Worker, failed, pair, rich};

fn strict() -> Terms {
    Terms {
        retry: Retry {
            max_attempts: 1,
            ..Retry::default()
        },
        ..Terms::default()
    }
}

struct Watch {
    fixture: Fixture,
    worker: Worker,
    id: JobId,
}

impl Watch {
    /// A watched job that waits, and one beside it that nobody watches and that goes the same way.
    async fn new() -> Self {
        let fixture = Fixture::new();
        let worker = fixture.worker_in_pod("pod-1");
        worker.consumer.beat().await.unwrap();
        worker.consumer.tick().await.unwrap();
        let id = fixture.producer().submit(rich()).await.unwrap().id;
        Self { fixture, worker, id }
    }

    /// What changed since this was last asked: the status, for each job.
    async fn changed(&self) -> Vec<(JobId, Option<Status>)> {
        let changed = self.fixture.producer().take_changed(10).await.unwrap();
        let status = |state: JobState| state.status;
        changed
            .into_iter()
            .map(|(id, state)| (id, state.map(status)))
            .collect()
    }

    async fn is_now(&self, status: impl Into<Option<Status>>, by: &str) {
        let expected = [(self.id.clone(), status.into())];
        assert_eq!(self.changed().await, expected, "{by}");
    }

    async fn is_silent(&self, after: &str) {
        assert_eq!(self.changed().await, [], "{after}");
    }

    async fn state(&self) -> JobState {
        let ids = std::slice::from_ref(&self.id);
        let state = self.fixture.producer().states(ids).await.unwrap().remove(0);
        state.unwrap()
    }

    async fn tick_when_due(&mut self) {
        self.fixture.make_due(std::slice::from_ref(&self.id));
        self.worker.consumer.tick().await.unwrap();
    }
}

#[tokio::test]
async fn each_change_of_a_watched_job_is_noted_once() {
    let mut watch = Watch::new().await;
    watch.is_silent("whoever submitted it knows").await;
    let claimed = watch.worker.claim_one().await;
    watch.is_now(Status::InProgress, "claim").await;
    watch.is_silent("it was taken out").await;
    watch.worker.consumer.renew(&[pair(&claimed)]).await.unwrap();
    watch.is_silent("nothing is different after a renewal").await;
    watch.worker.consumer.give_back(&[pair(&claimed)]).await.unwrap();
    watch.is_now(Status::Submitted, "give back").await;

    let claimed = watch.worker.claim_one().await;
    watch.worker.end(&watch.id, &claimed.token, failed()).await;
    watch.is_now(Status::Submitted, "claim and failure").await;
    watch.tick_when_due().await;
    watch.is_now(Status::Submitted, "promotion").await;

    watch.worker.claim_one().await;
    watch.fixture.reap(&watch.id, &watch.worker).await;
    watch.is_now(Status::Submitted, "claim and loss").await;
    watch.tick_when_due().await;

    let (id, token) = pair(&watch.worker.claim_one().await);
    watch.changed().await;
    let report = [(id, token.clone(), Progress::default())];
    watch.worker.consumer.report(&report).await.unwrap();
    watch.is_now(Status::InProgress, "report").await;
    watch.worker.complete(&watch.id, &token).await;
    watch.is_now(Status::Complete, "finish").await;
    watch.worker.complete(&watch.id, &token).await;
    watch.is_silent("it said the same again").await;
    watch.fixture.purge(&watch.id, &watch.worker).await;
    watch.is_now(None, "purge").await;
}

#[tokio::test]
async fn what_people_do_to_a_watched_job_is_noted() {
    let watch = Watch::new().await;
    let producer = watch.fixture.producer();
    let strict = watch.fixture.worker_on(strict());
    let claimed = strict.claim_one().await;
    assert_eq!(
        strict.end(&watch.id, &claimed.token, failed()).await,
        Finish::Dead
    );
    watch.is_now(Status::Failed, "death").await;
    producer.retry(&watch.id).await.unwrap();
    watch.is_now(Status::Submitted, "retry").await;
    producer.retry(&watch.id).await.unwrap();
    watch.is_silent("it was not dead any more").await;
    producer.cancel(&watch.id).await.unwrap();
    watch.is_now(Status::Cancelled, "cancel").await;
    producer.cancel(&watch.id).await.unwrap();
    watch.is_silent("it was cancelled before").await;

    let watch = Watch::new().await;
    let strict = watch.fixture.worker_on(self::strict());
    let claimed = strict.claim_one().await;
    strict.end(&watch.id, &claimed.token, failed()).await;
    watch.changed().await;
    let members = [watch.id.to_string()];
    watch.fixture.producer().delete_dead(&members).await.unwrap();
    watch.is_now(None, "deletion").await;
}

#[tokio::test]
async fn what_foreign_programs_do_to_a_watched_job_is_noted_when_it_is_found() {
    let mut watch = Watch::new().await;
    watch.worker.claim_one().await;
    watch.changed().await;
    let hash = format!("job.{}", watch.id);
    watch.fixture.raw.on(3).ask::<()>(&["DEL", &hash]);
    watch.fixture.reap(&watch.id, &watch.worker).await;
    watch.is_now(None, "its hash is gone, and a tick saw it").await;

    let mut watch = Watch::new().await;
    watch.fixture.ask::<()>(&["LPOP", crate::common::MAIN]);
    let hash = format!("job.{}", watch.id);
    let raw = watch.fixture.raw.on(3);
    raw.ask::<()>(&["HSET", &hash, "status", "complete"]);
    watch.is_silent("nobody of ours saw it").await;
    watch.worker.consumer.sweep(false).await.unwrap();
    watch.is_now(Status::Complete, "sweep").await;
    watch.fixture.reset(&watch.id);
    watch.worker.claim_one().await;
    watch.is_now(Status::InProgress, "claim").await;

    let mut watch = Watch::new().await;
    watch.fixture.ask::<()>(&["LPOP", crate::common::MAIN]);
    let hash = format!("job.{}", watch.id);
    watch.fixture.raw.on(3).ask::<()>(&["DEL", &hash]);
    watch.worker.consumer.sweep(false).await.unwrap();
    watch.is_now(None, "sweep").await;
    assert!(watch.fixture.kept("payloads").is_empty());
    assert!(watch.fixture.kept("records").is_empty());
}

/// Its past runs, which a mirror has, are forgotten.
#[tokio::test]
async fn reset_of_watched_job_is_noted_once_its_end_is_purged_or_deleted() {
    let mut watch = Watch::new().await;
    let claimed = watch.worker.claim_one().await;
    watch.worker.complete(&watch.id, &claimed.token).await;
    watch.fixture.reset(&watch.id);
    watch.changed().await;
    watch.fixture.purge(&watch.id, &watch.worker).await;
    watch.is_now(Status::Submitted, "purge").await;

    let mut watch = Watch::new().await;
    let strict = watch.fixture.worker_on(strict());
    let claimed = strict.claim_one().await;
    strict.end(&watch.id, &claimed.token, failed()).await;
    watch.fixture.reset(&watch.id);
    watch.changed().await;
    let members = [watch.id.to_string()];
    watch.fixture.producer().delete_dead(&members).await.unwrap();
    watch.is_now(Status::Submitted, "deletion").await;
}

#[tokio::test]
async fn an_id_without_a_hash_that_is_given_up_is_noted() {
    let mut watch = Watch::new().await;
    let hash = format!("job.{}", watch.id);
    watch.fixture.raw.on(3).ask::<()>(&["DEL", &hash]);
    for _ in 0..3 {
        watch.worker.claim(1).await;
        watch.tick_when_due().await;
    }
    assert_eq!(watch.fixture.reading().await.dead, 1);
    assert_eq!(watch.changed().await.pop(), Some((watch.id.clone(), None)));
}

#[tokio::test]
async fn a_job_that_nobody_watches_is_never_noted() {
    let mut fixture = Fixture::new();
    let (producer, worker) = (fixture.producer(), fixture.worker());
    worker.consumer.tick().await.unwrap();
    let ids = fixture.submit(3).await;
    let claims = worker.claim(3).await.jobs;
    worker.complete(&ids[0], &claims[0].token).await;
    worker.end(&ids[1], &claims[1].token, failed()).await;
    let (id, token) = pair(&claims[2]);
    let report = [(id, token, Progress::default())];
    worker.consumer.report(&report).await.unwrap();
    fixture.purge(&ids[0], &worker).await;
    assert_eq!(producer.take_changed(10).await.unwrap(), []);
}

#[tokio::test]
async fn a_state_tells_where_a_job_ran_also_when_it_is_over_and_its_worker_gone() {
    let mut watch = Watch::new().await;
    let state = watch.state().await;
    assert_eq!((state.status, state.attempts), (Status::Submitted, 0));
    assert_eq!((state.worker_ip, state.worker_pod), (None, None));
    assert_eq!((state.started_ms, state.finished_ms), (None, None));

    let (id, token) = pair(&watch.worker.claim_one().await);
    let running = watch.state().await;
    assert_eq!((&running.status, running.attempts), (&Status::InProgress, 1));
    assert_eq!(running.worker_ip.as_deref(), Some("10.0.0.7"));
    assert_eq!(running.worker_pod.as_deref(), Some("name of pod-1"));
    assert!(running.started_ms >= running.submitted_ms, "{running:?}");

    let progress = Progress {
        percent: Some(100),
        message: "done".to_owned(),
    };
    let report = [(id, token.clone(), progress.clone())];
    watch.worker.consumer.report(&report).await.unwrap();
    let result = JobResult::new("text/plain", "hello").unwrap();
    let how = Ending::Complete { result: Some(result) };
    watch.worker.end(&watch.id, &token, how).await;
    watch.worker.consumer.deregister().await.unwrap();
    let over = watch.state().await;
    let expected = JobState {
        status: Status::Complete,
        finished_ms: over.finished_ms,
        progress: Some(progress),
        result: Some(ResultHead {
            content_type: "text/plain".to_owned(),
            size: 5,
            head: b"hello".to_vec(),
        }),
        ..running.clone()
    };
    assert_eq!(over, expected);
    assert!(over.finished_ms >= running.started_ms);

    watch.fixture.reset(&watch.id);
    let again = watch.state().await;
    assert_eq!(
        (again.status, again.finished_ms, again.result),
        (Status::Submitted, None, None)
    );
}

#[tokio::test]
async fn a_state_tells_why_a_job_failed_and_when_it_runs_again() {
    let watch = Watch::new().await;
    let claimed = watch.worker.claim_one().await;
    watch.worker.end(&watch.id, &claimed.token, failed()).await;
    let state = watch.state().await;
    assert_eq!((state.failures, state.lost), (1, 0));
    assert_eq!(state.error.as_deref(), Some("it failed"));
    assert_eq!((state.worker_ip, state.worker_pod), (None, None));
    assert!(state.due_ms >= state.started_ms && state.reason.is_none());

    let mut watch = watch;
    watch.tick_when_due().await;
    let strict = watch.fixture.worker_on(strict());
    let claimed = strict.claim_one().await;
    strict.end(&watch.id, &claimed.token, failed()).await;
    let state = watch.state().await;
    assert_eq!((state.status, state.attempts), (Status::Failed, 2));
    assert_eq!((state.reason.as_deref(), state.due_ms), (Some("failed"), None));
    assert!(state.finished_ms >= state.started_ms);
}

#[tokio::test]
async fn of_a_long_result_a_state_tells_the_beginning() {
    let watch = Watch::new().await;
    let body: Vec<u8> = (0..JobResult::MAX_BODY).map(|i| (i % 251) as u8).collect();
    let result = JobResult::new("image/png", body.clone()).unwrap();
    let claimed = watch.worker.claim_one().await;
    let how = Ending::Complete { result: Some(result) };
    watch.worker.end(&watch.id, &claimed.token, how).await;
    let head = watch.state().await.result.unwrap();
    assert_eq!(head.size, JobResult::MAX_BODY as u64);
    assert_eq!(head.head, &body[..ResultHead::MAX_BYTES]);
}

#[tokio::test]
async fn states_come_in_the_order_of_their_ids_and_there_are_none_of_what_is_no_job() {
    let mut fixture = Fixture::new();
    let ids = fixture.submit(1_200).await;
    fixture.raw.on(3).ask::<()>(&["SET", "job.text", "a text"]);
    let mut asked = ids.clone();
    asked.insert(600, JobId::new("text").unwrap());
    asked.insert(700, JobId::new("nobody's").unwrap());
    let states = fixture.producer().states(&asked).await.unwrap();
    assert_eq!(states.len(), 1_202);
    for (at, state) in states.iter().enumerate() {
        assert_eq!(state.is_none(), at == 600 || at == 700, "{at}");
    }
    assert_eq!(fixture.producer().states(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn no_more_are_taken_than_are_asked_for_and_none_is_left_out() {
    let fixture = Fixture::new();
    let (producer, worker) = (fixture.producer(), fixture.worker());
    let mut ids = Vec::new();
    for _ in 0..25 {
        ids.push(producer.submit(rich()).await.unwrap().id);
    }
    worker.claim(25).await;
    assert_eq!(fixture.reading().await.changed, 25);
    let mut taken = Vec::new();
    for n in [10, 10, 5, 0] {
        let changed = producer.take_changed(10).await.unwrap();
        assert_eq!(changed.len(), n);
        taken.extend(changed.into_iter().map(|(id, _)| id));
    }
    ids.sort();
    taken.sort();
    assert_eq!(taken, ids);
    assert_eq!(fixture.reading().await.changed, 0);
}

/// Which changes nothing else that is watched.
#[tokio::test]
async fn a_report_of_a_watched_job_is_pushed_to_who_observes() {
    let watch = Watch::new().await;
    let queue = std::slice::from_ref(&watch.fixture.queue);
    let (id, token) = pair(&watch.worker.claim_one().await);
    watch.changed().await;
    let (observer, mut changes) = Observer::new(&watch.fixture.server()).unwrap();
    assert_eq!(changes.next().await, Some(Change::All));
    assert!(observer.read(queue).await[0].as_ref().unwrap().tracked);
    let report = [(id, token, Progress::default())];
    watch.worker.consumer.report(&report).await.unwrap();
    let change = tokio::time::timeout(Duration::from_secs(20), changes.next()).await;
    assert_eq!(change.unwrap(), Some(Change::Queue(queue[0].clone())));
    assert_eq!(observer.read(queue).await[0].as_ref().unwrap().changed, 1);
}
