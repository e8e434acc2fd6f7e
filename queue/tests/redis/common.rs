//! A queue on a server of its own, and what tests ask of it.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use queue::{
    Claimed, Claims, Consumer, Drainer, Ended, Ending, Error, Finish, Identity, JobId, JobOptions, Lease,
    NewJob, Nonce, Observer, Payload, Producer, Queue, Reading, Server, Terms, Token,
    test_server::RedisServer,
};
use redis::IntoConnectionInfo;

pub(crate) const MAIN: &str = "hotqueue:queue";

/// A server, the default queue on it, and a plain connection to look behind the curtain.
pub(crate) struct Fixture {
    pub(crate) redis: RedisServer,
    pub(crate) queue: Queue,
    pub(crate) raw: Raw,
}

/// A plain connection of a foreign program.
pub(crate) struct Raw {
    connection: redis::Connection,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::on(RedisServer::start().unwrap())
    }

    pub(crate) fn on(redis: RedisServer) -> Self {
        let raw = Raw::to(&redis.server());
        Self {
            raw,
            redis,
            queue: Queue::new("queue".parse().unwrap()),
        }
    }

    pub(crate) fn server(&self) -> Server {
        self.redis.server()
    }

    /// With both databases the same, as managed Redis often has it.
    pub(crate) fn on_one_database(mut self) -> Self {
        self.queue.queue_db = 0;
        self.queue.jobs_db = 0;
        self
    }

    pub(crate) fn producer(&self) -> Producer {
        Producer::new(&self.server(), self.queue.clone()).unwrap()
    }

    pub(crate) fn worker(&self) -> Worker {
        self.worker_with(Duration::from_secs(30))
    }

    pub(crate) fn worker_with(&self, lease: Duration) -> Worker {
        Worker::new(&self.server(), &self.queue, None, lease)
    }

    pub(crate) fn worker_on(&self, terms: Terms) -> Worker {
        Worker::on(&self.server(), &self.queue, None, terms)
    }

    pub(crate) fn worker_in_pod(&self, pod: &str) -> Worker {
        Worker::on(&self.server(), &self.queue, Some(pod), Terms::default())
    }

    pub(crate) fn drainer(&self) -> Drainer {
        Drainer::new(&self.server()).unwrap()
    }

    pub(crate) async fn reading(&self) -> Reading {
        let (observer, _changes) = Observer::new(&self.server()).unwrap();
        observer
            .read(std::slice::from_ref(&self.queue))
            .await
            .remove(0)
            .unwrap()
    }

    /// Puts so many jobs in, one after the other.
    pub(crate) async fn submit(&self, n: usize) -> Vec<JobId> {
        let producer = self.producer();
        let mut ids = Vec::new();
        for i in 0..n {
            ids.push(
                producer
                    .submit(NewJob::new(format!("start {i}"), "end"))
                    .await
                    .unwrap()
                    .id,
            );
        }
        ids
    }

    /// A job's hash, sorted by field; empty if there is none.
    pub(crate) fn hash(&mut self, id: &JobId) -> Vec<(String, String)> {
        let db = self.queue.jobs_db;
        let mut fields: Vec<(String, String)> = self.raw.on(db).ask(&["HGETALL", &format!("job.{id}")]);
        fields.sort();
        fields
    }

    pub(crate) fn status(&mut self, id: &JobId) -> Option<String> {
        self.raw
            .on(self.queue.jobs_db)
            .ask(&["HGET", &format!("job.{id}"), "status"])
    }

    /// A field of a job's record.
    pub(crate) fn record<T: redis::FromRedisValue>(&mut self, member: &str, field: &str) -> T {
        let script = "local record = redis.call('HGET', KEYS[1], ARGV[1])
            return record and cmsgpack.unpack(record)[ARGV[2]]";
        self.ask(&["EVAL", script, "1", "workerpool:queue:records", member, field])
    }

    /// The jobs of which something lies in a hash of ours.
    pub(crate) fn kept(&mut self, key: &str) -> Vec<String> {
        self.ask(&["HKEYS", &format!("workerpool:queue:{key}")])
    }

    /// Reaps a job as if its lease had ended.
    pub(crate) async fn reap(&mut self, id: &JobId, by: &Worker) {
        // The first tick of a server only gives leases their time.
        by.consumer.tick().await.unwrap();
        self.ask::<()>(&["ZADD", "workerpool:queue:leases", "XX", "1", id.as_str()]);
        self.let_a_tick_come();
        by.consumer.tick().await.unwrap();
    }

    /// Lets a job that ended be forgotten, as if it had been long ago.
    pub(crate) async fn purge(&mut self, id: &JobId, by: &Worker) -> u64 {
        for key in ["finished", "dead"] {
            self.ask::<()>(&["ZADD", &format!("workerpool:queue:{key}"), "XX", "1", id.as_str()]);
        }
        self.let_a_tick_come();
        by.consumer.tick().await.unwrap().purged
    }

    /// Pushes an item as a foreign producer does.
    pub(crate) fn push(&mut self, item: &[u8]) {
        let mut push = redis::cmd("RPUSH");
        push.arg(MAIN).arg(item);
        self.raw.on(self.queue.queue_db).command::<()>(&push).unwrap();
    }

    /// Sets a job to submitted and pushes it once more, as a foreign program may.
    pub(crate) fn reset(&mut self, id: &JobId) {
        self.raw
            .on(self.queue.jobs_db)
            .ask::<()>(&["HSET", &format!("job.{id}"), "status", "submitted"]);
        self.push(&queue::item::write(id));
    }

    /// As if somebody had asked for the cancellation of a running job.
    pub(crate) fn ask_to_cancel(&mut self, id: &JobId) {
        let script = "local record = cmsgpack.unpack(redis.call('HGET', KEYS[1], ARGV[1]))
            record.cancel = true
            redis.call('HSET', KEYS[1], ARGV[1], cmsgpack.pack(record))";
        self.ask::<()>(&["EVAL", script, "1", "workerpool:queue:records", id.as_str()]);
    }

    /// As if a waiting job had been cancelled that stands too deep in the list to be taken out of it.
    pub(crate) fn mark_cancelled(&mut self, id: &JobId) {
        self.raw
            .on(self.queue.jobs_db)
            .ask::<()>(&["HSET", &format!("job.{id}"), "status", "cancelled"]);
        self.ask::<()>(&["SADD", "workerpool:queue:cancelled", id.as_str()]);
    }

    /// As if the last tick had been so many milliseconds ago (negative: in the future).
    pub(crate) fn last_tick_was(&mut self, ago: i64) {
        let time: Vec<i64> = self.ask(&["TIME"]);
        let last = time[0] * 1_000 + time[1] / 1_000 - ago;
        self.ask::<()>(&["HSET", "workerpool:queue:ticks", "last", &last.to_string()]);
    }

    pub(crate) fn let_a_tick_come(&mut self) {
        self.last_tick_was(1_000);
    }

    /// Makes delayed jobs due, the first one first, and lets a tick come.
    pub(crate) fn make_due(&mut self, delayed: &[JobId]) {
        for (i, id) in delayed.iter().enumerate() {
            let due = (i + 1).to_string();
            self.ask::<()>(&["ZADD", "workerpool:queue:delayed", "XX", &due, id.as_str()]);
        }
        self.let_a_tick_come();
    }

    /// The ids on the main list, head first.
    pub(crate) fn waiting(&mut self) -> Vec<JobId> {
        let items: Vec<Vec<u8>> = self.raw.on(self.queue.queue_db).ask(&["LRANGE", MAIN, "0", "-1"]);
        items
            .iter()
            .map(|item| queue::item::read(item).unwrap())
            .collect()
    }

    /// Asks on the queue's database.
    pub(crate) fn ask<T: redis::FromRedisValue>(&mut self, command: &[&str]) -> T {
        self.raw.on(self.queue.queue_db).ask(command)
    }

    /// That nothing is different from `before`, which is [`Fixture::everything`].
    pub(crate) fn assert_unchanged(&mut self, before: &[(u32, Vec<u8>, Vec<u8>)], what: &str) {
        let after = self.everything();
        let differs = |one: &[(u32, Vec<u8>, Vec<u8>)], other: &[(u32, Vec<u8>, Vec<u8>)]| {
            let only_here = one.iter().filter(|entry| !other.contains(entry));
            only_here
                .map(|(db, key, _)| format!("{db}: {}", key.escape_ascii()))
                .collect::<Vec<_>>()
        };
        let (gone, come) = (differs(before, &after), differs(&after, before));
        assert!(
            gone.is_empty() && come.is_empty(),
            "{what}: was {gone:?}, is {come:?}"
        );
    }

    /// Every key and its whole content, of both databases: what must not change when a script fails.
    pub(crate) fn everything(&mut self) -> Vec<(u32, Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        for db in [self.queue.queue_db, self.queue.jobs_db] {
            let raw = self.raw.on(db);
            let mut keys: Vec<Vec<u8>> = raw.ask(&["KEYS", "*"]);
            keys.sort();
            for key in keys {
                let content: Option<Vec<u8>> = raw.command(redis::cmd("DUMP").arg(&key)).unwrap();
                found.push((db, key, content.unwrap_or_default()));
            }
        }
        found
    }
}

