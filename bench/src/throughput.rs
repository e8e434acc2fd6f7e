//! No-op jobs per second of one worker process, and how fast one producer enqueues; with and without Redis' append-only
//! file. The peers take turns, so that the machine's drift meets all of them.

use std::time::Duration;

use anyhow::{Context, bail};
use redis::aio::MultiplexedConnection;
use workerpool_bench::marks::Phase;

use crate::peer::{self, FOR_THROUGHPUT, Peer, Programs};
use crate::stage::Stage;
use crate::stats::Spread;

/// How Redis keeps what it is told, as on its command line. Without rewrites of the file, which would come in the middle
/// of some runs and not of others.
const DURABILITIES: [(&str, &[&str]); 3] = [
    ("no AOF", &["--save", "", "--appendonly", "no"]),
    ("AOF, appendfsync everysec", &aof("everysec")),
    ("AOF, appendfsync always", &aof("always")),
];

const fn aof(fsync: &str) -> [&str; 8] {
    [
        "--save",
        "",
        "--appendonly",
        "yes",
        "--auto-aof-rewrite-percentage",
        "0",
        "--appendfsync",
        fsync,
    ]
}

/// Seconds of enqueueing one by one.
const ONE_BY_ONE: u32 = 1;

/// A worker that has not begun by then never will.
const START: Duration = Duration::from_secs(30);

/// One run is this long at most, whatever is still waiting.
const RUN: Duration = Duration::from_secs(3);

/// One run of one peer.
struct Rates {
    one_by_one: f64,
    bulk: f64,
    processed: f64,
    worker_us: f64,
    redis_us: f64,
}

/// Prints a table for each durability.
pub(crate) async fn measure(rounds: usize, only: Option<&str>, programs: &Programs) -> anyhow::Result<()> {
    let peers = peer::named(FOR_THROUGHPUT, only);
    for (durability, settings) in DURABILITIES {
        let mut rates: Vec<Vec<Rates>> = peers.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for (peer, rates) in peers.iter().zip(&mut rates) {
                match run(*peer, programs, settings).await {
                    Ok(run) => rates.push(run),
                    Err(error) => println!("{}: no figure: {error:#}", peer.name),
                }
            }
        }
        println!("{durability}: min / median / max of {rounds}");
        println!("| | enqueued/s, one by one | in bulk | processed/s | CPU µs a job: worker | Redis |");
        println!("|---|---|---|---|---|---|");
        for (peer, rates) in peers.iter().zip(&rates) {
            println!("{}", row(peer, rates));
        }
    }
    Ok(())
}

fn row(peer: &Peer, rates: &[Rates]) -> String {
    let spread = |value: fn(&Rates) -> f64| Spread::new(rates.iter().map(value).collect(), "").extremes();
    let bulk = if peer.bulk {
        spread(|r| r.bulk)
    } else {
        "–".to_owned()
    };
    format!(
        "| {} | {} | {bulk} | {} | {} | {} |",
        peer.name,
        spread(|r| r.one_by_one),
        spread(|r| r.processed),
        spread(|r| r.worker_us),
        spread(|r| r.redis_us),
    )
}

async fn run(peer: Peer, programs: &Programs, settings: &[&str]) -> anyhow::Result<Rates> {
    let one_by_one = Stage::set(peer, programs, settings, Duration::ZERO)?
        .produce("one", ONE_BY_ONE)
        .await?;
    let stage = Stage::set(peer, programs, settings, Duration::ZERO)?;
    let bulk = stage.produce("bulk", peer.jobs).await?;
    let mut redis = stage.connect().await?;
    let worker = stage.work()?;
    if !stage.count_reaches(1, START).await? {
        bail!("{} does no job: {}", peer.name, stage.log());
    }
    let before = (worker.cpu_time()?, redis_cpu_time(&mut redis).await?);
    stage.count_reaches(usize::try_from(peer.jobs)?, RUN).await?;
    let after = (worker.cpu_time()?, redis_cpu_time(&mut redis).await?);
    let (count, processed) = rate(&stage)?;
    let per_job = |before: Duration, after: Duration| (after - before).as_secs_f64() * 1e6 / count;
    worker.kill().await?;
    Ok(Rates {
        one_by_one: one_by_one.per_second(),
        bulk: bulk.per_second(),
        processed,
        worker_us: per_job(before.0, after.0),
        redis_us: per_job(before.1, after.1),
    })
}

/// How many jobs have begun, and how many a second from the first to the last.
fn rate(stage: &Stage) -> anyhow::Result<(f64, f64)> {
    let marks = stage.marks()?;
    let begun = || {
        marks
            .iter()
            .filter(|mark| mark.is(Phase::Started))
            .map(|mark| mark.at_ns)
    };
    let (first, last) = begun().min().zip(begun().max()).context("no job has begun")?;
    let count = begun().count() as f64;
    Ok((count, (count - 1.0) / ((last - first) as f64 / 1e9)))
}

/// What Redis has used of a CPU so far.
async fn redis_cpu_time(redis: &mut MultiplexedConnection) -> anyhow::Result<Duration> {
    let info: String = redis::cmd("INFO").arg("cpu").query_async(redis).await?;
    let field = |name: &str| -> anyhow::Result<f64> {
        let value = info.lines().find_map(|line| line.strip_prefix(name));
        Ok(value.with_context(|| format!("INFO without {name}"))?.parse()?)
    };
    Ok(Duration::from_secs_f64(
        field("used_cpu_user:")? + field("used_cpu_sys:")?,
    ))
}
