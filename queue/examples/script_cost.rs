//! What each script costs inside Redis, per job: how it falls with the batch, and whether it grows with the depth of
//! the queue or the number of workers.
//!
//!     cargo run -p workerpool-queue --example script_cost [-- DEPTH...]
//!
//! Starts a redis-server of its own, fills a queue, and asks `INFO commandstats` for the time that the server spent
//! in scripts. That is time on the wall: on a machine that does something else, look at the least and not at the
//! median. Each row has up to 500 calls of each script.

use std::io::Write;

use anyhow::{Context, Result, ensure};
use queue::{
    Claimed, Claims, Consumer, Ended, Ending, Identity, JobId, NewJob, Nonce, Producer, Queue, Terms, Token,
    test_server::RedisServer,
};

const BATCHES: [usize; 4] = [1, 10, 100, 1_000];
const DEPTHS: [usize; 3] = [10, 100_000, 1_000_000];
const WORKERS: [usize; 2] = [1, 1_000];

/// Jobs measured for each row, in so many calls at most.
const JOBS: usize = 10_000;
const MAX_ROUNDS: usize = 500;

const FILL: &str = include_str!("fill.lua");

#[tokio::main]
async fn main() -> Result<()> {
    let mut out = std::io::stdout();
    let mut depths = std::env::args()
        .skip(1)
        .map(|depth| depth.parse())
        .collect::<Result<Vec<usize>, _>>()?;
    if depths.is_empty() {
        depths = DEPTHS.to_vec();
    }
    writeln!(out, "µs of Redis per job: least / median")?;
    write!(out, "{:>9} {:>7} {:>5}", "waiting", "workers", "batch")?;
    for name in [
        "submit",
        "claim",
        "renew",
        "give back",
        "finish",
        "claim + finish",
        "turn",
    ] {
        write!(out, " {name:>15}")?;
    }
    writeln!(out)?;
    for depth in depths {
        for workers in WORKERS {
            let mut bed = Bed::new(workers).await?;
            bed.fill(depth)?;
            for batch in BATCHES {
                write!(out, "{depth:>9} {workers:>7} {batch:>5}")?;
                for costs in bed.measure(batch).await? {
                    write!(out, " {:>7.1} /{:>6.1}", costs.least, costs.median)?;
                }
                writeln!(out)?;
            }
        }
    }
    Ok(())
}

/// Of a script, per job, in microseconds.
struct Cost {
    least: f64,
    median: f64,
}

/// A queue on a server of its own.
struct Bed {
    _redis: RedisServer,
    raw: redis::Connection,
    producer: Producer,
    workers: Vec<Consumer>,
    filled: usize,
}

impl Bed {
    async fn new(workers: usize) -> Result<Self> {
        let redis = RedisServer::start()?;
        let (server, queue) = (redis.server(), Queue::new("queue".parse()?));
        let mut raw =
            redis::Client::open((server.address.host.as_str(), server.address.port))?.get_connection()?;
        redis::cmd("SELECT").arg(2).query::<()>(&mut raw)?;
        let identity = |n: usize| Identity {
            nonce: Nonce::fresh(),
            pod_uid: Some(format!("00000000-0000-4000-9000-{n:012}")),
            pod_name: None,
            ip: "10.0.0.7".to_owned(),
            host: None,
        };
        let all = (0..workers)
            .map(|n| Consumer::new(&server, queue.clone(), identity(n), Terms::default()))
            .collect::<queue::Result<Vec<_>>>()?;
        let bed = Self {
            producer: Producer::new(&server, queue)?,
            _redis: redis,
            raw,
            workers: all,
            filled: 0,
        };
        // Every worker is known, and holds a job of its own, so that the hashes of workers are as large as they get.
        for (n, worker) in bed.workers.iter().enumerate() {
            worker.beat().await?;
            if n > 0 {
                bed.producer.submit(NewJob::new("go!", "stop!")).await?;
                worker.claim(&Nonce::fresh(), 1).await?;
            }
        }
        Ok(bed)
    }

