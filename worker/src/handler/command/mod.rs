//! A program per job.
//!
//! Where to look: `program` (starts it, tells it its job), `children` (its group, its end, what it leaves behind), `pipe`
//! and `lines` (reading from it), `output` (its result, its log), `reports` (its descriptor 3, which [`Third`] makes),
//! `content_type`, `find` (where it lies), `failure` and `shortage` (it cannot be started), [`supervisor`] (what ends programs
//! whose worker was killed). docs/handlers.md says what a user needs to know.

mod children;
mod content_type;
mod failure;
mod find;
mod lines;
mod output;
mod pipe;
mod program;
mod reports;
mod shortage;
pub mod supervisor;
mod third;

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    path::PathBuf,
    process::ExitStatus,
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use queue::{JobId, JobResult};
use rustix::process::Signal;
pub use third::Third;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::{
    children::{Children, Leader},
    output::TooLong,
    program::Program,
    shortage::Shortage,
};
use super::{Context, Handler, Outcome, STOP_PATIENCE, StopReason};

/// By this exit code a program says: not now, and nobody's fault. From BSD's `sysexits.h`.
const EX_TEMPFAIL: i32 = 75;

/// When a job comes back whose program said so.
const TEMPFAIL_PAUSE: Duration = Duration::from_secs(5);

/// Runs a program for each job.
///
/// It reaps every child of its process, and kills those that it does not know: start none of your own beside it.
#[derive(Debug)]
pub struct Command {
    path: PathBuf,
    /// The program's name and its arguments.
    argv: Vec<OsString>,
    /// The variables that it does not get.
    hidden: Vec<OsString>,
    stdin: StdinContent,
    kill_grace: Duration,
    max_result: usize,
    children: Children,
    shortage: Shortage,
    start_failures: Family<ReasonLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Standard input of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum StdinContent {
    /// The job, as one line of JSON
    #[default]
    Job,
    /// Nothing, for programs that take what they read for key presses or for data; the payload is in JOB_PAYLOAD
    Empty,
}

/// Which program, and what it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The program, looked up on the `PATH` unless it is a path, and its arguments.
    pub argv: Vec<OsString>,
    /// The program's standard input.
    pub stdin: StdinContent,
    /// From SIGTERM to SIGKILL.
    pub kill_grace: Duration,
    /// The longest result, in bytes.
    pub max_result: usize,
}

/// Programs cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such program.
    #[error("there is no program {0:?} that may be run: give its path, or a name that is on the PATH")]
    NotFound(OsString),
    /// A script cannot be run by what its first line says.
    #[error(
        "the script {} is for the interpreter {interpreter:?}, which is not there or may not be run: install it in the \
         image, or correct the script's first line",
        script.display()
    )]
    NoInterpreter {
        /// The script.
        script: PathBuf,
        /// The interpreter in its first line.
        interpreter: PathBuf,
    },
    /// The operating system refuses what is needed to look after programs.
    #[error("cannot look after programs: {0}")]
    Io(#[from] io::Error),
}

impl Settings {
    /// Looks for the program and its interpreter.
    ///
    /// # Errors
    /// If it is not, or its interpreter.
    pub fn check(&self) -> Result<(), Error> {
        find::find(self.name()).map(|_| ())
    }

    fn name(&self) -> &OsStr {
        self.argv.first().map(OsString::as_os_str).unwrap_or_default()
    }
}

impl Command {
    /// Makes one. Needs a tokio runtime; at most one in a process.
    ///
    /// # Errors
    /// As [`Settings::check`], and if the operating system refuses what is needed.
    pub fn new(settings: Settings, third: Third) -> Result<Self, Error> {
        let path = find::find(settings.name())?;
        let Settings {
            argv,
            stdin,
            kill_grace,
            max_result,
        } = settings;
        Ok(Self {
            path,
            argv,
            stdin,
            hidden: program::hidden(env::vars_os().map(|(name, _)| name)),
            kill_grace,
            max_result,
            children: Children::look_after(third)?,
            shortage: Shortage::new(),
            start_failures: Family::default(),
        })
    }

    /// The outcome of a job whose program cannot be started.
    fn not_started(&self, job: &JobId, error: &io::Error) -> Outcome {
        let is_shortage = failure::is_shortage(error);
        let reason = if is_shortage { "shortage" } else { "program" };
        self.start_failures.get_or_create(&ReasonLabel { reason }).inc();
        if is_shortage && self.shortage.put_off(job, error, Instant::now()) {
            tracing::warn!(%job, %error, "the program cannot be started; the job waits");
            return Outcome::Later {
                after: shortage::PAUSE,
            };
        }
        Outcome::failed(failure::reason(&self.path, error))
    }

