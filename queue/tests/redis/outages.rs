//! Whatever happens to Redis, each face says what it is, goes on by itself when it is over, and meanwhile runs at
//! nothing in a loop: connections are counted by the server, or by a stand-in while there is none.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use queue::{
    Change, Changes, Drainer, Error, JobId, NewJob, Nonce, Observer, Producer, Queue, Reading, Server, Token,
    test_server::{Fsync, RedisServer},
};

use crate::{
    common::{MAIN, Raw, Worker, eventually, pair},
    fake::server_that_hangs_up,
};

/// Connections of [`Faces`]: the consumer has two.
const LINKS: u64 = 5;

/// How long is called a thousand times a second.
const PRESSURE: Duration = Duration::from_secs(1);

/// Made by one link in that time: at once, at once again, after 0.1, 0.2 and 0.4 s, and one to spare.
const MOST_PER_LINK: u64 = 6;

/// All four faces on one server.
struct Faces {
    producer: Producer,
    worker: Worker,
    drainer: Drainer,
    observer: Observer,
    changes: Changes,
    queue: Queue,
    held: (JobId, Token),
}

impl Faces {
    /// Connected, with one job held, one waiting, and the observer armed.
    async fn on(server: &Server) -> Self {
        let queue = Queue::new("queue".parse().unwrap());
        let (observer, changes) = Observer::new(server).unwrap();
        let worker = Worker::new(server, &queue, None, Duration::from_secs(30));
        let producer = Producer::new(server, queue.clone()).unwrap();
        for _ in 0..2 {
            producer.submit(NewJob::new("a", "b")).await.unwrap();
        }
        let held = pair(&worker.claim_one().await);
        worker.consumer.wake(Duration::from_millis(10)).await.unwrap();
        let mut faces = Self {
            producer,
            worker,
            drainer: Drainer::new(server).unwrap(),
            observer,
            changes,
            queue,
            held,
        };
        faces.drainer.workers(&faces.queue).await.unwrap();
        assert_eq!(faces.changes.next().await, Some(Change::All));
        faces.read().await.unwrap();
        faces
    }

    async fn read(&self) -> Result<Reading, Error> {
        self.observer
            .read(std::slice::from_ref(&self.queue))
            .await
            .remove(0)
    }

    /// One call on each link, and what it fails with.
    async fn call(&self) -> [Result<(), Error>; LINKS as usize] {
        let (consumer, nonce) = (&self.worker.consumer, Nonce::fresh());
        let (submitted, claimed, woken, read, listed) = tokio::join!(
            self.producer.submit(NewJob::new("a", "b")),
            consumer.claim(&nonce, 1),
            consumer.wake(Duration::from_millis(10)),
            self.read(),
            self.drainer.workers(&self.queue),
        );
        [
            submitted.map(drop),
            claimed.map(drop),
            woken.map(drop),
            read.map(drop),
            listed.map(drop),
        ]
    }

    /// Each link ends up with an error that `is_expected`; on the way there it may see its connection break.
    async fn all_fail(&self, is_expected: impl Fn(&Error) -> bool) {
        eventually("each face tells what is wrong", || async {
            let failures = self.call().await;
            let expected = |answer: &Result<(), Error>| answer.as_ref().is_err_and(&is_expected);
            if failures.iter().all(expected) {
                return Some(());
            }
            let on_the_way = |answer: &Result<(), Error>| {
                expected(answer) || answer.as_ref().is_err_and(Error::is_ambiguous)
            };
            assert!(failures.iter().all(on_the_way), "{failures:?}");
            None
        })
        .await;
    }

