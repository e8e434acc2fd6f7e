//! The settings of a worker: flags, each with its environment variable, checked once at the start.

mod handler;

use std::{
    fs,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use queue::{
    Backoff, Consumer, Identity, Lease, Nonce, Queue, QueueName, Retention, Retry, Serializer, Server, Terms,
};
use telemetry::{Logs, TelemetryArgs};

pub use self::handler::{HandlerArgs, HandlerConfig};
use crate::Settings;

/// A worker's settings: flatten them into a program's arguments with `#[command(flatten)]`.
#[derive(Debug, clap::Args)]
#[command(mut_args(telemetry::ignore_empty_variable))]
pub struct WorkerArgs {
    #[command(flatten)]
    redis: queue::RedisArgs,

    /// The names of several queues on that Redis, with commas between, in the place of --queue
    #[arg(
        long,
        env = "WORKERPOOL_QUEUES",
        value_name = "NAME,…",
        value_delimiter = ',',
        value_parser = queue_name
    )]
    queues: Vec<QueueName>,

    /// How items are written to each of --queues, in their order, where that is not the same for all: in the place of
    /// --queue-serializer
    #[arg(
        long,
        env = "WORKERPOOL_QUEUE_SERIALIZERS",
        value_name = "SERIALIZER,…",
        value_delimiter = ',',
        value_parser = serializer
    )]
    queue_serializers: Vec<Serializer>,

    #[command(flatten)]
    telemetry: TelemetryArgs,

    /// What to write into a job's field `worker`; the host's name if absent
    #[arg(long, env = "WORKER_IP", value_name = "IP")]
    worker_ip: Option<String>,

    /// The pod's UID, by which the operator asks for it to be idle before it goes
    #[arg(long, env = "WORKERPOOL_POD_UID", value_name = "UID")]
    pod_uid: Option<String>,

    /// The pod's name, for people
    #[arg(long, env = "WORKERPOOL_POD_NAME", value_name = "NAME")]
    pod_name: Option<String>,

    /// Jobs at once, of all queues together
    #[arg(long, env = "WORKERPOOL_CONCURRENCY", value_name = "N", default_value_t = NonZeroU32::MIN)]
    concurrency: NonZeroU32,

    /// How long a job is held without a sign of life before another worker may have it
    #[arg(
        long,
        env = "WORKERPOOL_LEASE_SECONDS",
        value_name = "SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(1..=86_400)
    )]
    lease_seconds: u32,

    /// How long running jobs may go on after SIGTERM before they are given back
    #[arg(
        long,
        env = "WORKERPOOL_GRACE_SECONDS",
        value_name = "SECONDS",
        default_value_t = 25
    )]
    grace_seconds: u32,

    /// How long an attempt at a job may take; past that it has failed. Unbounded if absent
    #[arg(
        long,
        env = "WORKERPOOL_JOB_TIMEOUT_SECONDS",
        value_name = "SECONDS",
        value_parser = positive_seconds
    )]
    job_timeout_seconds: Option<Duration>,

    #[command(flatten)]
    retry: RetryArgs,

    #[command(flatten)]
    retention: RetentionArgs,

    /// Put jobs back that a worker of another program took and lost. They may run twice
    #[arg(long, env = "WORKERPOOL_RECOVER_FOREIGN")]
    recover_foreign: bool,
}

#[derive(Debug, clap::Args)]
struct RetryArgs {
    /// How often a job may fail or time out before it is dead
    #[arg(long, env = "WORKERPOOL_MAX_ATTEMPTS", value_name = "N", default_value = "3")]
    max_attempts: NonZeroU32,

    /// How often a job's worker may be lost before the job is dead
    #[arg(long, env = "WORKERPOOL_MAX_LOST", value_name = "N", default_value = "3")]
    max_lost: NonZeroU32,

    /// The longest wait before the second attempt; it doubles with each one, and what is waited is drawn from below it
    #[arg(
        long,
        env = "WORKERPOOL_BACKOFF_BASE_SECONDS",
        value_name = "SECONDS",
        default_value = "1",
        value_parser = seconds
    )]
    backoff_base_seconds: Duration,

    /// The longest wait before any attempt
    #[arg(
        long,
        env = "WORKERPOOL_BACKOFF_CAP_SECONDS",
        value_name = "SECONDS",
        default_value = "300",
        value_parser = seconds
    )]
    backoff_cap_seconds: Duration,
}

