//! Jobs that workers which are not ours took, and lost.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use queue::{
    JobId, Retention, Retry, Server, Status, Sweep, Terms,
    test_server::{RedisServer, python},
};
use tokio::net::{TcpSocket, TcpStream};

use crate::{
    common::{Fixture, MAIN, answered, eventually},
    python::HEAD,
};

const DEADLINE: Duration = Duration::from_secs(30);
const TICKS: &str = "workerpool:queue:ticks";
const SUSPECTS: &str = "workerpool:queue:suspects";
const SIGHTINGS: &str = "workerpool:queue:sightings";

/// A server that takes connections from all of loopback's addresses; protected mode takes 127.0.0.1 only.
fn fixture() -> Fixture {
    fixture_with(&["--save", ""])
}

fn fixture_with(settings: &[&str]) -> Fixture {
    let settings = [settings, &["--protected-mode", "no"]].concat();
    Fixture::on(RedisServer::start_with(&settings).unwrap())
}

/// Takes a job from the list as a foreign worker does.
fn take(fixture: &mut Fixture, worker: &str) -> JobId {
    let item: Vec<u8> = fixture.ask(&["LPOP", MAIN]);
    let id = queue::item::read(&item).unwrap();
    set(fixture, &id, &["status", "in progress", "worker", worker]);
    id
}

fn set(fixture: &mut Fixture, id: &JobId, fields: &[&str]) {
    let hash = format!("job.{id}");
    let raw = fixture.raw.on(3);
    raw.ask::<()>(&[&["HSET", &hash], fields].concat());
}