    /// Calls each link for [`PRESSURE`], whatever it answers. Answers how often.
    async fn press(&self) -> u64 {
        let (end, mut rounds) = (Instant::now() + PRESSURE, 0);
        while Instant::now() < end {
            let _ = self.call().await;
            rounds += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        rounds
    }

    /// Presses, and sees that the server got no more connections for it than the links' pace allows.
    async fn press_gently(&self, raw: &mut Raw, connections: impl Fn(&mut Raw) -> u64) {
        let before = connections(raw);
        let calls = self.press().await;
        let came = connections(raw) - before;
        assert!(
            came <= LINKS * MOST_PER_LINK,
            "{came} connections for {calls} calls"
        );
    }

    /// Each link works again, without anybody having done anything, and the observer is armed.
    async fn go_on(&mut self, raw: &mut Raw) {
        eventually("each face goes on", || async {
            self.call().await.iter().all(Result::is_ok).then_some(())
        })
        .await;
        eventually("it is told of a change again", || async {
            let Ok(reading) = self.read().await else {
                return None;
            };
            reading.tracked.then_some(())
        })
        .await;
        raw.on(2).ask::<()>(&["RPUSH", MAIN, "foreign"]);
        loop {
            let change = tokio::time::timeout(Duration::from_secs(20), self.changes.next()).await;
            match change.expect("no change came") {
                // Of the time before.
                Some(Change::All) => drop(self.read().await),
                change => return assert_eq!(change, Some(Change::Queue(self.queue.clone()))),
            }
        }
    }

    /// The job that was held all the time still is, or is lost as the caller knows.
    async fn holds(&self) -> bool {
        let renewed = self.worker.consumer.renew(std::slice::from_ref(&self.held)).await;
        renewed.unwrap().lost.is_empty()
    }
}

fn connections(raw: &mut Raw) -> u64 {
    statistic(raw, "total_connections_received:")
}

fn statistic(raw: &mut Raw, name: &str) -> u64 {
    let stats: String = raw.ask(&["INFO", "stats"]);
    let value = stats.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap().parse().unwrap()
}

fn disconnect_all(raw: &mut Raw) {
    raw.ask::<u64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
}

/// Accepts on a port and hangs up, and counts.
struct SlammingDoor {
    accepted: Arc<AtomicU64>,
    open: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl SlammingDoor {
    fn on(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (accepted, open) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(1)));
        let (count, go_on) = (Arc::clone(&accepted), Arc::clone(&open));
        let thread = std::thread::spawn(move || {
            while go_on.load(Ordering::Relaxed) == 1 {
                match listener.accept() {
                    Ok(_) => {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    Err(_) => return,
                }
            }
        });
        Self {
            accepted,
            open,
            thread,
        }
    }