impl Raw {
    pub(crate) fn to(server: &Server) -> Self {
        let address = (server.address.host.as_str(), server.address.port);
        let mut login = redis::RedisConnectionInfo::default();
        if let Some(username) = &server.username {
            login = login.set_username(username);
        }
        if let Some(password) = &server.password {
            login = login.set_password(password.reveal());
        }
        let info = address.into_connection_info().unwrap().set_redis_settings(login);
        let client = redis::Client::open(info).unwrap();
        Self {
            connection: client.get_connection().unwrap(),
        }
    }

    pub(crate) fn on(&mut self, db: u32) -> &mut Self {
        self.ask::<()>(&["SELECT", &db.to_string()]);
        self
    }

    pub(crate) fn ask<T: redis::FromRedisValue>(&mut self, command: &[&str]) -> T {
        let mut cmd = redis::cmd(command[0]);
        cmd.arg(&command[1..]);
        self.command(&cmd).unwrap()
    }

    pub(crate) fn pipeline(&mut self, pipeline: &redis::Pipeline) {
        pipeline.query::<()>(&mut self.connection).unwrap();
    }

    pub(crate) fn command<T: redis::FromRedisValue>(
        &mut self,
        command: &redis::Cmd,
    ) -> redis::RedisResult<T> {
        command.query(&mut self.connection)
    }
}