    async fn run(&self, program: Program, context: &Context) -> Outcome {
        let Program {
            mut leader,
            stdin,
            stdout,
            stderr,
            reports,
            ended,
        } = program;
        let too_long = CancellationToken::new();
        let feed = async {
            if let Some(stdin) = stdin {
                ended.run_until_cancelled(stdin.write()).await;
            }
        };
        let read = async {
            let result = output::result(stdout, self.max_result).await;
            if result.is_err() {
                too_long.cancel();
            }
            result
        };
        let end = async {
            let status = self.end(&mut leader, &context.stop, &too_long).await;
            ended.cancel();
            status
        };
        let errors = output::errors(stderr, &context.job.id);
        let reports = reports::follow(reports, context);
        let (status, (), result, errors, content_type) = tokio::join!(end, feed, read, errors, reports);
        let told = context.stop_reason();
        match (status, result) {
            (None, _) => Outcome::Stopped,
            (_, Err(TooLong)) => Outcome::failed(format_args!(
                "its result is longer than {} bytes (WORKERPOOL_RESULT_MAX_BYTES), so it was stopped",
                self.max_result
            )),
            (Some(status), Ok(_)) if !status.success() => unsuccessful(status, &errors, told),
            (Some(_), Ok(body)) if body.is_empty() => Outcome::Done,
            (Some(_), Ok(body)) => done(content_type, body),
        }
    }

    /// Waits for the leader's end, and sees to it when it must end.
    async fn end(
        &self,
        leader: &mut Leader,
        stop: &CancellationToken,
        too_long: &CancellationToken,
    ) -> Option<ExitStatus> {
        tokio::select! {
            biased;
            status = leader.ended() => return status,
            () = stop.cancelled() => {}
            () = too_long.cancelled() => {}
        }
        leader.signal(Signal::TERM);
        tokio::select! {
            biased;
            status = leader.ended() => return status,
            () = sleep(self.kill_grace) => {}
        }
        leader.signal(Signal::KILL);
        leader.ended().await
    }
}

impl Handler for Command {
    async fn handle(&self, context: Context) -> Outcome {
        match Program::start(self, &context) {
            Ok(program) => {
                self.shortage.started(&context.job.id);
                self.run(program, &context).await
            }
            Err(error) => self.not_started(&context.job.id, &error),
        }
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "worker_program_start_failures",
            "Programs that could not be started: for a shortage of memory, processes or open files, or for what is wrong \
             with the program",
            self.start_failures.clone(),
        );
    }

    fn warnings(&self) -> Vec<String> {
        self.shortage.warnings.check()()
    }

    fn stop_patience(&self) -> Duration {
        self.kill_grace.saturating_add(STOP_PATIENCE)
    }
}

fn done(told: Option<String>, body: Vec<u8>) -> Outcome {
    let known = content_type::of(&body);
    match JobResult::new(told.unwrap_or_else(|| known.to_owned()), body) {
        Ok(result) => Outcome::DoneWith(result),
        Err(error) => Outcome::failed(format_args!("its result cannot be kept: {error}")),
    }
}

/// How a program ended that did not end well, its reason to stop if it was told to.
fn unsuccessful(status: ExitStatus, errors: &str, told: Option<StopReason>) -> Outcome {
    if status.code() == Some(EX_TEMPFAIL) {
        return Outcome::Later {
            after: TEMPFAIL_PAUSE,
        };
    }
    match told {
        None | Some(StopReason::TimedOut) if errors.is_empty() => Outcome::failed(status),
        None | Some(StopReason::TimedOut) => Outcome::failed(format_args!("{status}: {errors}")),
        Some(StopReason::Lost | StopReason::Cancelled | StopReason::Shutdown) => Outcome::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    const KILLED: i32 = 9;

    fn exit(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    #[test]
    fn error_says_which_code_or_signal_and_ends_with_what_the_program_said() {
        let failed = |status, errors| unsuccessful(status, errors, None);
        assert_eq!(failed(exit(3), ""), Outcome::failed("exit status: 3"));
        assert_eq!(failed(exit(3), "boom"), Outcome::failed("exit status: 3: boom"));
        let killed = ExitStatus::from_raw(KILLED);
        assert_eq!(failed(killed, ""), Outcome::failed("signal: 9 (SIGKILL)"));
    }

    #[test]
    fn program_that_was_told_to_stop_has_failed_only_if_its_time_was_up() {
        let told = |reason| unsuccessful(ExitStatus::from_raw(KILLED), "", Some(reason));
        assert!(matches!(told(StopReason::TimedOut), Outcome::Failed { .. }));
        for reason in [StopReason::Lost, StopReason::Cancelled, StopReason::Shutdown] {
            assert_eq!(told(reason), Outcome::Stopped);
        }
    }

    #[test]
    fn tempfail_is_no_failure() {
        let later = Outcome::Later {
            after: TEMPFAIL_PAUSE,
        };
        assert_eq!(unsuccessful(exit(EX_TEMPFAIL), "boom", None), later);
    }

    #[test]
    fn settings_of_the_worker_are_not_the_programs() {
        let names = ["PATH", "WORKERPOOL_REDIS_PASSWORD", "REDIS_IP", "XWORKERPOOL_"];
        let hidden = program::hidden(names.into_iter().map(OsString::from));
        assert_eq!(hidden, ["WORKERPOOL_REDIS_PASSWORD"]);
    }
}
