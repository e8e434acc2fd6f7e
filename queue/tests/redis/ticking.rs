use std::time::Duration;

use queue::{Terms, Tick, Wake};

use crate::common::{Fixture, Raw, Worker, eventually, ids, pair};

const LEASES: &str = "workerpool:queue:leases";
const TICKS: &str = "workerpool:queue:ticks";

/// Ends every lease, and lets the next tick come as if one had been a second ago.
fn end_leases(fixture: &mut Fixture, leased: &[queue::JobId]) {
    for (i, id) in leased.iter().enumerate() {
        fixture.ask::<()>(&["ZADD", LEASES, &(i + 1).to_string(), id.as_str()]);
    }
    fixture.let_a_tick_come();
}

/// A worker in a queue that has ticked before.
async fn ticking(fixture: &Fixture) -> Worker {
    let worker = fixture.worker();
    worker.consumer.tick().await.unwrap();
    worker
}

#[tokio::test]
async fn a_job_whose_lease_has_ended_waits_a_little_and_goes_back_to_the_head() {
    let mut fixture = Fixture::new();
    let worker = ticking(&fixture).await;
    let submitted = fixture.submit(4).await;
    let claims = worker.claim(3).await;
    end_leases(&mut fixture, &submitted[..2]);

    let tick = fixture.worker().consumer.tick().await.unwrap();
    assert_eq!(
        tick,
        Tick {
            reaped: 2,
            ..Tick::default()
        }
    );
    let reading = fixture.reading().await;
    assert_eq!((reading.delayed, reading.running), (2, 1));
    let fields: Vec<_> = fixture
        .hash(&submitted[0])
        .into_iter()
        .map(|(field, _)| field)
        .collect();
    assert_eq!(fields, ["end", "id", "start", "status"]);
    fixture.make_due(&submitted[..2]);
    assert_eq!(worker.consumer.tick().await.unwrap().promoted, 2);
    assert_eq!(fixture.waiting(), [&submitted[..2], &submitted[3..]].concat());
    // The attempt is spent, and its bearer has lost it.
    assert_eq!(fixture.worker().claim(1).await.jobs[0].attempt, 2);
    let lost = worker
        .consumer
        .renew(&[pair(&claims.jobs[1])])
        .await
        .unwrap()
        .lost;
    assert_eq!(lost, submitted[1..2]);
}

#[tokio::test]
async fn a_real_lease_ends_by_the_servers_clock() {
    let fixture = Fixture::new();
    let lost = fixture.worker_with(Duration::from_secs(2));
    let id = fixture.submit(1).await.remove(0);
    lost.claim_one().await;
    let other = fixture.worker_with(Duration::from_secs(2));
    let found = eventually("it is reaped and claimed again", || async {
        other.consumer.tick().await.unwrap();
        other.claim(1).await.jobs.pop()
    })
    .await;
    assert_eq!((found.job.id, found.attempt), (id, 2));
}

#[tokio::test]
async fn after_an_outage_every_lease_gets_its_time_again_and_none_is_reaped() {
    let mut fixture = Fixture::new();
    let worker = ticking(&fixture).await;
    let submitted = fixture.submit(2).await;
    let claims = worker.claim(2).await;
    end_leases(&mut fixture, &submitted);
    fixture.last_tick_was(3_600_000);

    let tick = fixture.worker().consumer.tick().await.unwrap();
    assert_eq!(
        tick,
        Tick {
            guarded: true,
            ..Tick::default()
        }
    );
    let pairs: Vec<_> = claims.jobs.iter().map(pair).collect();
    assert_eq!(worker.consumer.renew(&pairs).await.unwrap().lost, []);
    let end: u64 = fixture.ask(&["ZSCORE", LEASES, submitted[0].as_str()]);
    assert!(end > fixture.reading().await.server_time_ms + 25_000);
}

#[tokio::test]
async fn after_a_clock_was_put_back_leases_and_delays_keep_their_time() {
    let mut fixture = Fixture::new();
    let worker = ticking(&fixture).await;
    let id = fixture.submit(1).await.remove(0);
    worker.claim_one().await;
    let now = fixture.reading().await.server_time_ms;
    let hour = 3_600_000;
    // Written before the clock was put back by an hour.
    fixture.ask::<()>(&["ZADD", LEASES, &(now + hour + 20_000).to_string(), id.as_str()]);
    fixture.ask::<()>(&[
        "ZADD",
        "workerpool:queue:delayed",
        &(now + hour + 20_000).to_string(),
        "later",
    ]);
    fixture.last_tick_was(-(hour as i64));

    assert!(worker.consumer.tick().await.unwrap().guarded);
    let end: u64 = fixture.ask(&["ZSCORE", LEASES, id.as_str()]);
    assert!(end < now + 60_000, "{} ms", end - now);
    let due = fixture.reading().await.next_due_ms.unwrap();
    assert!(due > now + 10_000 && due < now + 30_000, "{} ms", due - now);
}

