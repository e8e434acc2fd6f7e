//! Whoever reads is told of the next change, whatever happens to the server, the scripts or the connection.

use std::time::Duration;

use queue::{Change, Changes, Error, NewJob, Observer, Queue, Reading, test_server::RedisServer};

use crate::common::{Fixture, MAIN, Raw, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

struct Watch {
    observer: Observer,
    changes: Changes,
    queue: Queue,
}

impl Watch {
    /// Connected, read once, and armed.
    async fn armed(fixture: &Fixture) -> Self {
        let (observer, changes) = Observer::new(&fixture.server()).unwrap();
        let mut watch = Self {
            observer,
            changes,
            queue: fixture.queue.clone(),
        };
        assert_eq!(watch.next().await, Change::All);
        assert!(watch.read().await.tracked);
        watch
    }

    async fn next(&mut self) -> Change {
        tokio::time::timeout(PATIENCE, self.changes.next())
            .await
            .expect("no change came")
            .unwrap()
    }

    async fn read(&self) -> Reading {
        self.observer
            .read(std::slice::from_ref(&self.queue))
            .await
            .remove(0)
            .unwrap()
    }

    /// Reads after a change, and sees by a foreign push that the read has armed again. A connection that is made only
    /// now is told first.
    async fn is_armed_again(&mut self, fixture: &mut Fixture) {
        for _ in 0..3 {
            let before = self.read().await.waiting;
            fixture.ask::<()>(&["RPUSH", MAIN, "foreign"]);
            match self.next().await {
                Change::All => {}
                change => {
                    assert_eq!(change, Change::Queue(self.queue.clone()));
                    assert_eq!(self.read().await.waiting, before + 1);
                    return;
                }
            }
        }
        panic!("everything changes again and again");
    }

    async fn is_silent(&mut self) {
        let change = tokio::time::timeout(Duration::from_millis(100), self.changes.next()).await;
        assert!(change.is_err(), "{change:?}");
    }
}

#[tokio::test]
async fn a_foreign_push_is_told_and_the_read_after_it_arms_again() {
    let mut fixture = Fixture::new();
    let mut watch = Watch::armed(&fixture).await;
    watch.is_silent().await;
    watch.is_armed_again(&mut fixture).await;
    watch.is_armed_again(&mut fixture).await;
}

#[tokio::test]
async fn many_changes_before_a_read_are_told_once() {
    let mut fixture = Fixture::new();
    let mut watch = Watch::armed(&fixture).await;
    for _ in 0..10 {
        fixture.ask::<()>(&["RPUSH", MAIN, "foreign"]);
    }
    assert_eq!(watch.next().await, Change::Queue(fixture.queue.clone()));
    watch.is_silent().await;
    assert_eq!(watch.read().await.waiting, 10);
}

#[tokio::test]
async fn every_step_of_a_job_is_told() {
    let fixture = Fixture::new();
    let mut watch = Watch::armed(&fixture).await;
    let change = Change::Queue(fixture.queue.clone());
    let worker = fixture.worker();

    fixture.submit(1).await;
    assert_eq!(watch.next().await, change);
    assert_eq!(watch.read().await.waiting, 1);
    worker.consumer.wake(Duration::from_secs(1)).await.unwrap();
    assert_eq!(watch.next().await, change);
    assert_eq!(watch.read().await.arrivals, 1);
    let claimed = worker.claim_one().await;
    assert_eq!(watch.next().await, change);
    assert_eq!(watch.read().await.running, 1);
    worker.complete(&claimed.job.id, &claimed.token).await;
    assert_eq!(watch.next().await, change);
    let reading = watch.read().await;
    assert_eq!((reading.ready(), reading.running, reading.completed), (0, 0, 1));
}

#[tokio::test]
async fn renewals_heartbeats_and_idle_ticks_are_no_changes() {
    let fixture = Fixture::new();
    fixture.submit(1).await;
    let worker = fixture.worker();
    let claimed = worker.claim_one().await;
    worker.consumer.tick().await.unwrap();
    let mut watch = Watch::armed(&fixture).await;

    worker
        .consumer
        .renew(&[crate::common::pair(&claimed)])
        .await
        .unwrap();
    worker.consumer.beat().await.unwrap();
    eventually("a tick is due", || async {
        (!worker.consumer.tick().await.unwrap().skipped).then_some(())
    })
    .await;
    assert_eq!(worker.claim(1).await.jobs, []);
    watch.is_silent().await;
}

#[tokio::test]
async fn a_flush_of_the_scripts_does_not_blind_it() {
    let mut fixture = Fixture::new();
    let mut watch = Watch::armed(&fixture).await;
    fixture.raw.ask::<()>(&["SCRIPT", "FLUSH"]);
    watch.is_armed_again(&mut fixture).await;
    fixture.raw.ask::<()>(&["SCRIPT", "FLUSH"]);
    watch.is_armed_again(&mut fixture).await;
}

#[tokio::test]
async fn a_flush_of_any_database_means_that_all_is_read_again() {
    for flush in ["FLUSHALL", "FLUSHDB"] {
        let mut fixture = Fixture::new();
        let mut watch = Watch::armed(&fixture).await;
        fixture.raw.on(9).ask::<()>(&["SET", "something", "else"]);
        fixture.raw.on(9).ask::<()>(&[flush]);
        assert_eq!(watch.next().await, Change::All);
        watch.is_armed_again(&mut fixture).await;
    }
}

#[tokio::test]
async fn a_killed_connection_is_made_again_and_all_is_read_again() {
    let mut fixture = Fixture::new();
    let mut watch = Watch::armed(&fixture).await;
    fixture
        .raw
        .ask::<u64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    // Nobody reads: the observer itself connects again.
    assert_eq!(watch.next().await, Change::All);
    watch.is_armed_again(&mut fixture).await;
}

#[tokio::test]
async fn a_restarted_server_is_found_again_without_anybody_asking() {
    let mut fixture = Fixture::new();
    let mut watch = Watch::armed(&fixture).await;
    let first = watch.read().await;
    fixture.redis.kill();
    // That it is gone is told too.
    assert_eq!(watch.next().await, Change::All);
    let reading = watch
        .observer
        .read(std::slice::from_ref(&watch.queue))
        .await
        .remove(0);
    assert!(
        matches!(
            reading,
            Err(Error::Unreachable { .. } | Error::Disconnected { .. })
        ),
        "{reading:?}"
    );
    fixture.redis.restart().unwrap();
    fixture.raw = Raw::to(&fixture.server());

    // Told as often as it seems to be gone, and once more when it is back.
    let reading = loop {
        assert_eq!(watch.next().await, Change::All);
        let queue = std::slice::from_ref(&watch.queue);
        if let Ok(reading) = watch.observer.read(queue).await.remove(0) {
            break reading;
        }
    };
    assert_ne!(reading.run_id, first.run_id);
    watch.is_armed_again(&mut fixture).await;
}

#[tokio::test]
async fn a_server_that_was_frozen_is_found_again() {
    let mut fixture = Fixture::new();
    let mut watch = Watch::armed(&fixture).await;
    fixture.redis.freeze().unwrap();
    let reading = watch
        .observer
        .read(std::slice::from_ref(&watch.queue))
        .await
        .remove(0);
    assert!(matches!(reading, Err(Error::Timeout { .. })), "{reading:?}");
    fixture.redis.thaw().unwrap();

    assert_eq!(watch.next().await, Change::All);
    watch.is_armed_again(&mut fixture).await;
}

#[tokio::test]
async fn one_connection_serves_many_queues_and_each_is_told_of_its_own() {
    let mut fixture = Fixture::new();
    let queues: Vec<_> = (0..150)
        .map(|i| Queue::new(format!("q{i}").parse().unwrap()))
        .collect();
    let (observer, mut changes) = Observer::new(&fixture.server()).unwrap();
    assert_eq!(changes.next().await, Some(Change::All));
    let readings = observer.read(&queues).await;
    assert!(
        readings
            .iter()
            .all(|reading| reading.as_ref().is_ok_and(|reading| reading.waiting == 0))
    );

    fixture.ask::<()>(&["RPUSH", "hotqueue:q17", "foreign"]);
    assert_eq!(changes.next().await, Some(Change::Queue(queues[17].clone())));
    assert_eq!(
        observer.read(&queues[17..18]).await[0].as_ref().unwrap().waiting,
        1
    );
    observer.forget(&queues[3].clone().into());
    fixture.ask::<()>(&["RPUSH", "hotqueue:q3", "foreign"]);
    fixture.ask::<()>(&["RPUSH", "hotqueue:q4", "foreign"]);
    assert_eq!(changes.next().await, Some(Change::Queue(queues[4].clone())));
    let connected: String = fixture.raw.ask(&["CLIENT", "LIST"]);
    assert_eq!(connected.lines().count(), 2, "{connected}");
}

#[tokio::test]
async fn one_broken_queue_does_not_hide_the_others() {
    let mut fixture = Fixture::new();
    let broken = Queue::new("broken".parse().unwrap());
    fixture.ask::<()>(&["SET", "hotqueue:broken", "a text"]);
    let (observer, _changes) = Observer::new(&fixture.server()).unwrap();
    let readings = observer.read(&[broken, fixture.queue.clone()]).await;
    assert!(matches!(readings[0], Err(Error::WrongType(_))), "{readings:?}");
    assert!(readings[1].is_ok());
}

#[tokio::test]
async fn the_oldest_job_is_the_one_at_the_head() {
    let fixture = Fixture::new();
    let job = fixture.producer().submit(NewJob::new("a", "b")).await.unwrap();
    fixture.submit(2).await;
    assert_eq!(fixture.reading().await.oldest_submitted_ms, job.submitted_ms);
    fixture
        .worker()
        .consumer
        .wake(Duration::from_secs(1))
        .await
        .unwrap();
    assert_eq!(fixture.reading().await.oldest_submitted_ms, job.submitted_ms);
}

#[tokio::test]
async fn where_tracking_is_refused_readings_say_so() {
    let mut fixture = Fixture::new();
    fixture.raw.ask::<()>(&[
        "ACL",
        "SETUSER",
        "polling",
        "on",
        ">secret",
        "~*",
        "+@all",
        "-client|tracking",
    ]);
    let mut server = fixture.server();
    server.username = Some("polling".to_owned());
    server.password = Some(queue::Secret::new("secret"));
    let (observer, _changes) = Observer::new(&server).unwrap();
    fixture.submit(1).await;
    let reading = observer
        .read(std::slice::from_ref(&fixture.queue))
        .await
        .remove(0)
        .unwrap();
    assert_eq!((reading.tracked, reading.waiting), (false, 1));
}

#[tokio::test]
async fn a_replica_is_not_the_master() {
    let master = Fixture::new();
    let replica = replica_of(&master.redis);
    let (observer, _changes) = Observer::new(&replica.server()).unwrap();
    let reading = observer.read(std::slice::from_ref(&master.queue)).await.remove(0);
    assert!(
        matches!(&reading, Err(Error::NotMaster { role, .. }) if role == "slave"),
        "{reading:?}"
    );
}

#[tokio::test]
async fn a_master_that_becomes_a_replica_is_not_believed_from_the_next_read_on() {
    let mut fixture = Fixture::new();
    let watch = Watch::armed(&fixture).await;
    // The connection stays, and the ping that would notice is 3 s away at the most.
    fixture.ask::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    let reading = watch.observer.read(&[watch.queue]).await.remove(0);
    assert!(matches!(reading, Err(Error::NotMaster { .. })), "{reading:?}");
}

#[tokio::test]
async fn the_changes_end_with_the_last_observer() {
    let fixture = Fixture::new();
    let Watch {
        observer,
        mut changes,
        ..
    } = Watch::armed(&fixture).await;
    let ended = tokio::spawn(async move { changes.next().await });
    drop(observer);
    assert_eq!(
        tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap(),
        None
    );
}

fn replica_of(master: &RedisServer) -> RedisServer {
    RedisServer::start_with(&["--replicaof", "127.0.0.1", &master.port().to_string()]).unwrap()
}

#[tokio::test]
async fn garbage_at_the_head_does_not_hide_the_queue() {
    let mut fixture = Fixture::new();
    fixture.push(b"\x80\x04K\x01.");
    fixture.submit(2).await;
    let reading = fixture.reading().await;
    assert_eq!((reading.waiting, reading.oldest_submitted_ms), (3, None));
}
