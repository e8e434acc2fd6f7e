//! A program that does what its job tells it, for the worker's handler `command`: `chaos-job EFFECTS`.
//!
//! It leaves the end out when it is told to stop: SIGTERM ends it where it stands, like a worker that is killed.

use std::{
    env,
    path::PathBuf,
    process::{self, ExitCode},
    thread,
    time::Duration,
};

use anyhow::Context;
use chaos::{
    effects::{Effects, End},
    work::Work,
};
use rustix::process::{Signal, getppid, kill_process};

fn main() -> anyhow::Result<ExitCode> {
    let path = PathBuf::from(env::args_os().nth(1).context("which file of side effects?")?);
    let (job, attempt) = (env::var("JOB_ID")?, env::var("JOB_ATTEMPT")?.parse()?);
    let effects = Effects::open_for(process::id(), &path)?;
    let number = effects.start(&job, attempt)?;
    let end = work(env::var("JOB_START")?.parse()?, attempt);
    effects.end(number, &job, attempt, end)?;
    Ok(match end {
        End::Done => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn work(work: Work, attempt: u32) -> End {
    match work {
        Work::Sleep(time) => thread::sleep(time),
        Work::Fail(times, time) => {
            thread::sleep(time);
            if attempt <= times {
                return End::Failed;
            }
        }
        Work::Hang => thread::sleep(Duration::MAX),
        Work::Poison => {
            // Its worker, and itself by that.
            let _ = getppid().map(|worker| kill_process(worker, Signal::KILL));
            thread::sleep(Duration::MAX);
        }
    }
    End::Done
}