#[tokio::test]
async fn a_restarted_server_is_an_outage() {
    let redis = queue::test_server::RedisServer::start_with(&["--appendonly", "yes"]).unwrap();
    let mut fixture = Fixture::on(redis);
    let worker = ticking(&fixture).await;
    let submitted = fixture.submit(1).await;
    worker.claim_one().await;
    fixture.redis.restart().unwrap();
    fixture.raw = Raw::to(&fixture.server());
    // Short as the restart was, time to renew may have been lost.
    end_leases(&mut fixture, &submitted);

    let tick = eventually("it answers again", || async { worker.consumer.tick().await.ok() }).await;
    assert_eq!((tick.guarded, tick.reaped), (true, 0));
}

#[tokio::test]
async fn ticks_that_come_together_are_one() {
    let fixture = Fixture::new();
    let (one, other) = (fixture.worker(), fixture.worker());
    let (first, second) = tokio::join!(one.consumer.tick(), other.consumer.tick());
    assert_eq!(
        [first.unwrap().skipped, second.unwrap().skipped]
            .iter()
            .filter(|skipped| **skipped)
            .count(),
        1
    );
}

#[tokio::test]
async fn what_lay_in_arrivals_too_long_goes_back_to_the_head_of_the_list() {
    let mut fixture = Fixture::new();
    let worker = ticking(&fixture).await;
    let submitted = fixture.submit(3).await;
    for _ in 0..2 {
        assert_eq!(
            worker.consumer.wake(Duration::from_secs(1)).await.unwrap(),
            Wake::Arrived
        );
    }
    fixture.last_tick_was(1_000);
    // It sees them for the first time.
    assert_eq!(worker.consumer.tick().await.unwrap().returned, 0);
    let now = fixture.reading().await.server_time_ms;
    fixture.ask::<()>(&["HSET", TICKS, "arrivals_since", &(now - 6_000).to_string()]);
    fixture.last_tick_was(1_000);

    assert_eq!(worker.consumer.tick().await.unwrap().returned, 2);
    assert_eq!(fixture.waiting(), submitted);
    assert_eq!(fixture.reading().await.arrivals, 0);
}

#[tokio::test]
async fn a_silent_worker_is_struck_off_and_its_mark_ends() {
    let mut fixture = Fixture::new();
    let silent = fixture.worker_in_pod("pod-1");
    silent.consumer.beat().await.unwrap();
    let drainer = fixture.drainer();
    assert_eq!(drainer.workers(&fixture.queue).await.unwrap().len(), 1);
    let worker = ticking(&fixture).await;
    fixture.ask::<()>(&[
        "ZADD",
        "workerpool:queue:beats",
        "1",
        silent.identity.nonce.as_str(),
    ]);
    fixture.ask::<()>(&["HSET", "workerpool:queue:quiet", "pod-1", "1 quiet"]);
    fixture.last_tick_was(1_000);

    assert_eq!(worker.consumer.tick().await.unwrap().expired_workers, 1);
    assert_eq!(drainer.workers(&fixture.queue).await.unwrap(), []);
    assert_eq!(fixture.ask::<u64>(&["HLEN", "workerpool:queue:quiet"]), 0);
}

#[tokio::test]
async fn the_held_counter_is_put_right() {
    let mut fixture = Fixture::new();
    let worker = ticking(&fixture).await;
    fixture.submit(2).await;
    worker.claim(2).await;
    fixture.ask::<()>(&["SET", "workerpool:queue:held", "17"]);
    fixture.last_tick_was(1_000);
    worker.consumer.tick().await.unwrap();
    assert_eq!(fixture.reading().await.running, 2);
}

#[tokio::test]
async fn an_expired_lease_of_a_deleted_or_cancelled_job_is_dropped() {
    let mut fixture = Fixture::new();
    let worker = ticking(&fixture).await;
    let submitted = fixture.submit(2).await;
    worker.claim(2).await;
    fixture
        .raw
        .on(3)
        .ask::<()>(&["DEL", &format!("job.{}", submitted[0])]);
    fixture
        .raw
        .on(3)
        .ask::<()>(&["HSET", &format!("job.{}", submitted[1]), "status", "cancelled"]);
    end_leases(&mut fixture, &submitted);

    assert_eq!(worker.consumer.tick().await.unwrap().reaped, 0);
    let reading = fixture.reading().await;
    assert_eq!((reading.waiting, reading.running), (0, 0));
    assert_eq!(fixture.status(&submitted[1]).as_deref(), Some("cancelled"));
    assert_eq!(fixture.status(&submitted[0]), None);
}