#[derive(Debug, clap::Args)]
struct RetentionArgs {
    /// How long a job that is complete or cancelled is kept; 0 is for ever
    #[arg(
        long,
        env = "WORKERPOOL_RETENTION_SECONDS",
        value_name = "SECONDS",
        default_value_t = 7 * DAY
    )]
    retention_seconds: u64,

    /// How long a dead job is kept; 0 is for ever
    #[arg(
        long,
        env = "WORKERPOOL_DEAD_RETENTION_SECONDS",
        value_name = "SECONDS",
        default_value_t = 90 * DAY
    )]
    dead_retention_seconds: u64,
}

/// In seconds.
const DAY: u64 = 24 * 60 * 60;

/// The settings, checked.
#[derive(Debug)]
pub struct Config {
    /// What is logged, and how.
    pub logs: Logs,
    /// Where health and metrics are served.
    pub telemetry_address: SocketAddr,
    /// Where the jobs are.
    pub access: Access,
    /// How the worker works.
    pub settings: Settings,
}

/// How to take jobs.
#[derive(Debug, Clone)]
pub struct Access {
    /// Where Redis is.
    pub server: Server,
    /// The queues on it.
    pub queues: Vec<Queue>,
    /// Who this worker is.
    pub identity: Identity,
    /// How jobs are held, tried again and kept.
    pub terms: Terms,
}

impl WorkerArgs {
    /// Checks the settings and reads the files that they name.
    ///
    /// # Errors
    /// With a sentence that says which setting is wrong and what it should be.
    pub fn validate(self) -> anyhow::Result<Config> {
        let (server, queue) = self.redis.resolve()?;
        let queues = all_queues(&queue, self.queues, &self.queue_serializers)?;
        let host = host_name();
        let ip = self.worker_ip.or_else(|| host.clone()).context(
            "who is this worker? Set WORKER_IP, or give --worker-ip: the host has no name to fall back on",
        )?;
        let terms = Terms {
            lease: Lease {
                duration: Duration::from_secs(self.lease_seconds.into()),
            },
            retry: self.retry.validate()?,
            retention: self.retention.into(),
        };
        Ok(Config {
            logs: self.telemetry.logs.validate()?,
            telemetry_address: self.telemetry.telemetry_address,
            settings: Settings {
                concurrency: self.concurrency,
                lease: terms.lease,
                grace: Duration::from_secs(self.grace_seconds.into()),
                job_timeout: self.job_timeout_seconds,
                recover_foreign: self.recover_foreign,
            },
            access: Access {
                server,
                queues,
                identity: Identity {
                    nonce: Nonce::fresh(),
                    pod_uid: self.pod_uid,
                    pod_name: self.pod_name,
                    ip,
                    host,
                },
                terms,
            },
        })
    }
}

impl Access {
    /// New connections to each of the queues; does not wait for Redis.
    ///
    /// # Errors
    /// For settings that cannot work.
    pub fn consumers(&self) -> queue::Result<Vec<Consumer>> {
        let consumer =
            |queue: &Queue| Consumer::new(&self.server, queue.clone(), self.identity.clone(), self.terms);
        self.queues.iter().map(consumer).collect()
    }

    /// Whether Redis answers on a connection that is made for this.
    ///
    /// # Errors
    /// Any that says why it does not.
    pub async fn ping(&self) -> queue::Result<()> {
        match self.consumers()?.first() {
            Some(consumer) => consumer.ping().await,
            None => Ok(()),
        }
    }
}

