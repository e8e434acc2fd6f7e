//! The real program.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use queue::test_server::RedisServer;
use redis::Commands;

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
pub(crate) const JOB: &str = r#"{"start": "go!", "end": "stop!"}"#;

/// Waits until it is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The program on a free port. Killed on drop, if it still runs.
pub(crate) struct Api {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Api {
    pub(crate) fn start(redis: &RedisServer, settings: &[(&str, &str)]) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), redis, settings)
    }

    pub(crate) fn start_at(address: SocketAddr, redis: &RedisServer, settings: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_workerpool-api"))
            .env("REDIS_IP", redis.server().address.to_string())
            .env("WORKERPOOL_LISTEN_ADDRESS", address.to_string())
            .env("WORKERPOOL_LOG_FORMAT", "json")
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap())
            .find(|line| line["message"] == "listening")
            .and_then(|line| line["address"].as_str()?.parse().ok())
            .expect("it says where it listens");
        // Read on, or the program blocks on a full pipe.
        thread::spawn(move || lines.for_each(drop));
        Self { process, address }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// The whole answer to a GET, head and all.
    pub(crate) fn get(&self, path: &str) -> String {
        let mut stream = self.connect();
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub(crate) fn terminate(&self) {
        let status = Command::new("kill")
            .arg(self.process.id().to_string())
            .status()
            .unwrap();
        assert!(status.success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the process ends", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // Both fail if it has ended, which is what they are for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn jobs(redis: &RedisServer) -> usize {
    let mut db = redis::Client::open(format!("redis://{}/3", redis.server().address)).unwrap();
    db.keys::<_, Vec<String>>("job.*").unwrap().len()
}
