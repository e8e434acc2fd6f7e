//! What the tests of this folder share: the program as a process, and a look at what it does in Redis.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use queue::{
    Cancel, Details, Drainer, Job, JobId, NewJob, Producer, Queue, ResultLook,
    test_server::{RedisServer, python},
};
use redis::Commands;
use serde_json::Value;

use crate::scripted;

pub(crate) const SHORT: (&str, &str) = ("WORKERPOOL_SLEEP_SECONDS", "0.2");
pub(crate) const ENDLESS: (&str, &str) = ("WORKERPOOL_SLEEP_SECONDS", "3600");
pub(crate) const SHORT_LEASE: (&str, &str) = ("WORKERPOOL_LEASE_SECONDS", "2");

/// The stock worker.
pub(crate) const STOCK: &str = env!("CARGO_BIN_EXE_workerpool-worker");

/// Far longer than anything takes, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A server that loses nothing when it is killed.
pub(crate) fn redis() -> (RedisServer, View) {
    let redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).unwrap();
    let view = View::of(&redis);
    (redis, view)
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A process that is killed on drop, if it still runs.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn signal(&self, name: &str) {
        let signal = format!("-{name}");
        let status = Command::new("kill")
            .args([&signal, &self.0.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the process ends", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if it has ended, which is what they are for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Our worker.
pub(crate) struct Worker {
    pub(crate) process: Process,
    telemetry: SocketAddr,
    log: Arc<Mutex<Vec<Value>>>,
}

impl Worker {
    /// Starts the stock worker and waits until it says that it has started.
    pub(crate) fn start(redis: &RedisServer, ip: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_command(Command::new(STOCK), redis, ip, settings)
    }

    /// Starts the worker that does what a job's `start` says: `scripted.rs`.
    pub(crate) fn start_scripted(redis: &RedisServer, ip: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_command(scripted::command("scripted"), redis, ip, settings)
    }

    /// Starts the stock worker with a program for its jobs.
    pub(crate) fn start_program(redis: &RedisServer, settings: &[(&str, &str)], argv: &[&str]) -> Self {
        let mut stock = Command::new(STOCK);
        stock.arg("--").args(argv);
        Self::start_command(stock, redis, "10.0.0.7", settings)
    }

    pub(crate) fn start_command(
        mut command: Command,
        redis: &RedisServer,
        ip: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut child = command
            .env("REDIS_IP", redis.server().address.to_string())
            .env("WORKER_IP", ip)
            .env("WORKERPOOL_TELEMETRY_ADDRESS", "127.0.0.1:0")
            .env("WORKERPOOL_LOG_FORMAT", "json")
            // A line for each job.
            .env("WORKERPOOL_LOG", "info,worker=debug")
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let keep = Arc::clone(&log);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                keep.lock()
                    .unwrap()
                    .push(serde_json::from_str(&line).expect("a line of JSON"));
            }
        });
        let started = find(&log, |line| {
            line["message"] == "started" && line.get("telemetry").is_some()
        });
        let telemetry = started["telemetry"].as_str().unwrap().parse().unwrap();
        Self {
            process: Process(child),
            telemetry,
            log,
        }
    }

    /// Waits for a line of the log.
    pub(crate) fn logs(&self, message: &str) -> Value {
        find(&self.log, |line| line["message"] == message)
    }

    /// Waits until a call to Redis has failed, as it says at level debug.
    pub(crate) fn logs_failure_of(&self, call: &str) {
        find(&self.log, |line| line["call"] == call);
    }

    /// The number of failures of a call to Redis so far.
    pub(crate) fn failed_calls(&self, call: &str) -> usize {
        let log = self.log.lock().unwrap();
        log.iter().filter(|line| line["call"] == call).count()
    }

    /// Waits until a line says so.
    pub(crate) fn logs_that(&self, what: &str, says: impl Fn(&Value) -> bool) {
        wait_until(what, || self.log.lock().unwrap().iter().any(&says));
    }

    /// How many such lines there are by now.
    pub(crate) fn count(&self, message: &str) -> usize {
        self.log
            .lock()
            .unwrap()
            .iter()
            .filter(|line| line["message"] == message)
            .count()
    }

    /// Waits until a claim has ended, and says how.
    pub(crate) fn ends(&self, job: &str) -> String {
        let line = find(&self.log, |line| {
            line["message"] == "job ended" && line["job"] == job
        });
        line["outcome"].as_str().unwrap().to_owned()
    }

    /// The jobs that it has started, in their order.
    pub(crate) fn started(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        let started = log.iter().filter(|line| line["message"] == "job started");
        started
            .map(|line| line["job"].as_str().unwrap().to_owned())
            .collect()
    }

    /// How often it has asked for jobs.
    pub(crate) fn claims(&self) -> u64 {
        self.metric("workerpool_worker_claim_duration_seconds_count")
    }

    /// How many of its claims have ended like this.
    pub(crate) fn ended(&self, outcome: &str) -> u64 {
        self.metric(&format!("workerpool_worker_jobs_total{{outcome=\"{outcome}\"}}"))
    }

    /// A metric's value; 0 if there is none.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let (_, metrics) = self.get("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// The answer to a GET of the telemetry address: status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.request("GET", path, "")
    }

    /// The answer to a POST of it.
    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, String) {
        self.request("POST", path, body)
    }

    fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.telemetry).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head["HTTP/1.1 ".len()..][..3].parse().unwrap(), body.to_owned())
    }
}

