//! A worker, played by the test.

use std::time::Duration;

use queue::{
    Claimed, Consumer, Ended, Ending, Finish, Identity, Nonce, Retry, Terms, test_server::RedisServer,
};

use crate::client::queue;

/// A worker on whose terms the first failure is the last.
pub(crate) fn worker(redis: &RedisServer) -> Consumer {
    let identity = Identity {
        nonce: Nonce::fresh(),
        pod_uid: Some("6f1c".to_owned()),
        pod_name: Some("hw7-5c9d".to_owned()),
        ip: "10.0.0.7".to_owned(),
        host: None,
    };
    Consumer::new(&redis.server(), queue(), identity, only_attempt()).unwrap()
}

pub(crate) fn only_attempt() -> Terms {
    Terms {
        retry: Retry {
            max_attempts: 1,
            ..Retry::default()
        },
        ..Terms::default()
    }
}

/// Takes what waits, at most so many.
pub(crate) async fn take(worker: &Consumer, slots: usize) -> Vec<Claimed> {
    worker.claim(&Nonce::fresh(), slots).await.unwrap().jobs
}

pub(crate) async fn end(worker: &Consumer, job: &Claimed, how: Ending) -> Finish {
    let ended = Ended {
        id: job.job.id.clone(),
        token: job.token.clone(),
        how,
    };
    worker.finish(&[ended]).await.unwrap().remove(0)
}

/// Takes all that waits, and fails it for good.
pub(crate) async fn fail_all(worker: &Consumer) {
    loop {
        let jobs = take(worker, Consumer::MAX_SLOTS).await;
        if jobs.is_empty() {
            return;
        }
        for job in jobs {
            let error = "no route to moon".to_owned();
            assert_eq!(end(worker, &job, Ending::Failed { error }).await, Finish::Dead);
        }
    }
}

/// Takes one, and puts it off.
pub(crate) async fn postpone_one(worker: &Consumer) {
    let job = take(worker, 1).await.remove(0);
    let after = Duration::from_secs(3600);
    assert_eq!(
        end(worker, &job, Ending::Later { after }).await,
        Finish::Postponed
    );
}