/// Those that are named, or the one.
fn all_queues(one: &Queue, names: Vec<QueueName>, serializers: &[Serializer]) -> anyhow::Result<Vec<Queue>> {
    ensure!(
        serializers.is_empty() || serializers.len() == names.len(),
        "{} serializers in --queue-serializers (WORKERPOOL_QUEUE_SERIALIZERS) for {} queues in --queues \
         (WORKERPOOL_QUEUES): give one for each",
        serializers.len(),
        names.len()
    );
    if names.is_empty() {
        return Ok(vec![one.clone()]);
    }
    let twice = names
        .iter()
        .enumerate()
        .find(|(nth, name)| names[..*nth].contains(name));
    if let Some((_, name)) = twice {
        bail!(
            "the queue {} stands twice in --queues (WORKERPOOL_QUEUES): name each once",
            name.as_str()
        );
    }
    let queue = |(nth, name)| Queue {
        name,
        serializer: serializers.get(nth).copied().unwrap_or(one.serializer),
        ..one.clone()
    };
    Ok(names.into_iter().enumerate().map(queue).collect())
}

fn serializer(text: &str) -> queue::Result<Serializer> {
    text.trim().parse()
}

fn queue_name(text: &str) -> queue::Result<QueueName> {
    text.trim().parse()
}

impl RetryArgs {
    fn validate(self) -> anyhow::Result<Retry> {
        let (base, cap) = (self.backoff_base_seconds, self.backoff_cap_seconds);
        ensure!(
            base <= cap,
            "the first wait between attempts (--backoff-base-seconds, WORKERPOOL_BACKOFF_BASE_SECONDS: {base:?}) is \
             longer than the longest (--backoff-cap-seconds, WORKERPOOL_BACKOFF_CAP_SECONDS: {cap:?}): lower the first \
             or raise the second",
        );
        Ok(Retry {
            max_attempts: self.max_attempts.get(),
            max_lost: self.max_lost.get(),
            backoff: Backoff { base, cap },
        })
    }
}

impl From<RetentionArgs> for Retention {
    fn from(args: RetentionArgs) -> Self {
        let kept = |seconds| NonZeroU64::new(seconds).map(|seconds| Duration::from_secs(seconds.get()));
        Self {
            finished: kept(args.retention_seconds),
            dead: kept(args.dead_retention_seconds),
        }
    }
}

/// Reads a time from a text: a number of seconds, with a fraction or without.
///
/// # Errors
/// If it is none, or a negative one.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| format!("{text:?} is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn positive_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("no job can be done in no time; leave it out to set no bound".to_owned()),
        time => Ok(time),
    }
}

