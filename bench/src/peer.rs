//! Who is compared, and how each is started: the one description that the tables share.
//!
//! A peer is two commands. Its worker's runs until it is killed. Its producer's gets a mode and an amount behind it
//! (`workerpool_bench::produce`) and prints "COUNT SECONDS". Both find `REDIS_PORT`, `MARKS` and `JOB_MS` in the
//! environment and run in bench/peers/python, where Python finds its modules. In both, `{peers}` stands for the folder
//! where bench/peers/install puts the programs, `{ours}` for the folder of ours, `{port}` for Redis' port and `{n}` for
//! the concurrency.
//!
//! Settings are those of the peer's documentation for speed: quiet logs, no result backend where it has none by default.

use std::path::{Path, PathBuf};

/// A queue, as it is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Its name and what is set.
    pub(crate) name: &'static str,
    /// The producer's command, without mode and amount.
    pub(crate) produce: &'static str,
    /// The worker's command.
    pub(crate) work: &'static str,
    /// More environment, for both.
    pub(crate) env: &'static [(&'static str, &'static str)],
    /// Jobs at once in the one worker.
    pub(crate) concurrency: u32,
    /// How many no-op jobs keep its worker busy for some seconds.
    pub(crate) jobs: u32,
    /// Whether it has a way to enqueue many at once.
    pub(crate) bulk: bool,
}

/// A peer runs as its documentation advises where no job may be lost.
const SAFE: &[(&str, &str)] = &[("SAFE", "1")];

/// Celery gives back what a dead worker had not acknowledged after this time and not after an hour.
const PATIENT: &[(&str, &str)] = &[("VISIBILITY_SECONDS", "60")];

const PATIENT_AND_SAFE: &[(&str, &str)] = &[PATIENT[0], SAFE[0]];

/// apalis fetches 100 jobs at once and not 10.
const TUNED: &[(&str, &str)] = &[("TUNED", "1")];

const OURS: Peer = Peer {
    name: "workerpool",
    produce: "{ours}/ours",
    work: "{ours}/ours work {n}",
    env: &[],
    concurrency: 1,
    jobs: 30_000,
    bulk: true,
};

const RQ: Peer = Peer {
    name: "RQ",
    produce: "{peers}/python/bin/python produce.py rq_jobs",
    work: "{peers}/python/bin/rq worker --quiet --url redis://127.0.0.1:{port}/0",
    env: &[],
    concurrency: 1,
    jobs: 400,
    bulk: true,
};

const RQ_SIMPLE: Peer = Peer {
    name: "RQ, SimpleWorker",
    work: "{peers}/python/bin/rq worker --quiet --worker-class rq.SimpleWorker --url redis://127.0.0.1:{port}/0",
    jobs: 1_500,
    ..RQ
};

const CELERY: Peer = Peer {
    name: "Celery, prefork",
    produce: "{peers}/python/bin/python produce.py celery_jobs",
    work: "{peers}/python/bin/celery --app celery_jobs worker --concurrency {n}",
    env: &[],
    concurrency: 2,
    jobs: 5_000,
    bulk: false,
};

const DRAMATIQ: Peer = Peer {
    name: "Dramatiq",
    produce: "{peers}/python/bin/python produce.py dramatiq_jobs",
    work: "{peers}/python/bin/dramatiq --processes 1 --threads {n} dramatiq_jobs",
    env: &[],
    concurrency: 8,
    jobs: 6_000,
    bulk: false,
};

const HUEY: Peer = Peer {
    name: "Huey",
    produce: "{peers}/python/bin/python produce.py huey_jobs",
    work: "{peers}/python/bin/huey_consumer huey_jobs.huey --quiet --workers {n}",
    env: &[],
    concurrency: 8,
    jobs: 10_000,
    bulk: false,
};

const TASKIQ: Peer = Peer {
    name: "taskiq, streams",
    produce: "{peers}/python/bin/python produce.py taskiq_jobs",
    work: "{peers}/python/bin/taskiq worker --workers 1 --log-level WARNING --max-async-tasks {n} taskiq_jobs:broker",
    env: &[],
    concurrency: 100,
    jobs: 12_000,
    bulk: false,
};

const BULLMQ: Peer = Peer {
    name: "BullMQ",
    produce: "node {peers}/node/bullmq.js",
    work: "node {peers}/node/bullmq.js work {n}",
    env: &[],
    concurrency: 1,
    jobs: 25_000,
    bulk: true,
};

