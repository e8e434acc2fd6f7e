//! A worker whose handler writes elsewhere what it does, and does what its job tells it.

use std::{future::pending, io, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use axum::http::Uri;
use chaos::{
    effects::{Effects, End},
    work::Work,
};
use clap::Parser;
use queue::JobResult;
use telemetry::Shutdown;
use tokio::{runtime::Builder, time::sleep};
use worker::{
    Context, Handler, Outcome, StopReason,
    config::{Config, WorkerArgs},
    handler::{
        command::{self, Command, StdinContent, Third, supervisor},
        http::{self, Http},
    },
    program,
};

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    worker: WorkerArgs,

    /// In place of whole seconds
    #[arg(long)]
    lease_ms: u64,

    /// In place of whole seconds
    #[arg(long)]
    grace_ms: u64,

    /// The file of this process's side effects
    #[arg(long)]
    effects: PathBuf,

    /// What does a job's work: told where the side effects go
    #[arg(long)]
    program: Option<PathBuf>,

    /// Who does it
    #[arg(long, value_parser = http::url, conflicts_with = "program")]
    service: Option<Uri>,
}

struct Told {
    effects: Effects,
}

impl Handler for Told {
    async fn handle(&self, context: Context) -> Outcome {
        let (job, attempt) = (context.job.id.as_str(), context.attempt);
        let number = match self.effects.start(job, attempt) {
            Ok(number) => number,
            Err(error) => return Outcome::failed(error),
        };
        let end = work(&context).await;
        match self.effects.end(number, job, attempt, end) {
            Ok(()) => outcome(end),
            Err(error) => Outcome::failed(error),
        }
    }
}

async fn work(context: &Context) -> End {
    let Ok(work) = context.job.start.parse::<Work>() else {
        return End::Failed;
    };
    let work = async {
        match work {
            Work::Sleep(time) => sleep(time).await,
            Work::Fail(times, time) => {
                sleep(time).await;
                if context.attempt <= times {
                    return End::Failed;
                }
            }
            Work::Hang => pending().await,
            Work::Poison => std::process::abort(),
        }
        End::Done
    };
    match context.stop.run_until_cancelled(work).await {
        Some(end) => end,
        None => match context.stop_reason() {
            Some(StopReason::Cancelled) => End::Cancelled,
            Some(StopReason::TimedOut) => End::TimedOut,
            Some(StopReason::Shutdown) => End::Shutdown,
            Some(StopReason::Lost) | None => End::Lost,
        },
    }
}

fn outcome(end: End) -> Outcome {
    match end {
        End::Done => Outcome::Done,
        End::Failed => Outcome::failed("as its job told it to"),
        End::Lost | End::Cancelled | End::TimedOut | End::Shutdown => Outcome::Stopped,
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let third = Third::reserve();
    let args = Args::parse();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    if args.program.is_some() && supervisor::is_needed() {
        return runtime.block_on(supervisor::supervise());
    }
    runtime.block_on(async {
        let shutdown = Shutdown::on_signals()?;
        supervisor::depend_on(&shutdown)?;
        work_until(args, third, shutdown).await
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn work_until(args: Args, third: io::Result<Third>, shutdown: Shutdown) -> anyhow::Result<()> {
    let (effects, grace) = (args.effects, Duration::from_millis(args.grace_ms));
    let config = config(args.worker, Duration::from_millis(args.lease_ms), grace)?;
    if let Some(program) = args.program {
        let settings = command::Settings {
            argv: vec![program.into(), effects.into()],
            stdin: StdinContent::default(),
            kill_grace: grace,
            max_result: JobResult::MAX_BODY,
        };
        return program::run_until(config, Command::new(settings, third?)?, shutdown).await;
    }
    if let Some(url) = args.service {
        let settings = http::Settings {
            url,
            ready_url: None,
            max_result: JobResult::MAX_BODY,
        };
        return program::run_until(config, Http::new(settings), shutdown).await;
    }
    let effects = Effects::open(&effects).with_context(|| effects.display().to_string())?;
    program::run_until(config, Told { effects }, shutdown).await
}

fn config(worker: WorkerArgs, lease: Duration, grace: Duration) -> anyhow::Result<Config> {
    let mut config = worker.validate()?;
    config.settings.grace = grace;
    config.settings.lease.duration = lease;
    config.access.terms.lease = config.settings.lease;
    // Short: a run is to end soon after its last fault.
    config.access.terms.retry.backoff.base = lease / 10;
    config.access.terms.retry.backoff.cap = lease;
    Ok(config)
}