fn host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        worker: WorkerArgs,
    }

    fn parse(flags: &[&str]) -> Result<WorkerArgs, clap::Error> {
        let flags = ["program", "--redis-address", "redis"].iter().chain(flags);
        Program::try_parse_from(flags).map(|program| program.worker)
    }

    fn validate(flags: &[&str]) -> anyhow::Result<Config> {
        parse(flags).unwrap().validate()
    }

    #[test]
    fn flags_are_consistent() {
        Program::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_queue() {
        let config = validate(&["--worker-ip", "10.0.0.7"]).unwrap();
        assert_eq!(config.settings.concurrency.get(), 1);
        assert_eq!(config.settings.job_timeout, None);
        assert!(!config.settings.recover_foreign);
        assert_eq!(config.access.identity.ip, "10.0.0.7");
        assert_eq!(config.access.terms, Terms::default());
    }

    #[test]
    fn several_queues_take_the_place_of_the_one_and_lie_where_it_would() {
        let names = |flags: &[&str]| {
            let queues = validate(flags).unwrap().access.queues;
            let names = queues.iter().map(|queue| queue.name.as_str().to_owned());
            (names.collect::<Vec<_>>(), queues[0].queue_db)
        };
        assert_eq!(names(&[]), (vec!["queue".to_owned()], Queue::DEFAULT_QUEUE_DB));
        assert_eq!(
            names(&["--queue", "a", "--queue-db", "7"]),
            (vec!["a".to_owned()], 7)
        );
        let several = ["--queues", "b, a", "--queue", "c", "--queue-db", "7"];
        assert_eq!(names(&several), (vec!["b".to_owned(), "a".to_owned()], 7));
    }

    #[test]
    fn each_queue_has_its_serializer() {
        let serializers = |flags: &[&str]| {
            let queues = validate(flags).unwrap().access.queues;
            queues.iter().map(|queue| queue.serializer).collect::<Vec<_>>()
        };
        let (pickle, json, none) = (Serializer::Pickle, Serializer::Json, Serializer::None);
        assert_eq!(serializers(&[]), [pickle]);
        assert_eq!(serializers(&["--queue-serializer", "none"]), [none]);
        let same = ["--queues", "a,b", "--queue-serializer", "json"];
        assert_eq!(serializers(&same), [json, json]);
        let own = ["--queues", "a,b", "--queue-serializers", "json, pickle"];
        assert_eq!(serializers(&own), [json, pickle]);
        for flags in [
            &["--queue-serializers", "json"][..],
            &["--queues", "a,b", "--queue-serializers", "json"],
        ] {
            let error = validate(flags).unwrap_err().to_string();
            assert!(error.contains("give one for each"), "{error}");
        }
    }

    #[test]
    fn queues_that_are_none_or_stand_twice_are_refused() {
        let error = validate(&["--queues", "a,b,a"]).unwrap_err().to_string();
        assert!(error.contains("the queue a stands twice"), "{error}");
        for flags in [["--queues", "a,,b"], ["--queues", "a:b"], ["--queues", ""]] {
            assert!(parse(&flags).is_err(), "{flags:?}");
        }
    }

    #[test]
    fn worker_without_an_ip_bears_the_hosts_name() {
        let config = validate(&[]).unwrap();
        assert_eq!(Some(config.access.identity.ip), host_name());
    }

    #[test]
    fn retention_of_zero_is_for_ever() {
        let config = validate(&["--retention-seconds", "0", "--dead-retention-seconds", "60"]).unwrap();
        assert_eq!(config.access.terms.retention.finished, None);
        assert_eq!(config.access.terms.retention.dead, Some(Duration::from_secs(60)));
    }

    #[test]
    fn first_wait_longer_than_the_longest_is_refused_with_both_names() {
        let error = validate(&["--backoff-base-seconds", "301"])
            .unwrap_err()
            .to_string();
        assert!(error.contains("WORKERPOOL_BACKOFF_BASE_SECONDS"), "{error}");
        assert!(error.contains("WORKERPOOL_BACKOFF_CAP_SECONDS"), "{error}");
        assert!(validate(&["--backoff-base-seconds", "300"]).is_ok());
    }

    #[test]
    fn impossible_numbers_are_refused() {
        for flags in [
            ["--concurrency", "0"],
            ["--lease-seconds", "0"],
            ["--max-attempts", "0"],
            ["--max-lost", "0"],
            ["--job-timeout-seconds", "0"],
            ["--job-timeout-seconds", "-1"],
            ["--backoff-base-seconds", "soon"],
            ["--retention-seconds", "-1"],
        ] {
            assert!(parse(&flags).is_err(), "{flags:?}");
        }
    }

    /// A program of a user, with all settings that this library has.
    #[derive(Debug, Parser)]
    struct WholeProgram {
        #[command(flatten)]
        worker: WorkerArgs,

        #[command(flatten)]
        handler: HandlerArgs,
    }

    /// The settings of a process that has these variables and no others.
    fn settings_with(variables: &[(&str, &str)]) -> String {
        let printed = process::Command::new(env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "--nocapture",
                "config::tests::settings_are_printed",
            ])
            .env_clear()
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        assert!(
            printed.status.success(),
            "{}",
            String::from_utf8_lossy(&printed.stderr)
        );
        let printed = String::from_utf8(printed.stdout).unwrap();
        let settings = printed.split_once("settings: ").unwrap().1.lines().next();
        settings.unwrap().to_owned()
    }

    #[test]
    #[ignore = "prints what its environment makes of it: another test runs it in a process of its own"]
    fn settings_are_printed() {
        println!("settings: {:?}", WholeProgram::parse_from(["program"]));
    }

    #[test]
    fn empty_variable_is_absent() {
        let command = WholeProgram::command();
        let variables = command
            .get_arguments()
            .filter_map(|setting| setting.get_env()?.to_str());
        let empty: Vec<_> = variables.map(|name| (name, "")).collect();
        assert!(empty.len() >= 35, "{empty:?}");
        assert_eq!(settings_with(&empty), settings_with(&[]));
    }
}