#[tokio::test]
async fn the_operators_tick_does_the_same() {
    let mut fixture = Fixture::new();
    let (drainer, terms) = (fixture.drainer(), Terms::default());
    drainer.tick(&fixture.queue, &terms).await.unwrap();
    let submitted = fixture.submit(1).await;
    fixture.worker().claim_one().await;
    end_leases(&mut fixture, &submitted);
    assert_eq!(drainer.tick(&fixture.queue, &terms).await.unwrap().reaped, 1);
    fixture.make_due(&submitted);
    assert_eq!(drainer.tick(&fixture.queue, &terms).await.unwrap().promoted, 1);
    assert_eq!(ids(&fixture.worker().claim(1).await), submitted);
}

#[tokio::test]
async fn a_job_that_loses_every_worker_is_dead_and_has_failed_in_none() {
    let mut fixture = Fixture::new();
    let worker = ticking(&fixture).await;
    let pill = fixture.submit(1).await;
    for lost in 1..=3_u64 {
        assert_eq!(u64::from(worker.claim_one().await.attempt), lost);
        end_leases(&mut fixture, &pill);
        let tick = worker.consumer.tick().await.unwrap();
        assert_eq!((tick.reaped, tick.dead), if lost < 3 { (1, 0) } else { (0, 1) });
        assert_eq!(fixture.record::<u64>(pill[0].as_str(), "lost"), lost);
        fixture.make_due(&pill);
        worker.consumer.tick().await.unwrap();
    }
    assert_eq!(fixture.status(&pill[0]).as_deref(), Some("failed"));
    assert_eq!(
        fixture.record::<String>(pill[0].as_str(), "reason"),
        "worker lost"
    );
    assert_eq!(fixture.record::<Option<u64>>(pill[0].as_str(), "failures"), None);
    let reading = fixture.reading().await;
    assert_eq!((reading.dead, reading.waiting, reading.running), (1, 0, 0));
    assert_eq!((reading.counts.lost, reading.counts.dead), (3, 1));
}

#[tokio::test]
async fn an_outage_costs_no_job_an_attempt() {
    let mut fixture = Fixture::new();
    let worker = ticking(&fixture).await;
    let submitted = fixture.submit(2).await;
    worker.claim(2).await;
    end_leases(&mut fixture, &submitted);
    fixture.last_tick_was(3_600_000);
    assert!(worker.consumer.tick().await.unwrap().guarded);
    for id in &submitted {
        assert_eq!(fixture.record::<Option<u64>>(id.as_str(), "lost"), None);
        assert_eq!(fixture.record::<u64>(id.as_str(), "attempts"), 1);
    }
}

#[tokio::test]
async fn a_job_to_be_cancelled_whose_worker_is_lost_is_cancelled() {
    let mut fixture = Fixture::new();
    let worker = ticking(&fixture).await;
    let submitted = fixture.submit(1).await;
    worker.claim_one().await;
    fixture.ask_to_cancel(&submitted[0]);
    end_leases(&mut fixture, &submitted);
    let tick = worker.consumer.tick().await.unwrap();
    assert_eq!((tick.cancelled, tick.reaped, tick.dead), (1, 0, 0));
    assert_eq!(fixture.status(&submitted[0]).as_deref(), Some("cancelled"));
    assert_eq!(fixture.reading().await.running, 0);
}

#[tokio::test]
async fn the_wait_after_a_lost_worker_is_random_and_its_bound_doubles() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker_on(Terms {
        retry: queue::Retry {
            max_lost: 1_000,
            ..queue::Retry::default()
        },
        ..Terms::default()
    });
    worker.consumer.tick().await.unwrap();
    let submitted = fixture.submit(50).await;
    worker.claim(50).await;
    end_leases(&mut fixture, &submitted);
    assert_eq!(worker.consumer.tick().await.unwrap().reaped, 50);
    let now = fixture.reading().await.server_time_ms;
    let delayed: Vec<(String, u64)> =
        fixture.ask(&["ZRANGE", "workerpool:queue:delayed", "0", "-1", "WITHSCORES"]);
    let dues: std::collections::BTreeSet<_> = delayed.iter().map(|(_, due)| *due).collect();
    assert!(dues.len() > 20, "{} different waits", dues.len());
    assert!(dues.iter().all(|due| *due < now + 1_000));
}
