//! The program's settings: flags, each with its environment variable, checked once at the start.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use queue::{Queue, Server};
use telemetry::{Limits, LogArgs, Logs};

use crate::cross_origin::{InvalidOrigin, Origin};

/// Takes jobs over HTTP and puts them into the queue.
#[derive(Debug, Parser)]
#[command(name = "workerpool-api", version, mut_args(telemetry::ignore_empty_variable))]
pub struct Args {
    #[command(flatten)]
    redis: queue::RedisArgs,

    #[command(flatten)]
    logs: LogArgs,

    /// Address that the API and its /healthz, /readyz and /metrics listen on; [::] is every address, of IPv4 too
    #[arg(
        long,
        env = "WORKERPOOL_LISTEN_ADDRESS",
        value_name = "IP:PORT",
        default_value = "[::]:5000"
    )]
    listen_address: SocketAddr,

    /// Web pages that may write, beside the API's own: scheme://host[:port], with commas between
    #[arg(
        long,
        env = "WORKERPOOL_ALLOWED_ORIGINS",
        value_name = "ORIGIN,…",
        value_delimiter = ',',
        value_parser = origin
    )]
    allowed_origins: Vec<Origin>,

    /// The longest body that is accepted, in bytes: by default room for the longest payload, and as much beside it
    #[arg(
        long,
        env = "WORKERPOOL_MAX_BODY_BYTES",
        value_name = "BYTES",
        default_value_t = 131_072,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    max_body_bytes: u32,

    /// Connections at once; further ones wait until one ends
    #[arg(
        long,
        env = "WORKERPOOL_MAX_CONNECTIONS",
        value_name = "N",
        default_value_t = 4_096,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    max_connections: u32,

    /// How long a client may take to send a request's head, and a kept-alive connection may be idle. Above the idle timeout of a
    /// load balancer in front, which is 60 as a rule: else it sends requests on connections that are being closed, and answers 502
    #[arg(
        long,
        env = "WORKERPOOL_HEAD_TIMEOUT_SECONDS",
        value_name = "SECONDS",
        default_value_t = 75,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    head_timeout_seconds: u32,

    /// How long a client may take to send a request's body, and Redis to answer
    #[arg(
        long,
        env = "WORKERPOOL_REQUEST_TIMEOUT_SECONDS",
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    request_timeout_seconds: u32,

    /// How long a repeated POST /jobs with the same Idempotency-Key makes no second job
    #[arg(
        long,
        env = "WORKERPOOL_IDEMPOTENCY_SECONDS",
        value_name = "SECONDS",
        default_value_t = 86_400,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    idempotency_seconds: u32,

    /// How long new connections are still taken after SIGTERM, while /readyz fails already. In Kubernetes: 5, for
    /// the nodes hear of the end a little later
    #[arg(
        long,
        env = "WORKERPOOL_SHUTDOWN_DELAY_SECONDS",
        value_name = "SECONDS",
        default_value_t = 0
    )]
    shutdown_delay_seconds: u32,

    /// How long running requests may go on after that
    #[arg(
        long,
        env = "WORKERPOOL_GRACE_SECONDS",
        value_name = "SECONDS",
        default_value_t = 25
    )]
    grace_seconds: u32,
}

/// The settings, checked.
#[derive(Debug)]
pub struct Config {
    /// What is logged, and how.
    pub logs: Logs,
    /// Where the API listens.
    pub listen_address: SocketAddr,
    /// Where Redis is.
    pub server: Server,
    /// The queue on it.
    pub queue: Queue,
    /// What a client's connections may use up.
    pub limits: Limits,
    /// How a request is treated.
    pub request: RequestSettings,
}

/// How a request is treated: what it may use up, and how long it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestSettings {
    /// The longest body, in bytes.
    pub body_bytes: usize,
    /// How long the body may take to arrive, and, after that, how long Redis may take to answer.
    pub timeout: Duration,
    /// How long an `Idempotency-Key` is remembered.
    pub idempotency: Duration,
    /// Whose web pages may write, beside the API's own.
    pub allowed_origins: Vec<Origin>,
}

impl Args {
    /// Checks the settings and reads the files that they name.
    ///
    /// # Errors
    /// With a sentence that says which setting is wrong and what it should be.
    pub fn validate(self) -> anyhow::Result<Config> {
        let (server, queue) = self.redis.resolve()?;
        Ok(Config {
            logs: self.logs.validate()?,
            listen_address: self.listen_address,
            server,
            queue,
            limits: Limits {
                connections: usize::try_from(self.max_connections)?,
                head_timeout: seconds(self.head_timeout_seconds),
                shutdown_delay: seconds(self.shutdown_delay_seconds),
                drain_timeout: seconds(self.grace_seconds),
                ..Limits::default()
            },
            request: RequestSettings {
                body_bytes: usize::try_from(self.max_body_bytes)?,
                timeout: seconds(self.request_timeout_seconds),
                idempotency: seconds(self.idempotency_seconds),
                allowed_origins: self.allowed_origins,
            },
        })
    }
}

fn origin(text: &str) -> Result<Origin, InvalidOrigin> {
    text.trim().parse()
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn defaults_are_the_originals_port_and_databases() {
        let args = ["workerpool-api", "--redis-address", "redis"];
        let config = Args::parse_from(args).validate().unwrap();
        assert_eq!(config.listen_address.to_string(), "[::]:5000");
        assert_eq!(config.server.address.to_string(), "redis:6379");
        assert_eq!(config.queue.queue_db, 2);
        assert_eq!(config.queue.jobs_db, 3);
        assert_eq!(config.request.body_bytes, 131_072);
        assert_eq!(config.request.idempotency, Duration::from_secs(24 * 60 * 60));
        // Above the 60 s after which load balancers close an idle connection.
        assert_eq!(config.limits.head_timeout, Duration::from_secs(75));
    }

    #[test]
    fn allowed_origins_are_checked_at_start() {
        let parse = |origins: &str| {
            let args = [
                "workerpool-api",
                "--redis-address",
                "redis",
                "--allowed-origins",
                origins,
            ];
            Args::try_parse_from(args).map(|args| args.validate().unwrap().request.allowed_origins)
        };
        let two = parse("https://jobs.example, http://localhost:3000").unwrap();
        let printed: Vec<_> = two.iter().map(ToString::to_string).collect();
        assert_eq!(printed, ["https://jobs.example", "http://localhost:3000"]);
        for wrong in ["*", "jobs.example", "https://*.example", "https://jobs.example/"] {
            let refused = parse(wrong).unwrap_err().to_string();
            assert!(refused.contains("scheme://host:port"), "{refused}");
        }
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
        let args = Args::parse_from(["workerpool-api", "--redis-address", "redis"]);
        println!("settings: {:?}", args.validate().unwrap());
    }

    #[test]
    fn empty_variable_is_absent() {
        let command = Args::command();
        let variables = command
            .get_arguments()
            .filter_map(|setting| setting.get_env()?.to_str());
        let empty: Vec<_> = variables
            // Not clap's, which would print them in --help.
            .chain(["WORKERPOOL_REDIS_PASSWORD", "WORKERPOOL_REDIS_SENTINEL_PASSWORD"])
            .map(|name| (name, ""))
            .collect();
        assert!(empty.len() >= 25, "{empty:?}");
        assert_eq!(settings_with(&empty), settings_with(&[]));
    }
}