    fn fill(&mut self, jobs: usize) -> Result<()> {
        const AT_ONCE: usize = 10_000;
        while self.filled < jobs {
            let more = AT_ONCE.min(jobs - self.filled);
            redis::cmd("EVAL")
                .arg(FILL)
                .arg(4)
                .arg("hotqueue:queue")
                .arg(&["index", "records", "payloads"].map(|key| format!("workerpool:queue:{key}")))
                .arg(more)
                .arg(self.filled)
                .arg("")
                .query::<()>(&mut self.raw)?;
            self.filled += more;
        }
        Ok(())
    }

    /// The cost of a job in submit, claim, renew, give back, finish, claim and finish together, and a turn, which does
    /// both in one call; at so many a call.
    async fn measure(&mut self, batch: usize) -> Result<[Cost; 7]> {
        let mut rows = Vec::new();
        let rounds = (JOBS / batch).min(MAX_ROUNDS);
        for round in 0..rounds {
            let worker = self.workers[round % self.workers.len()].clone();
            // As many as are taken below, so that the depth stays what it is.
            let before = self.spent()?;
            self.submit(3 * batch).await?;
            let submitted = self.spent()?;
            let held = claim(&worker, batch).await?;
            let claimed = self.spent()?;
            finish(&worker, held).await?;
            let finished = self.spent()?;
            let held = claim(&worker, batch).await?;
            let begun = self.spent()?;
            worker.renew(&held).await?;
            let renewed = self.spent()?;
            let held = turn(&worker, held).await?;
            let turned = self.spent()?;
            worker.give_back(&held).await?;
            let returned = self.spent()?;
            finish(&worker, claim(&worker, batch).await?).await?;
            let claim_and_finish = finished - submitted;
            rows.push(
                [
                    (submitted - before) / 3.0,
                    claimed - submitted,
                    renewed - begun,
                    returned - turned,
                    finished - claimed,
                    claim_and_finish,
                    turned - renewed,
                ]
                .map(|time| time / batch as f64),
            );
        }
        Ok(std::array::from_fn(|script| {
            let mut costs: Vec<_> = rows.iter().map(|row: &[f64; 7]| row[script]).collect();
            costs.sort_by(f64::total_cmp);
            Cost {
                least: costs[0],
                median: costs[costs.len() / 2],
            }
        }))
    }

    /// Through the producer, whose submissions share calls as they come.
    async fn submit(&self, jobs: usize) -> Result<()> {
        let all: Vec<_> = (0..jobs)
            .map(|_| {
                let producer = self.producer.clone();
                tokio::spawn(async move { producer.submit(NewJob::new("go!", "stop!")).await })
            })
            .collect();
        for one in all {
            one.await??;
        }
        Ok(())
    }

    /// The time that this server has spent in scripts, in microseconds.
    fn spent(&mut self) -> Result<f64> {
        let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut self.raw)?;
        let scripts = stats.lines().find(|line| line.starts_with("cmdstat_evalsha:"));
        let Some(scripts) = scripts else { return Ok(0.0) };
        scripts
            .split_once("usec=")
            .and_then(|(_, rest)| rest.split(',').next())
            .and_then(|usec| usec.parse().ok())
            .context("no usec in commandstats")
    }
}

async fn claim(worker: &Consumer, jobs: usize) -> Result<Vec<(JobId, Token)>> {
    taken(worker.claim(&Nonce::fresh(), jobs).await?, jobs)
}

async fn finish(worker: &Consumer, held: Vec<(JobId, Token)>) -> Result<()> {
    worker.finish(&complete(held)).await?;
    Ok(())
}

/// Finishes them and claims as many.
async fn turn(worker: &Consumer, held: Vec<(JobId, Token)>) -> Result<Vec<(JobId, Token)>> {
    let jobs = held.len();
    let (_, claims) = worker.turn(&complete(held), &Nonce::fresh(), jobs).await?;
    taken(claims, jobs)
}

fn complete(held: Vec<(JobId, Token)>) -> Vec<Ended> {
    let how = Ending::Complete { result: None };
    let end = |(id, token)| Ended {
        id,
        token,
        how: how.clone(),
    };
    held.into_iter().map(end).collect()
}

fn taken(claims: Claims, jobs: usize) -> Result<Vec<(JobId, Token)>> {
    ensure!(
        claims.jobs.len() == jobs,
        "{} of {jobs} claimed",
        claims.jobs.len()
    );
    let pair = |claimed: Claimed| (claimed.job.id, claimed.token);
    Ok(claims.jobs.into_iter().map(pair).collect())
}
