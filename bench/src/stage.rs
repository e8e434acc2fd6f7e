//! One peer beside a Redis of its own: what all comparisons do it with.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use queue::test_server::RedisServer;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use workerpool_bench::marks::{self, Mark};

use crate::peer::{Peer, Programs};
use crate::process;

/// In memory, so that the marks do not wait for the disk on which Redis writes its log.
const MARKS_FOLDER: &str = "/dev/shm";

/// Where the Python peers' modules lie, from the repository's root.
const FOLDER: &str = "bench/peers/python";

/// How long enqueueing may take: 200,000 jobs, or 60,000 with a sync for each.
const PRODUCE_DEADLINE: Duration = Duration::from_secs(300);

/// How often the file of marks is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A peer beside a Redis of its own.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) peer: Peer,
    programs: Programs,
    redis: RedisServer,
    folder: PathBuf,
    job: Duration,
}

/// What a producer says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Produced {
    count: u32,
    seconds: f64,
}

impl Produced {
    pub(crate) fn per_second(self) -> f64 {
        f64::from(self.count) / self.seconds
    }
}

impl Stage {
    /// A fresh Redis with `settings`; each job takes `job`.
    pub(crate) fn set(
        peer: Peer,
        programs: &Programs,
        settings: &[&str],
        job: Duration,
    ) -> anyhow::Result<Self> {
        let redis = RedisServer::start_with(settings).context("redis-server")?;
        let folder = PathBuf::from(format!(
            "{MARKS_FOLDER}/workerpool-bench-{}-{}",
            std::process::id(),
            redis.port()
        ));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        File::create(folder.join("marks"))?;
        Ok(Self {
            peer,
            programs: programs.clone(),
            redis,
            folder,
            job,
        })
    }

    /// Enqueues, as `workerpool_bench::produce` has it.
    pub(crate) async fn produce(&self, mode: &str, amount: u32) -> anyhow::Result<Produced> {
        let mut arguments = self.arguments(self.peer.produce);
        arguments.extend([mode.to_owned(), amount.to_string()]);
        let run = self.command(&arguments)?.output();
        let output = timeout(PRODUCE_DEADLINE, run)
            .await
            .with_context(|| format!("{}: {mode} {amount} takes too long", self.peer.name))??;
        let [said, errors] = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said));
        let parse = || {
            let (count, seconds) = said.trim().split_once(' ')?;
            Some(Produced {
                count: count.parse().ok()?,
                seconds: seconds.parse().ok()?,
            })
        };
        parse().with_context(|| format!("{}: {mode} {amount}: {said}{errors}", self.peer.name))
    }

    /// Starts a worker in a PID namespace of its own: when it is killed, all of its processes end with it and at once, as
    /// those of a container do.
    pub(crate) fn work(&self) -> anyhow::Result<Worker> {
        let mut arguments = vec![
            "unshare".into(),
            "--pid".into(),
            "--fork".into(),
            "--kill-child".into(),
        ];
        arguments.extend(self.arguments(self.peer.work));
        let process = self.command(&arguments)?.stdout(self.log_file()?).spawn();
        Ok(Worker(
            process.with_context(|| format!("cannot start {}", self.peer.name))?,
        ))
    }

    /// The marks so far.
    pub(crate) fn marks(&self) -> anyhow::Result<Vec<Mark>> {
        Ok(Mark::read(&fs::read(self.folder.join("marks"))?))
    }

    /// How many marks there are.
    pub(crate) fn count(&self) -> anyhow::Result<usize> {
        let bytes = fs::metadata(self.folder.join("marks"))?.len();
        Ok(usize::try_from(bytes)? / marks::BYTES)
    }

    /// Waits until there are so many; whether that came in time.
    pub(crate) async fn count_reaches(&self, count: usize, time: Duration) -> anyhow::Result<bool> {
        let deadline = Instant::now() + time;
        while self.count()? < count {
            if Instant::now() > deadline {
                return Ok(false);
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(true)
    }

    /// A connection to the Redis.
    pub(crate) async fn connect(&self) -> anyhow::Result<redis::aio::MultiplexedConnection> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.redis.port()))?;
        Ok(client.get_multiplexed_async_connection().await?)
    }

    /// What the programs wrote, for an error's message.
    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn log_file(&self) -> anyhow::Result<File> {
        let path = self.folder.join("log");
        Ok(File::options().append(true).create(true).open(path)?)
    }

    fn arguments(&self, command: &str) -> Vec<String> {
        self.programs
            .command(command, self.redis.port(), self.peer.concurrency)
    }

    fn command(&self, arguments: &[String]) -> anyhow::Result<Command> {
        let [program, arguments @ ..] = arguments else {
            bail!("{} has no command", self.peer.name);
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(FOLDER)
            .env("REDIS_PORT", self.redis.port().to_string())
            .env("MARKS", self.folder.join("marks"))
            .env("JOB_MS", self.job.as_millis().to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(self.peer.env.iter().copied())
            .stdin(Stdio::null())
            .stderr(self.log_file()?)
            .kill_on_drop(true);
        Ok(command)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // In memory, gone with the machine at the latest.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A running worker; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Worker(Child);

impl Worker {
    /// What its processes have used of a CPU so far.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        process::cpu_time(self.0.id().context("the worker has ended")?)
    }

    /// Ends it as a crash would.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.0.kill().await.context("cannot kill the worker")
    }
}