#[track_caller]
fn find(log: &Mutex<Vec<Value>>, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut found = None;
    wait_until("a line of the log", || {
        found = log.lock().unwrap().iter().find(|line| wanted(line)).cloned();
        found.is_some()
    });
    found.unwrap()
}

/// The original's worker: HotQueue and redis-py, unmodified.
pub(crate) fn original_worker(redis: &RedisServer, ip: &str, seconds: &str) -> Process {
    let python = python();
    assert!(
        python.exists(),
        "{} is missing: run dev/install",
        python.display()
    );
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/original_worker.py");
    let child = Command::new(python)
        .args([script, &redis.server().address.to_string(), seconds])
        .env("WORKER_IP", ip)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Process(child)
}

/// The queue as its users see it.
pub(crate) struct View {
    runtime: tokio::runtime::Runtime,
    queue: Queue,
    producer: Producer,
    drainer: Drainer,
    url: String,
}

impl View {
    pub(crate) fn of(redis: &RedisServer) -> Self {
        Self::of_queue(redis, "queue")
    }

    pub(crate) fn of_queue(redis: &RedisServer, queue: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let guard = runtime.enter();
        let (server, queue) = (redis.server(), Queue::new(queue.parse().unwrap()));
        let producer = Producer::new(&server, queue.clone()).unwrap();
        let drainer = Drainer::new(&server).unwrap();
        drop(guard);
        let url = format!("redis://{}", server.address);
        Self {
            runtime,
            queue,
            producer,
            drainer,
            url,
        }
    }

    /// Puts a job in and answers its id.
    pub(crate) fn submit(&self) -> String {
        self.submit_job("go!", "stop!")
    }

    /// Puts a job in for the scripted worker, or for any.
    pub(crate) fn submit_job(&self, start: &str, end: &str) -> String {
        self.submit_new(NewJob::new(start, end))
    }

    pub(crate) fn submit_new(&self, job: NewJob) -> String {
        // A restart of Redis is noticed by the first call after it, whose answer is then not known.
        while let Err(error) = self.runtime.block_on(self.producer.submit(job.clone())) {
            assert!(error.is_ambiguous(), "{error}");
        }
        job.id.to_string()
    }

