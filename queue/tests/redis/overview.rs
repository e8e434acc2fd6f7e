//! The queue at a glance.

use std::time::Duration;

use queue::{Ending, Mark};

use crate::common::{Fixture, MAIN, ids};

#[tokio::test]
async fn it_tells_how_long_the_queue_is_and_what_each_worker_holds() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    let submitted = fixture.submit(7).await;
    let (one, two) = (fixture.worker_in_pod("pod-1"), fixture.worker_in_pod("pod-2"));
    for worker in [&one, &two] {
        worker.consumer.beat().await.unwrap();
    }
    let of_one = one.claim(2).await;
    let of_two = two.claim(1).await;
    let delayed = one.claim_one().await;
    let after = Duration::from_secs(60);
    one.end(&delayed.job.id, &delayed.token, Ending::Later { after })
        .await;
    let drainer = fixture.drainer();
    let pods = ["pod-2".to_owned()];
    drainer
        .drain(&fixture.queue, &pods, 1, Duration::from_secs(30))
        .await
        .unwrap();

    // A tombstone: one of the items is only there to be dropped.
    fixture.ask::<()>(&["SADD", "workerpool:queue:cancelled", submitted[6].as_str()]);

    let overview = producer.overview().await.unwrap();
    assert_eq!(
        (
            overview.waiting,
            overview.running,
            overview.delayed,
            overview.dead
        ),
        (2, 3, 1, 0)
    );
    let head = producer.get(&submitted[4]).await.unwrap().unwrap();
    assert_eq!(overview.oldest_submitted_ms, head.submitted_ms);
    assert!(overview.next_due_ms.unwrap() > overview.server_time_ms);
    assert_eq!(overview.counts.claimed, 4);
    assert_eq!(overview.workers_alive, 2);
    for (worker, claims, mark) in [(&one, &of_one, None), (&two, &of_two, Some(Mark::Drain))] {
        let told = overview
            .workers
            .iter()
            .find(|told| told.state.nonce == worker.identity.nonce.as_str())
            .unwrap();
        let mut held = told.jobs.clone();
        held.sort();
        let mut expected = ids(claims);
        expected.sort();
        assert_eq!(held, expected);
        assert_eq!(told.state.held, expected.len() as u64);
        assert_eq!(told.state.pod_uid, worker.identity.pod_uid);
        assert_eq!(told.state.mark.map(|(mark, _)| mark), mark);
    }
    let mut states: Vec<_> = overview.workers.into_iter().map(|told| told.state).collect();
    let mut registry = drainer.workers(&fixture.queue).await.unwrap();
    for list in [&mut states, &mut registry] {
        list.sort_by(|a, b| a.nonce.cmp(&b.nonce));
        for state in list {
            state.alive_for = Duration::ZERO;
            state.mark = state.mark.map(|(mark, _)| (mark, Duration::ZERO));
        }
    }
    assert_eq!(states, registry);
}

#[tokio::test]
async fn of_an_empty_queue_it_tells_nothing() {
    let overview = Fixture::new().producer().overview().await.unwrap();
    assert_eq!(
        (overview.waiting, overview.running, overview.workers_alive),
        (0, 0, 0)
    );
    assert_eq!((overview.oldest_submitted_ms, overview.next_due_ms), (None, None));
    assert_eq!(overview.workers, []);
}

#[tokio::test]
async fn of_very_many_workers_and_jobs_it_tells_some() {
    let mut fixture = Fixture::new();
    let fill = "
        for i = 1, 1500 do
          redis.call('ZADD', 'workerpool:queue:beats', 9e12 + i, 'worker-' .. i)
          redis.call('RPUSH', KEYS[1], 'job-' .. i)
          redis.call('SELECT', 3)
          redis.call('HSET', 'job.job-' .. i, 'status', 'submitted')
          redis.call('SELECT', 2)
        end";
    fixture.ask::<()>(&["EVAL", fill, "1", MAIN]);
    let worker = fixture.worker();
    worker.consumer.beat().await.unwrap();
    assert_eq!(worker.claim(1_000).await.jobs.len(), 1_000);
    worker.claim(400).await;

    let overview = fixture.producer().overview().await.unwrap();
    assert_eq!((overview.waiting, overview.running), (100, 1_400));
    assert_eq!((overview.workers_alive, overview.workers.len()), (1_501, 1_000));
    assert_eq!(overview.workers[0].state.nonce, "worker-1500");
}
