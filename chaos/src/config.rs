//! The program's flags.

use std::{path::PathBuf, time::Duration};

use clap::Parser;
use telemetry::LogArgs;

use crate::faults::Kind;

/// When Redis forces its log to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fsync {
    /// Before it answers: a power cut takes nothing that was acknowledged.
    Always,
    /// Once a second: a power cut takes up to the last second.
    Everysec,
}

impl Fsync {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Everysec => "everysec",
        }
    }
}

/// Who does the jobs' work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Work {
    /// The worker itself.
    Inside,
    /// A program for each job.
    Command,
    /// A service beside each worker.
    Http,
}

/// Attacks the queue and counts what is lost or done twice.
#[derive(Clone, Debug, Parser)]
#[command(name = "workerpool-chaos", version)]
pub struct Args {
    /// What this program logs, beside its table
    #[command(flatten)]
    pub log: LogArgs,

    /// Jobs that clients submit over HTTP
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub jobs: u64,

    /// Fixes the jobs and the schedule of faults
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Which faults strike; all if absent
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND,…")]
    pub faults: Option<Vec<Kind>>,

    /// No faults at all: what the run takes by itself
    #[arg(long, conflicts_with = "faults")]
    pub calm: bool,

    /// Only jobs that succeed: none that fail, hang, or take their worker with them
    #[arg(long)]
    pub plain: bool,

    /// The mean time between two faults, in milliseconds
    #[arg(long, value_name = "MS", default_value = "600", value_parser = milliseconds)]
    pub every_ms: Duration,

    /// Who does the work: it is the same, and so is what it leaves behind
    #[arg(long, value_enum, default_value = "inside")]
    pub handler: Work,

    /// Worker processes
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=200))]
    pub workers: u8,

    /// Jobs at once in each worker
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub concurrency: u32,

    /// The workers' lease in milliseconds
    #[arg(long, value_name = "MS", default_value = "2000", value_parser = milliseconds)]
    pub lease_ms: Duration,

    /// How long a job may take, in milliseconds
    #[arg(long, value_name = "MS", default_value = "6000", value_parser = milliseconds)]
    pub job_timeout_ms: Duration,

    /// The workers' grace time in milliseconds
    #[arg(long, value_name = "MS", default_value = "300", value_parser = milliseconds)]
    pub grace_ms: Duration,

    /// How often a job may fail or time out
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub max_attempts: u32,

    /// How often a job may lose its worker; more than in a usual set-up, because here that is no fault of the job
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub max_lost: u32,

    /// Clients that submit at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub clients: u64,

    /// Jobs that all clients together submit in a second, at most
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: u64,

    /// When Redis forces its log to the disk
    #[arg(long, value_enum, default_value = "always")]
    pub fsync: Fsync,

    /// How long the whole run may take, in seconds, before it is counted as it is
    #[arg(long, value_name = "SECONDS", default_value = "1800", value_parser = seconds)]
    pub time_limit: Duration,

    /// A new folder, where all that is left behind is kept; otherwise it is removed unless a promise was broken
    #[arg(long, value_name = "FOLDER")]
    pub keep: Option<PathBuf>,
}

impl Args {
    /// The kinds of faults that strike.
    pub fn kinds(&self) -> Vec<Kind> {
        if self.calm {
            return Vec::new();
        }
        let all = <Kind as clap::ValueEnum>::value_variants;
        self.faults.clone().unwrap_or_else(|| all().to_vec())
    }
}

impl Args {
    /// Whether nothing of the run may have a job executed again.
    pub fn executes_once(&self) -> bool {
        self.plain && self.kinds().iter().all(|kind| kind.cuts_nothing())
    }

    /// Whether nothing of the run may cost a job one of its chances.
    pub fn spares_jobs(&self) -> bool {
        self.plain && self.kinds().iter().all(|kind| kind.spares_jobs())
    }
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    number(text).map(Duration::from_millis)
}

fn seconds(text: &str) -> Result<Duration, String> {
    number(text).map(Duration::from_secs)
}

fn number(text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| format!("{text:?} is no positive number"))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, ValueEnum};

    use super::*;

    #[test]
    fn flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn all_faults_strike_unless_some_are_named() {
        let kinds = |flags: &[&str]| Args::parse_from([&["chaos"], flags].concat()).kinds();
        assert_eq!(kinds(&[]), Kind::value_variants());
        assert_eq!(kinds(&["--faults", "kill,freeze"]), [Kind::Kill, Kind::Freeze]);
        assert_eq!(kinds(&["--calm"]), []);
    }
}