const BULLMQ_RUST: Peer = Peer {
    name: "bullmq-official (Rust)",
    produce: "{peers}/rust/release/bullmq",
    work: "{peers}/rust/release/bullmq work {n}",
    jobs: 30_000,
    ..BULLMQ
};

const ASYNQ: Peer = Peer {
    name: "asynq",
    produce: "{peers}/asynq",
    work: "{peers}/asynq work {n}",
    env: &[],
    concurrency: 10,
    jobs: 50_000,
    bulk: false,
};

/// With 8,000 jobs waiting its worker ends at once, with `too many results to unpack`; hence so few.
const APALIS: Peer = Peer {
    name: "apalis",
    produce: "{peers}/rust/release/apalis",
    work: "{peers}/rust/release/apalis work {n}",
    env: &[],
    concurrency: 100,
    jobs: 7_000,
    bulk: true,
};

/// Each at what was its best, and ours, BullMQ and its port at one job at a time too.
pub(crate) const FOR_THROUGHPUT: &[Peer] = &[
    OURS,
    Peer {
        name: "workerpool, 1,000 at once",
        concurrency: 1_000,
        jobs: 200_000,
        ..OURS
    },
    RQ,
    RQ_SIMPLE,
    CELERY,
    DRAMATIQ,
    HUEY,
    TASKIQ,
    BULLMQ,
    Peer {
        name: "BullMQ, 100 at once",
        concurrency: 100,
        jobs: 100_000,
        ..BULLMQ
    },
    BULLMQ_RUST,
    Peer {
        name: "bullmq-official, 100 at once",
        concurrency: 100,
        jobs: 100_000,
        ..BULLMQ_RUST
    },
    ASYNQ,
    Peer {
        name: "apalis, 100 at once, batch 100",
        env: TUNED,
        ..APALIS
    },
];

/// Each at its defaults.
pub(crate) const FOR_LATENCY: &[Peer] = &[
    OURS,
    RQ,
    RQ_SIMPLE,
    CELERY,
    DRAMATIQ,
    HUEY,
    TASKIQ,
    BULLMQ,
    BULLMQ_RUST,
    ASYNQ,
    APALIS,
];

/// Four at once wherever that can be said: enough that a death cuts some.
const AT_ONCE: u32 = 4;

const fn four_at_once(name: &'static str, peer: Peer) -> Peer {
    Peer {
        name,
        concurrency: AT_ONCE,
        ..peer
    }
}

/// Each at its defaults, and as its documentation advises where that is something else.
pub(crate) const FOR_LOSSES: &[Peer] = &[
    four_at_once("workerpool", OURS),
    RQ,
    Peer {
        name: "RQ, retry 3",
        env: SAFE,
        ..RQ
    },
    Peer {
        env: PATIENT,
        ..four_at_once("Celery", CELERY)
    },
    Peer {
        env: PATIENT_AND_SAFE,
        ..four_at_once("Celery, acks late", CELERY)
    },
    four_at_once("Dramatiq", DRAMATIQ),
    four_at_once("Huey", HUEY),
    four_at_once("taskiq, streams", TASKIQ),
    four_at_once("BullMQ", BULLMQ),
    four_at_once("bullmq-official (Rust)", BULLMQ_RUST),
    four_at_once("asynq", ASYNQ),
    four_at_once("apalis", APALIS),
];

/// Those whose name contains `only`; all without it.
pub(crate) fn named(peers: &[Peer], only: Option<&str>) -> Vec<Peer> {
    let wanted = |peer: &&Peer| only.is_none_or(|only| peer.name.contains(only));
    peers.iter().filter(wanted).copied().collect()
}

/// Where the programs lie.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// What bench/peers/install made.
    pub(crate) peers: PathBuf,
    /// Ours, beside this program.
    pub(crate) ours: PathBuf,
}

impl Programs {
    /// A command of the table as arguments.
    pub(crate) fn command(&self, command: &str, port: u16, concurrency: u32) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let fill = |word: &str| {
            word.replace("{peers}", &text(&self.peers))
                .replace("{ours}", &text(&self.ours))
                .replace("{port}", &port.to_string())
                .replace("{n}", &concurrency.to_string())
        };
        command.split_whitespace().map(fill).collect()
    }
}
