//! A worker of one's own, that does with a job what the job says:
//!
//! | a job's `start` | what its handler does |
//! |---|---|
//! | `sleep 1.5` | works that long, and stops when told to |
//! | `hang` | works for ever and hears nothing |
//! | `fail TEXT` | fails |
//! | `panic TEXT` | panics |
//! | `later 1.5` | wants to be called again after that time, the first time that this worker has it |
//! | `kill` | kills the whole process |
//! | `finish anyway` | works until it is told to stop, and is done then |
//! | `wait` | works until a job of this worker is `open`, so that all who wait are done in the same moment |
//! | `open` | ends them |
//! | anything else | is done |
//!
//! Or the one of `examples/thumbnail.rs`.
//!
//! A job's `end` may say `until attempt N`: from that attempt on it is done at once.

use std::{
    collections::BTreeSet,
    env,
    future::pending,
    process::{self, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use ::worker::{
    Context, Outcome,
    config::{WorkerArgs, seconds},
    program,
};
use clap::Parser;
use queue::JobId;
use tokio::{runtime::Builder, sync::Semaphore, time::sleep};

use crate::thumbnail::thumbnail;

/// What jobs that `wait` wait at.
static GATE: Semaphore = Semaphore::const_new(0);

/// Set in the process that is the worker: which handler it has.
const MARK: &str = "WORKERPOOL_TEST_SCRIPTED";

/// The worker: this very program, told to run but the test below. A program of its own might be an old one: cargo builds
/// examples for some of its test commands only.
pub(crate) fn command(handler: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "scripted::worker", "--nocapture"])
        .env(MARK, handler)
        .stdout(Stdio::null());
    command
}

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    worker: WorkerArgs,
}

/// No test, unless the mark is set: then it works until it is told to stop.
#[test]
fn worker() {
    let Ok(handler) = env::var(MARK) else {
        return;
    };
    let config = Args::parse_from(["scripted"]).worker.validate().unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    match handler.as_str() {
        "thumbnail" => runtime.block_on(program::run(config, thumbnail)).unwrap(),
        _ => runtime.block_on(program::run(config, play)).unwrap(),
    }
}

async fn play(context: Context) -> Outcome {
    let until = context.job.end.strip_prefix("until attempt ");
    if until
        .and_then(|until| until.parse().ok())
        .is_some_and(|until: u32| context.attempt >= until)
    {
        return Outcome::Done;
    }
    let (verb, rest) = context
        .job
        .start
        .split_once(' ')
        .unwrap_or((&context.job.start, ""));
    match verb {
        "sleep" => {
            let work = sleep(time(rest));
            match context.stop.run_until_cancelled(work).await {
                Some(()) => Outcome::Done,
                None => Outcome::Stopped,
            }
        }
        "hang" => pending().await,
        "fail" => Outcome::failed(rest),
        "panic" => panic!("{rest}"),
        "later" if is_new(context.job.id) => Outcome::Later { after: time(rest) },
        "kill" => process::abort(),
        "finish" => {
            context.stop.cancelled().await;
            Outcome::Done
        }
        "wait" => {
            // It has no permits: this ends with an error, once it is closed.
            let _ = GATE.acquire().await;
            Outcome::Done
        }
        "open" => {
            GATE.close();
            Outcome::Done
        }
        _ => Outcome::Done,
    }
}

/// Whether this worker has not had it yet.
fn is_new(id: JobId) -> bool {
    static HAD: Mutex<BTreeSet<JobId>> = Mutex::new(BTreeSet::new());
    HAD.lock().unwrap().insert(id)
}

fn time(text: &str) -> Duration {
    seconds(text).unwrap_or_default()
}