    pub(crate) fn submit_many(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.submit()).collect()
    }

    /// Changes a setting of Redis while it runs.
    pub(crate) fn set(&self, name: &str, value: &str) {
        redis::cmd("CONFIG")
            .arg(&["SET", name, value])
            .exec(&mut self.db(0))
            .unwrap();
    }

    pub(crate) fn cancel(&self, id: &str) -> Cancel {
        let id = JobId::new(id).unwrap();
        self.runtime.block_on(self.producer.cancel(&id)).unwrap()
    }

    /// The job as the API shows it.
    pub(crate) fn job(&self, id: &str) -> Job {
        let id = JobId::new(id).unwrap();
        self.runtime.block_on(self.producer.get(&id)).unwrap().unwrap()
    }

    /// What a complete job gave: its content type and its bytes; `None` if it gave nothing.
    #[track_caller]
    pub(crate) fn result(&self, id: &str) -> Option<(String, Vec<u8>)> {
        let id = JobId::new(id).unwrap();
        match self.runtime.block_on(self.producer.result(&id)).unwrap() {
            ResultLook::Found(result) => Some(result.into_parts()),
            ResultLook::Empty => None,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn details(&self, id: &str) -> Details {
        let id = JobId::new(id).unwrap();
        self.runtime
            .block_on(self.producer.details(&id))
            .unwrap()
            .unwrap()
    }

    /// Waits until so many clients block in Redis.
    #[track_caller]
    pub(crate) fn wait_for_blocked(&self, count: usize) {
        let mut connection = self.db(0);
        let wanted = format!("blocked_clients:{count}\r");
        wait_until(&wanted, || {
            let info: String = redis::cmd("INFO").arg("clients").query(&mut connection).unwrap();
            info.contains(&wanted)
        });
    }

    /// How often scripts have been called since Redis started.
    pub(crate) fn script_calls(&self) -> u64 {
        let info: String = redis::cmd("INFO")
            .arg("commandstats")
            .query(&mut self.db(0))
            .unwrap();
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        let calls = line.and_then(|line| line.split(',').next());
        calls.map_or(0, |calls| calls.parse().unwrap())
    }

    /// Marks a pod quiet, as the operator does before it goes; it must hold nothing.
    pub(crate) fn quiet(&self, pod: &str) {
        let pods = [pod.to_owned()];
        wait_until("the pod is marked quiet", || {
            let call = self.drainer.quiet(&self.queue, &pods, 1, DEADLINE);
            self.runtime.block_on(call).unwrap() == pods
        });
    }

    pub(crate) fn unquiet(&self, pod: &str) {
        let pods = [pod.to_owned()];
        self.runtime
            .block_on(self.drainer.unquiet(&self.queue, &pods, 1))
            .unwrap();
    }

    /// The hash of a job, as `hgetall` shows it.
    pub(crate) fn hash(&self, id: &str) -> HashMap<String, String> {
        self.db(3).hgetall(format!("job.{id}")).unwrap()
    }

    pub(crate) fn status(&self, id: &str) -> String {
        self.hash(id).remove("status").unwrap()
    }

    pub(crate) fn worker(&self, id: &str) -> Option<String> {
        self.hash(id).remove("worker")
    }

    #[track_caller]
    pub(crate) fn wait_for_status(&self, id: &str, status: &str) {
        wait_until(&format!("{id} is {status}"), || self.status(id) == status);
    }

    /// What waits in the list, head first. The ids are found in their pickles by their length.
    pub(crate) fn waiting(&self) -> Vec<String> {
        let list = format!("hotqueue:{}", self.queue.name.as_str());
        let items: Vec<Vec<u8>> = self.db(2).lrange(list, 0, -1).unwrap();
        let id = |item: Vec<u8>| {
            let text = String::from_utf8_lossy(&item).into_owned();
            let start = text.find('-').unwrap() - 8;
            text[start..start + 36].to_owned()
        };
        items.into_iter().map(id).collect()
    }

    pub(crate) fn db(&self, number: u8) -> redis::Connection {
        redis::Client::open(format!("{}/{number}", self.url))
            .unwrap()
            .get_connection()
            .unwrap()
    }
}