    /// Answers how many came.
    fn close(self) -> u64 {
        self.open.store(0, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.accepted.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn away_it_is_unreachable_and_every_face_goes_on_when_it_is_back() {
    let mut redis = RedisServer::builder().append_only(Fsync::Always).start().unwrap();
    let mut faces = Faces::on(&redis.server()).await;
    redis.kill();
    faces
        .all_fail(|err| matches!(err, Error::Unreachable { .. }))
        .await;
    redis.restart().unwrap();
    faces.go_on(&mut Raw::to(&redis.server())).await;
    assert!(faces.holds().await);
}

#[tokio::test]
async fn who_hangs_up_on_everybody_is_not_run_at_in_a_loop() {
    let mut redis = RedisServer::start().unwrap();
    let mut faces = Faces::on(&redis.server()).await;
    redis.kill();
    let door = SlammingDoor::on(redis.port());
    let calls = faces.press().await;
    // Each try is two: one to be served, one to be told why not.
    let came = door.close() / 2;
    assert!(came <= LINKS * MOST_PER_LINK, "{came} tries for {calls} calls");
    assert!(calls > 2 * came, "{came} tries for {calls} calls");
    redis.restart().unwrap();
    faces.go_on(&mut Raw::to(&redis.server())).await;
}

#[tokio::test]
async fn who_welcomes_everybody_and_hangs_up_at_once_is_not_run_at_in_a_loop_either() {
    let (port, came) = server_that_hangs_up();
    let server = Server::new(format!("127.0.0.1:{port}").parse().unwrap());
    let producer = Producer::new(&server, Queue::new("queue".parse().unwrap())).unwrap();
    let end = Instant::now() + PRESSURE;
    while Instant::now() < end {
        let broken = producer.submit(NewJob::new("a", "b")).await.unwrap_err();
        assert!(matches!(broken, Error::Disconnected { .. }), "{broken:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let came = came.load(Ordering::Relaxed);
    assert!(came <= MOST_PER_LINK, "{came} connections");
}

#[tokio::test]
async fn back_empty_what_was_held_is_lost_and_every_face_goes_on() {
    let mut redis = RedisServer::start().unwrap();
    let mut faces = Faces::on(&redis.server()).await;
    redis.restart().unwrap();
    faces.go_on(&mut Raw::to(&redis.server())).await;
    assert!(!faces.holds().await);
}

#[tokio::test]
async fn back_as_a_replica_it_is_not_the_master_until_it_is() {
    let redis = RedisServer::start().unwrap();
    let mut faces = Faces::on(&redis.server()).await;
    let mut raw = Raw::to(&redis.server());
    raw.ask::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    // As Sentinel does: who only reads would not notice.
    disconnect_all(&mut raw);
    faces.all_fail(|err| matches!(err, Error::NotMaster { .. })).await;
    faces.press_gently(&mut raw, connections).await;
    raw.ask::<()>(&["REPLICAOF", "NO", "ONE"]);
    faces.go_on(&mut raw).await;
    assert!(faces.holds().await);
}

#[tokio::test]
async fn with_another_password_the_login_is_refused_until_the_old_one_is_back() {
    let redis = RedisServer::builder().password("old").start().unwrap();
    let mut faces = Faces::on(&redis.server()).await;
    let mut raw = Raw::to(&redis.server());
    raw.ask::<()>(&["CONFIG", "SET", "requirepass", "new"]);
    disconnect_all(&mut raw);
    faces.all_fail(|err| matches!(err, Error::Auth(_))).await;
    faces.press_gently(&mut raw, connections).await;
    raw.ask::<()>(&["CONFIG", "SET", "requirepass", "old"]);
    faces.go_on(&mut raw).await;
    assert!(faces.holds().await);
}

#[tokio::test]
async fn full_it_refuses_new_jobs_only_and_keeps_its_connections() {
    let redis = RedisServer::start().unwrap();
    let mut faces = Faces::on(&redis.server()).await;
    let mut raw = Raw::to(&redis.server());
    raw.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let before = connections(&mut raw);
    let submitted = faces.producer.submit(NewJob::new("a", "b")).await;
    assert!(matches!(submitted, Err(Error::OutOfMemory(_))), "{submitted:?}");
    assert!(faces.holds().await);
    faces.worker.claim_one().await;
    assert_eq!(faces.read().await.unwrap().running, 2);
    faces.press().await;
    assert_eq!(connections(&mut raw), before);
    raw.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    faces.go_on(&mut raw).await;
}

#[tokio::test]
async fn while_it_loads_its_data_it_says_so_and_keeps_its_connections() {
    let slowly = [
        ["--key-load-delay", "150"],
        ["--loading-process-events-interval-bytes", "1024"],
    ];
    let mut redis = RedisServer::start_with(&slowly.concat()).unwrap();
    let mut faces = Faces::on(&redis.server()).await;
    let mut raw = Raw::to(&redis.server());
    let mut load = redis::cmd("MSET");
    for i in 0..20_000 {
        load.arg(format!("key {i}")).arg("value");
    }
    raw.on(9).command::<()>(&load).unwrap();
    raw.ask::<()>(&["SAVE"]);
    redis.begin_restart().unwrap();
    eventually("each face tells that it loads", || async {
        let loading = |answer: &Result<(), Error>| matches!(answer, Err(Error::Loading));
        faces.call().await.iter().all(loading).then_some(())
    })
    .await;
    let mut raw = Raw::to(&redis.server());
    let before = connections(&mut raw);
    faces.press().await;
    assert_eq!(connections(&mut raw), before);
    faces.go_on(&mut raw).await;
    assert!(faces.holds().await);
}

#[tokio::test]
async fn frozen_it_times_out_and_costs_a_bounded_number_of_sockets() {
    let redis = RedisServer::start().unwrap();
    let mut faces = Faces::on(&redis.server()).await;
    redis.freeze().unwrap();
    faces
        .all_fail(|err| matches!(err, Error::Timeout { .. } | Error::Unreachable { .. }))
        .await;
    // Many wait at once; each has its answer within the time of one call and one connection.
    let begun = Instant::now();
    let crowd: Vec<_> = (0..500)
        .map(|_| {
            let producer = faces.producer.clone();
            tokio::spawn(async move { producer.submit(NewJob::new("a", "b")).await.is_err() })
        })
        .collect();
    faces.press().await;
    let sockets = sockets_to(redis.port());
    assert!(sockets <= 2 * LINKS as usize, "{sockets} sockets");
    for refused in crowd {
        assert!(refused.await.unwrap());
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    redis.thaw().unwrap();
    let mut raw = Raw::to(&redis.server());
    faces.go_on(&mut raw).await;
    assert!(faces.holds().await);
}

/// Established connections of this machine to a port of loopback.
fn sockets_to(port: u16) -> usize {
    const ESTABLISHED: &str = "01";
    let remote = format!("0100007F:{port:04X}");
    let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
    let is_ours = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[2] == remote && fields[3] == ESTABLISHED
    };
    table.lines().skip(1).filter(is_ours).count()
}

#[tokio::test]
async fn when_it_cannot_save_it_refuses_writes_and_keeps_its_connections() {
    let redis = RedisServer::start_with(&["--save", "3600", "1"]).unwrap();
    let mut faces = Faces::on(&redis.server()).await;
    let mut raw = Raw::to(&redis.server());
    // Where the snapshot should go, something is in the way.
    let in_the_way: PathBuf = redis.directory().join("dump.rdb");
    fs::create_dir(&in_the_way).unwrap();
    raw.ask::<()>(&["BGSAVE"]);
    refuses_writes(&faces, &mut raw).await;
    fs::remove_dir(&in_the_way).unwrap();
    raw.ask::<()>(&["BGSAVE"]);
    faces.go_on(&mut raw).await;
    assert!(faces.holds().await);
}

#[tokio::test]
async fn with_too_few_replicas_it_refuses_writes_and_keeps_its_connections() {
    let redis = RedisServer::start().unwrap();
    let mut faces = Faces::on(&redis.server()).await;
    let mut raw = Raw::to(&redis.server());
    raw.ask::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    refuses_writes(&faces, &mut raw).await;
    raw.ask::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    faces.go_on(&mut raw).await;
    assert!(faces.holds().await);
}

/// Who writes is refused; who reads reads on.
async fn refuses_writes(faces: &Faces, raw: &mut Raw) {
    eventually("writes are refused", || async {
        let submitted = faces.producer.submit(NewJob::new("a", "b")).await;
        matches!(submitted, Err(Error::WritesRefused(_))).then_some(())
    })
    .await;
    let claimed = faces.worker.consumer.claim(&Nonce::fresh(), 1).await;
    assert!(matches!(claimed, Err(Error::WritesRefused(_))), "{claimed:?}");
    assert_eq!(faces.read().await.unwrap().running, 1);
    let before = connections(raw);
    faces.press().await;
    assert_eq!(connections(raw), before);
}

#[tokio::test]
async fn with_too_many_clients_it_says_so_and_takes_them_later() {
    let redis = RedisServer::start().unwrap();
    let mut faces = Faces::on(&redis.server()).await;
    let mut raw = Raw::to(&redis.server());
    raw.ask::<()>(&["CONFIG", "SET", "maxclients", "1"]);
    disconnect_all(&mut raw);
    faces
        .all_fail(|err| matches!(err, Error::TooManyClients(_)))
        .await;
    let rejected = |raw: &mut Raw| statistic(raw, "rejected_connections:");
    faces.press_gently(&mut raw, rejected).await;
    raw.ask::<()>(&["CONFIG", "SET", "maxclients", "1000"]);
    faces.go_on(&mut raw).await;
    assert!(faces.holds().await);
}