/// A connection from one of loopback's addresses, once it has lasted for long enough to tell something.
async fn connected(fixture: &mut Fixture, from: &str) -> TcpStream {
    let connection = connect(fixture.redis.port(), from).await;
    let address = format!("addr={} ", connection.local_addr().unwrap());
    let lasts = |line: &str| line.contains(&address) && age(line) >= 5;
    let deadline = Instant::now() + DEADLINE;
    while !fixture.ask::<String>(&["CLIENT", "LIST"]).lines().any(lasts) {
        assert!(Instant::now() < deadline, "no connection from {from}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    connection
}

fn age(line: &str) -> u64 {
    let age = line.split(' ').find_map(|field| field.strip_prefix("age="));
    age.unwrap().parse().unwrap()
}

async fn connect(port: u16, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    let to = SocketAddr::new("127.0.0.1".parse().unwrap(), port);
    socket.connect(to).await.unwrap()
}

/// Sweeps as if the last sweep were long ago.
async fn sweep(fixture: &mut Fixture, recover: bool) -> Sweep {
    sweep_with(fixture, recover, Terms::default()).await
}

async fn sweep_with(fixture: &mut Fixture, recover: bool, terms: Terms) -> Sweep {
    let again = "redis.call('HDEL', KEYS[1], 'swept')
        for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do redis.call('ZADD', KEYS[2], 0, id) end";
    fixture.ask::<()>(&["EVAL", again, "2", TICKS, SUSPECTS]);
    let drainer = fixture.drainer();
    let sweep = drainer.sweep(&fixture.queue, &terms, recover).await.unwrap();
    assert!(!sweep.skipped);
    sweep
}

/// Sweeps until something is lost; answers what that sweep did.
async fn sweep_until_lost(fixture: &mut Fixture, recover: bool) -> Sweep {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let swept = sweep(fixture, recover).await;
        if swept.lost > 0 {
            return swept;
        }
        assert!(Instant::now() < deadline, "nothing was lost: {swept:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sweeps for longer than it takes to lose a job.
async fn assert_never_lost(fixture: &mut Fixture) {
    let end = Instant::now() + Duration::from_secs(7);
    while Instant::now() < end {
        let swept = sweep(fixture, true).await;
        assert_eq!((swept.lost, swept.recovered), (0, 0), "{swept:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(fixture.waiting(), []);
}

/// The original's worker, at an address of its own, in the middle of a job that never ends.
struct PythonWorker(Child);

impl PythonWorker {
    fn start(redis: &RedisServer, from: &str) -> Self {
        const BIND: &str = r#"
import socket, sys, time
class From(socket.socket):
    def connect(self, address):
        self.bind((sys.argv[2], 0))
        return super().connect(address)
socket.socket = From
"#;
        // It is connected for a while before its job comes.
        const WORK: &str = r#"
rd.ping()
jid = q.get(block=True, timeout=60)
rd.hset('job.' + jid, 'worker', sys.argv[2])
rd.hset('job.' + jid, 'status', 'in progress')
print(jid, flush=True)
time.sleep(600)
"#;
        let child = Command::new(python())
            .args(["-c", &format!("{BIND}{HEAD}{WORK}")])
            .args([&redis.port().to_string(), from])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// The job that it has.
    fn taken(&mut self) -> JobId {
        let mut line = String::new();
        BufReader::new(self.0.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        JobId::new(line.trim()).unwrap()
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for PythonWorker {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::test]
async fn a_job_of_a_python_worker_that_was_killed_is_counted_and_put_back_if_told_to() {
    let mut fixture = fixture();
    let mut python = PythonWorker::start(&fixture.redis, "127.0.0.2");
    let ids = fixture.submit(2).await;
    assert_eq!(python.taken(), ids[0]);
    let sighted = |fixture: &mut Fixture| fixture.ask::<u64>(&["HLEN", SIGHTINGS]) == 1;
    let deadline = Instant::now() + DEADLINE;
    while !sighted(&mut fixture) {
        assert!(Instant::now() < deadline, "it was never seen");
        let swept = sweep(&mut fixture, true).await;
        assert_eq!((swept.suspects, swept.lost, swept.blind), (1, 0, false));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    python.kill();

    let swept = sweep_until_lost(&mut fixture, false).await;
    assert_eq!((swept.suspects, swept.lost, swept.recovered), (1, 1, 0));
    let again = sweep(&mut fixture, false).await;
    assert_eq!((again.suspects, again.lost), (1, 0), "it is counted once");
    assert_eq!(fixture.waiting(), [ids[1].clone()]);

    let swept = sweep(&mut fixture, true).await;
    assert_eq!((swept.lost, swept.recovered, swept.dead), (0, 1, 0));
    assert_eq!(fixture.waiting(), ids);
    let job = fixture.producer().get(&ids[0]).await.unwrap().unwrap();
    assert_eq!((job.status, job.worker), (Status::Submitted, None));
    let details = fixture.producer().details(&ids[0]).await.unwrap().unwrap();
    assert_eq!(
        (details.lost, details.history[0].what.as_str()),
        (1, "foreign worker lost")
    );
    let counts = fixture.reading().await.counts;
    assert_eq!((counts.foreign_lost, counts.foreign_recovered), (1, 1));

    let worker = fixture.worker();
    let claimed = worker.claim_one().await;
    worker.complete(&claimed.job.id, &claimed.token).await;
    assert_eq!(fixture.status(&ids[0]).as_deref(), Some("complete"));
    assert_eq!(sweep(&mut fixture, true).await.suspects, 0);
}

#[tokio::test]
async fn a_worker_that_was_never_seen_loses_nothing() {
    let mut fixture = fixture();
    fixture.submit(3).await;
    // No address, one that nobody has, and one whose connections come and go.
    for worker in ["python", "127.0.0.3", "127.0.0.4"] {
        take(&mut fixture, worker);
    }
    let port = fixture.redis.port();
    let brief = connect(port, "127.0.0.4").await;
    assert_eq!(sweep(&mut fixture, true).await.suspects, 3);
    drop(brief);
    assert_never_lost(&mut fixture).await;
}

#[tokio::test]
async fn while_one_connection_of_its_address_lasts_a_job_is_not_lost() {
    let mut fixture = fixture();
    fixture.submit(1).await;
    let one = connected(&mut fixture, "127.0.0.2").await;
    let other = connected(&mut fixture, "127.0.0.2").await;
    take(&mut fixture, "127.0.0.2");
    sweep(&mut fixture, true).await;
    drop(other);
    assert_never_lost(&mut fixture).await;
    drop(one);
    sweep_until_lost(&mut fixture, true).await;
}

#[tokio::test]
async fn a_worker_that_was_started_anew_under_its_address_has_lost_its_job() {
    let mut fixture = fixture();
    let id = fixture.submit(1).await.remove(0);
    let first = connected(&mut fixture, "127.0.0.2").await;
    take(&mut fixture, "127.0.0.2");
    sweep(&mut fixture, true).await;
    drop(first);
    let gone = Instant::now();
    let _second = connect(fixture.redis.port(), "127.0.0.2").await;
    assert_eq!(sweep_until_lost(&mut fixture, true).await.recovered, 1);
    assert!(gone.elapsed() >= Duration::from_secs(5), "{:?}", gone.elapsed());
    assert_eq!(fixture.waiting(), [id]);
}

#[tokio::test]
async fn a_job_that_ends_or_changes_hands_is_not_lost() {
    let mut fixture = fixture();
    fixture.submit(2).await;
    let connection = connected(&mut fixture, "127.0.0.2").await;
    let done = take(&mut fixture, "127.0.0.2");
    let handed_on = take(&mut fixture, "127.0.0.2");
    sweep(&mut fixture, true).await;
    assert_eq!(fixture.ask::<u64>(&["HLEN", SIGHTINGS]), 2);
    drop(connection);
    set(&mut fixture, &done, &["status", "complete"]);
    set(&mut fixture, &handed_on, &["worker", "127.0.0.3"]);
    assert_never_lost(&mut fixture).await;
    assert_eq!(fixture.ask::<u64>(&["HLEN", SIGHTINGS]), 0);
}

#[tokio::test]
async fn a_restart_of_the_server_ends_connections_and_loses_nothing() {
    let mut fixture = fixture_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    fixture.submit(1).await;
    let _connection = connected(&mut fixture, "127.0.0.2").await;
    take(&mut fixture, "127.0.0.2");
    sweep(&mut fixture, true).await;
    assert_eq!(fixture.ask::<u64>(&["HLEN", SIGHTINGS]), 1);
    fixture.redis.restart().unwrap();
    fixture.raw = crate::common::Raw::to(&fixture.server());
    assert_never_lost(&mut fixture).await;
}

#[tokio::test]
async fn where_the_list_of_connections_cannot_tell_it_says_so() {
    let mut fixture = fixture();
    fixture.submit(1).await;
    let connection = connected(&mut fixture, "127.0.0.2").await;
    take(&mut fixture, "127.0.0.2");
    assert!(!sweep(&mut fixture, true).await.blind);
    fixture.ask::<()>(&["CONFIG", "SET", "timeout", "3600"]);
    drop(connection);
    let blind = sweep(&mut fixture, true).await;
    assert_eq!((blind.suspects, blind.blind), (1, true));
    assert_never_lost(&mut fixture).await;

    for command in ["-client|list", "-config|get"] {
        let user = [
            "ACL", "SETUSER", "less", "reset", "on", ">secret", "~*", "+@all", command,
        ];
        fixture.ask::<()>(&user);
        let server = Server {
            username: Some("less".to_owned()),
            password: Some(queue::Secret::new("secret")),
            ..fixture.server()
        };
        fixture.ask::<()>(&["HDEL", TICKS, "swept"]);
        fixture.ask::<()>(&["DEL", SUSPECTS]);
        fixture.ask::<()>(&["HDEL", TICKS, "sweep_place"]);
        let drainer = queue::Drainer::new(&server).unwrap();
        let swept = drainer
            .sweep(&fixture.queue, &Terms::default(), true)
            .await
            .unwrap();
        assert_eq!((swept.suspects, swept.blind), (1, true), "{command}");
    }
}

#[tokio::test]
async fn a_job_that_kills_its_workers_is_dead_in_the_end() {
    let mut fixture = fixture();
    let id = fixture.submit(1).await.remove(0);
    let connection = connected(&mut fixture, "127.0.0.2").await;
    take(&mut fixture, "127.0.0.2");
    sweep(&mut fixture, true).await;
    drop(connection);
    sweep_until_lost(&mut fixture, false).await;

    let retry = Retry {
        max_lost: 1,
        ..Retry::default()
    };
    let terms = Terms {
        retry,
        ..Terms::default()
    };
    let swept = sweep_with(&mut fixture, true, terms).await;
    assert_eq!((swept.recovered, swept.dead), (0, 1));
    let dead = fixture.producer().dead(None, 1).await.unwrap().entries.remove(0);
    assert_eq!(
        (dead.member.as_str(), dead.reason.as_str()),
        (id.as_str(), "worker lost")
    );
    assert_eq!(fixture.status(&id).as_deref(), Some("failed"));
    assert_eq!(fixture.waiting(), []);
}

#[tokio::test]
async fn sweeps_that_come_together_are_one() {
    let fixture = fixture();
    let (one, two) = (fixture.worker(), fixture.worker());
    assert!(!one.consumer.sweep(false).await.unwrap().skipped);
    assert!(two.consumer.sweep(false).await.unwrap().skipped);
}

#[tokio::test]
async fn each_job_is_followed_until_it_has_ended_and_no_longer() {
    let mut fixture = fixture();
    let ids = fixture.submit(2_500).await;
    let worker = fixture.worker();
    let mut claims = worker.claim(1_000).await.jobs;
    claims.extend(worker.claim(1_000).await.jobs);
    for claimed in &claims[..1_990] {
        worker.complete(&claimed.job.id, &claimed.token).await;
    }
    for _ in 0..3 {
        take(&mut fixture, "127.0.0.9");
    }
    assert_eq!(sweep(&mut fixture, false).await.suspects, 3);
    // What ours hold is followed too: given back, a foreign worker may take it.
    assert_eq!(fixture.ask::<u64>(&["ZCARD", SUSPECTS]), 13);
    let place: String = fixture.ask(&["HGET", TICKS, "sweep_place"]);
    let last_taken: String = fixture.ask(&["ZSCORE", "workerpool:queue:index", ids[2_002].as_str()]);
    assert_eq!(place, last_taken);

    for claimed in &claims[1_990..] {
        worker.complete(&claimed.job.id, &claimed.token).await;
    }
    for id in &ids[2_000..2_003] {
        set(&mut fixture, id, &["status", "complete"]);
    }
    assert_eq!(sweep(&mut fixture, false).await.suspects, 0);
    assert_eq!(fixture.ask::<u64>(&["ZCARD", SUSPECTS]), 0);
}

#[tokio::test]
async fn a_job_that_a_foreign_worker_completed_is_kept_no_longer_than_one_of_ours() {
    let mut fixture = fixture();
    fixture.submit(2).await;
    let done = take(&mut fixture, "127.0.0.9");
    set(&mut fixture, &done, &["status", "complete"]);
    sweep(&mut fixture, false).await;
    let kept: Option<f64> = fixture.ask(&["ZSCORE", "workerpool:queue:finished", done.as_str()]);
    assert!(kept.is_some());

    let terms = Terms {
        retention: Retention {
            finished: Some(Duration::from_millis(1)),
            ..Retention::default()
        },
        ..Terms::default()
    };
    let (drainer, queue) = (fixture.drainer(), fixture.queue.clone());
    eventually("it is forgotten", || async {
        (drainer.tick(&queue, &terms).await.unwrap().purged == 1).then_some(())
    })
    .await;
    assert_eq!(fixture.producer().get(&done).await.unwrap(), None);
    assert_eq!(fixture.ask::<u64>(&["ZCARD", "workerpool:queue:index"]), 1);
}

#[tokio::test]
async fn a_job_whose_hash_was_deleted_leaves_the_listing() {
    let mut fixture = fixture();
    fixture.submit(2).await;
    let gone = take(&mut fixture, "127.0.0.9");
    assert_eq!(sweep(&mut fixture, false).await.suspects, 1);
    let raw = fixture.raw.on(3);
    raw.ask::<()>(&["DEL", &format!("job.{gone}")]);
    assert_eq!(sweep(&mut fixture, false).await.suspects, 0);
    assert_eq!(fixture.ask::<u64>(&["ZCARD", "workerpool:queue:index"]), 1);
    assert_eq!(fixture.ask::<u64>(&["ZCARD", SUSPECTS]), 0);
}

/// The original's worker, which puts the next job into the queue while it works, and works until its test lets it go on.
struct Chain(Child);

impl Chain {
    fn start(redis: &RedisServer) -> Self {
        const WORK: &str = r#"
while True:
    jid = q.get(block=True)
    q.put('next')
    q.get(block=False)
    print(jid, flush=True)
    sys.stdin.readline()
"#;
        let child = Command::new(python())
            .args(["-c", &format!("{HEAD}{WORK}"), &redis.port().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn has_job(&mut self) {
        // Unbuffered, so that no line is lost with its reader.
        let mut byte = [0];
        while byte != *b"\n" {
            self.0.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        }
    }

    fn go_on(&mut self) {
        self.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn python_worker_that_puts_jobs_while_it_works_is_busy_until_it_waits() {
    let mut fixture = Fixture::new();
    let mut worker = Chain::start(&fixture.redis);
    let drainer = fixture.drainer();
    let (own, here) = (fixture.queue.clone(), "127.0.0.1".parse().unwrap());
    let waits = async |drainer: &queue::Drainer| {
        eventually("it waits", || async {
            let workers = answered(async || drainer.foreign_workers(&own).await)
                .await
                .unwrap();
            workers.waiting.contains_key(&here).then_some(())
        })
        .await;
    };
    for _ in 0..3 {
        waits(&drainer).await;
        fixture.push(&queue::item::write(&JobId::fresh()));
        worker.has_job();
        let workers = answered(async || drainer.foreign_workers(&own).await)
            .await
            .unwrap();
        assert_eq!(workers.busy.get(&here), Some(&1), "{workers:?}");
        assert!(workers.unsure.is_empty(), "it was seen to wait");
        worker.go_on();
    }
    waits(&drainer).await;
}
