//! A job's whole way, seen by all four faces: what must work on whatever server, however it is reached.

use std::time::Duration;

use queue::{Change, Drainer, Finish, NewJob, Observer, Producer, Queue, Risk, Server, Status};

use crate::common::{Worker, pair};

/// On a server without an append-only file.
pub(crate) async fn whole_way(server: &Server) {
    let queue = Queue::new("queue".parse().unwrap());
    let changed = Some(Change::Queue(queue.clone()));
    let producer = Producer::new(server, queue.clone()).unwrap();
    producer.check().await.unwrap();
    let worker = Worker::new(server, &queue, Some("pod"), Duration::from_secs(30));
    let (observer, mut changes) = Observer::new(server).unwrap();
    let drainer = Drainer::new(server).unwrap();
    assert_eq!(changes.next().await, Some(Change::All));
    let read = async || {
        observer
            .read(std::slice::from_ref(&queue))
            .await
            .remove(0)
            .unwrap()
    };
    assert!(read().await.tracked);

    let job = producer.submit(NewJob::new("a", "b")).await.unwrap();
    assert_eq!(changes.next().await, changed);
    assert_eq!(read().await.ready(), 1);
    worker.consumer.beat().await.unwrap();
    worker.consumer.wake(Duration::from_millis(10)).await.unwrap();
    assert_eq!(changes.next().await, changed);
    assert_eq!(read().await.arrivals, 1);
    let claimed = worker.claim_one().await;
    assert_eq!(changes.next().await, changed);
    worker.consumer.renew(&[pair(&claimed)]).await.unwrap();
    worker.consumer.tick().await.unwrap();
    assert_eq!(worker.complete(&job.id, &claimed.token).await, Finish::Finished);
    let finished = producer.get(&job.id).await.unwrap().unwrap();
    assert_eq!(finished.status, Status::Complete);

    let pods = ["pod".to_owned()];
    let quiet = drainer.quiet(&queue, &pods, 1, Duration::from_secs(30)).await;
    assert_eq!(quiet.unwrap(), pods);
    assert_eq!(drainer.risks().await.unwrap(), [Risk::NoAppendOnly]);
}