/// A worker's side: its consumer, and what it remembers.
pub(crate) struct Worker {
    pub(crate) consumer: Consumer,
    pub(crate) identity: Identity,
}

impl Worker {
    pub(crate) fn new(server: &Server, queue: &Queue, pod: Option<&str>, lease: Duration) -> Self {
        let terms = Terms {
            lease: Lease { duration: lease },
            ..Terms::default()
        };
        Self::on(server, queue, pod, terms)
    }

    pub(crate) fn on(server: &Server, queue: &Queue, pod: Option<&str>, terms: Terms) -> Self {
        let identity = Identity {
            nonce: Nonce::fresh(),
            pod_uid: pod.map(str::to_owned),
            pod_name: pod.map(|pod| format!("name of {pod}")),
            ip: "10.0.0.7".to_owned(),
            host: Some("node".to_owned()),
        };
        let consumer = Consumer::new(server, queue.clone(), identity.clone(), terms).unwrap();
        Self { consumer, identity }
    }

    /// Says that a job is done.
    pub(crate) async fn complete(&self, id: &JobId, token: &Token) -> Finish {
        self.end(id, token, Ending::Complete { result: None }).await
    }

    pub(crate) async fn end(&self, id: &JobId, token: &Token, how: Ending) -> Finish {
        let ended = Ended {
            id: id.clone(),
            token: token.clone(),
            how,
        };
        self.finish(&[ended]).await.remove(0)
    }

    pub(crate) async fn finish(&self, ended: &[Ended]) -> Vec<Finish> {
        answered(async || self.consumer.finish(ended).await).await
    }

    pub(crate) async fn claim(&self, slots: usize) -> Claims {
        let nonce = Nonce::fresh();
        answered(async || self.consumer.claim(&nonce, slots).await).await
    }

    pub(crate) async fn claim_one(&self) -> Claimed {
        let mut claims = self.claim(1).await;
        assert_eq!(claims.jobs.len(), 1, "{claims:?}");
        claims.jobs.remove(0)
    }
}

/// Submits a job twice and another of its id once, all in one batch: the twins are one job, the other is a conflict.
pub(crate) async fn submit_twins_and(producer: &Producer, new: &NewJob, other: NewJob) {
    // One thread: all three are in line before the first is sent.
    let (first, twin, conflicting) = tokio::join!(
        producer.submit(new.clone()),
        producer.submit(new.clone()),
        producer.submit(other)
    );
    assert_eq!(first.unwrap(), twin.unwrap());
    assert_eq!(conflicting, Err(Error::Conflict(new.id.to_string())));
}

/// Asks again, as a worker does, while the answer is late: megabytes take their time on a busy machine.
pub(crate) async fn answered<T>(mut ask: impl AsyncFnMut() -> queue::Result<T>) -> T {
    for _ in 0..20 {
        match ask().await {
            Err(error) if error.is_ambiguous() => {}
            answer => return answer.unwrap(),
        }
    }
    panic!("no answer in twenty tries");
}

/// Asks again while a busy machine does not answer in time.
pub(crate) async fn in_time<T>(mut ask: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 0..30 {
        match ask().await {
            Err(Error::Timeout { .. }) => {}
            answer => return answer,
        }
    }
    panic!("no answer in thirty tries");
}

/// A job with a payload, which somebody mirrors.
pub(crate) fn rich() -> NewJob {
    NewJob {
        payload: Some(Payload::new(r#"{"width": 64}"#).unwrap()),
        options: JobOptions {
            watched: true,
            ..JobOptions::default()
        },
        ..NewJob::new("a", "b")
    }
}

pub(crate) fn failed() -> Ending {
    Ending::Failed {
        error: "it failed".to_owned(),
    }
}

pub(crate) fn pair(claimed: &Claimed) -> (JobId, Token) {
    (claimed.job.id.clone(), claimed.token.clone())
}

pub(crate) fn ids(claims: &Claims) -> Vec<JobId> {
    claims.jobs.iter().map(|claimed| claimed.job.id.clone()).collect()
}

/// The rights of the user that docs/protocol.md names.
pub(crate) fn documented_rights() -> Vec<String> {
    let page = std::fs::read_to_string("../docs/protocol.md").unwrap();
    let rights = page
        .lines()
        .find_map(|line| line.trim().strip_prefix("ACL SETUSER workerpool on >PASSWORD "));
    rights.unwrap().split(' ').map(str::to_owned).collect()
}

/// Waits until `probe` answers something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut probe: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
