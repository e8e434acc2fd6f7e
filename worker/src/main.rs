//! `workerpool-worker`, the stock worker: without settings it does what the original's did; with them it runs any program, or
//! asks any service. See the library beside it.

use std::{io, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};
use telemetry::Shutdown;
use tokio::runtime::Runtime;
use worker::{
    Handler,
    config::{Config, HandlerArgs, HandlerConfig, WorkerArgs},
    copy::copy_to,
    handler::{
        Sleep,
        command::{self, Command, Third, supervisor},
        http::Http,
    },
    program,
};

/// Takes jobs from the queue and runs them.
#[derive(Debug, Parser)]
#[command(name = "workerpool-worker", version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    other: Option<Other>,

    #[command(flatten)]
    worker: WorkerArgs,

    #[command(flatten)]
    handler: HandlerArgs,
}

/// What it does instead.
#[derive(Debug, Subcommand)]
enum Other {
    /// Copy this program to a path, for images that have no cp
    CopyTo {
        /// Where to; what is there is replaced
        path: PathBuf,
    },
}

fn main() -> ExitCode {
    // Before anything else opens a file.
    let third = Third::reserve();
    let Args {
        other,
        worker,
        handler,
    } = Args::parse();
    if let Some(Other::CopyTo { path }) = other {
        return telemetry::ended(copy_to(&path));
    }
    match validate(worker, handler) {
        Ok((config, handler)) => telemetry::ended(start(config, handler, third)),
        Err(error) => telemetry::refused(error),
    }
}

fn validate(worker: WorkerArgs, handler: HandlerArgs) -> anyhow::Result<(Config, HandlerConfig)> {
    let handler = handler.validate()?;
    if let HandlerConfig::Command(settings) = &handler {
        settings.check()?;
    }
    Ok((worker.validate()?, handler))
}

fn start(config: Config, handler: HandlerConfig, third: io::Result<Third>) -> anyhow::Result<ExitCode> {
    // One thread is enough for work that waits, and starts a job sooner than two that wake each other.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    match handler {
        HandlerConfig::Sleep(duration) => run(&runtime, config, || Ok(Sleep { duration })),
        HandlerConfig::Http(settings) => run(&runtime, config, || Ok(Http::new(settings))),
        HandlerConfig::Command(_) if supervisor::is_needed() => runtime.block_on(supervisor::supervise()),
        HandlerConfig::Command(settings) => run(&runtime, config, || command(settings, third?)),
    }
}

fn command(settings: command::Settings, third: Third) -> anyhow::Result<Command> {
    Ok(Command::new(settings, third)?)
}

fn run<H: Handler>(
    runtime: &Runtime,
    config: Config,
    handler: impl FnOnce() -> anyhow::Result<H>,
) -> anyhow::Result<ExitCode> {
    runtime.block_on(async {
        let shutdown = Shutdown::on_signals().context("cannot listen to signals")?;
        supervisor::depend_on(&shutdown)?;
        program::run_until(config, handler()?, shutdown).await
    })?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(flags: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(["workerpool-worker"].iter().chain(flags))
    }

    #[test]
    fn flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn copying_needs_no_settings() {
        let args = parse(&["copy-to", "/a/worker"]).unwrap();
        assert!(matches!(args.other, Some(Other::CopyTo { path }) if path.as_os_str() == "/a/worker"));
        assert!(parse(&["copy-to"]).is_err());
    }

    #[test]
    fn program_of_that_name_is_a_program() {
        let args = parse(&["--redis-address", "redis", "--", "copy-to", "/a"]).unwrap();
        assert!(args.other.is_none());
    }
}
