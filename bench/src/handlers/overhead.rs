//! What a handler takes for a job, beside the same done by hand.
//!
//! Both are handlers of whole workers with one slot, fed from one Redis: so they stand in the same surroundings, and what is
//! between them is the handler. (`src/bin/handlers.rs`)

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use futures::future::try_join_all;
use queue::test_server::RedisServer;
use queue::{NewJob, Producer, Queue};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use workerpool_bench::marks::{Mark, Phase};

use crate::process::{free_address, ours, start};
use crate::stats::Spread;

/// In memory, so that marks wait for no disk.
const FOLDER: &str = "/dev/shm";
/// Jobs that are enqueued together, when they are not run one by one.
const TOGETHER: u32 = 50;
/// Jobs that do not count at the beginning of each worker.
const WARM_UP: u32 = 20;
/// Jobs that have not ended by then never will.
const DEADLINE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Prints a row for each handler and each way of feeding it.
pub(super) async fn measure(samples: u32) -> anyhow::Result<()> {
    let redis = RedisServer::start().context("redis-server")?;
    let folder = PathBuf::from(format!("{FOLDER}/workerpool-handlers-{}", std::process::id()));
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let measured = compare(&redis, &folder, samples).await;
    fs::remove_dir_all(&folder)?;
    measured
}

async fn compare(redis: &RedisServer, folder: &Path, samples: u32) -> anyhow::Result<()> {
    let program = ours("nothing")?.display().to_string();
    let service = free_address()?;
    let noop = ["noop".to_owned(), service.to_string()];
    let _service = start(&std::env::current_exe()?, &noop, &[], service).await?;
    let url = format!("http://{service}/jobs");
    println!("| handler | jobs | by hand, µs: p50 / p99 | the handler: p50 / p99 | beyond it at p50 |");
    println!("|---|---|---|---|---|");
    for (kind, by_hand, target) in [
        ("command", "command-by-hand", &program),
        ("http", "http-by-hand", &url),
    ] {
        let mut handler = Contender::start(redis, folder, kind, target).await?;
        let mut by_hand = Contender::start(redis, folder, by_hand, target).await?;
        for (how, together) in [("one at a time", 1), ("50 waiting", TOGETHER)] {
            let (mut ours, mut bare) = (Vec::new(), Vec::new());
            for _ in 0..samples.div_ceil(together) {
                bare.extend(by_hand.run(together).await?);
                ours.extend(handler.run(together).await?);
            }
            let [bare, ours] = [bare, ours].map(|taken| Spread::new(taken, "µs"));
            println!(
                "| {kind} | {how} | {:.0} / {:.0} | {:.0} / {:.0} | {:.0} µs |",
                bare.median(),
                bare.percentile(99.0),
                ours.median(),
                ours.percentile(99.0),
                ours.median() - bare.median()
            );
        }
    }
    Ok(())
}

/// A worker with a queue of its own.
struct Contender {
    kind: &'static str,
    producer: Producer,
    marks: PathBuf,
    /// The number of its next job.
    next: u32,
    _worker: Child,
}

impl Contender {
    async fn start(
        redis: &RedisServer,
        folder: &Path,
        kind: &'static str,
        target: &str,
    ) -> anyhow::Result<Self> {
        let marks = folder.join(kind);
        File::create(&marks)?;
        let worker = Command::new(ours("handlers")?)
            .args([kind, &redis.port().to_string(), kind, target])
            .env("MARKS", &marks)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the worker")?;
        let mut contender = Self {
            kind,
            producer: Producer::new(&redis.server(), Queue::new(kind.parse()?))?,
            marks,
            next: 0,
            _worker: worker,
        };
        contender.run(WARM_UP).await?;
        Ok(contender)
    }

    /// Enqueues jobs together and answers what the handler took for each, in µs, once all have ended.
    async fn run(&mut self, count: u32) -> anyhow::Result<Vec<f64>> {
        let first = self.next;
        self.next += count;
        let jobs = (first..self.next).map(|number| {
            self.producer
                .submit(NewJob::new(number.to_string(), String::new()))
        });
        try_join_all(jobs).await?;
        let deadline = Instant::now() + DEADLINE;
        loop {
            let marks = Mark::read(&fs::read(&self.marks)?);
            let of = |phase| {
                let wanted = move |mark: &&Mark| mark.number >= first && mark.is(phase);
                marks.iter().filter(wanted)
            };
            if of(Phase::Ended).count() == usize::try_from(count)? {
                // One slot: a job has ended before the next begins.
                let taken = of(Phase::Started).zip(of(Phase::Ended));
                return Ok(taken
                    .map(|(began, ended)| (ended.at_ns - began.at_ns) as f64 / 1e3)
                    .collect());
            }
            if Instant::now() > deadline {
                bail!("{}: not all of {count} jobs ended within {DEADLINE:?}", self.kind);
            }
            sleep(LOOK_EVERY).await;
        }
    }
}
