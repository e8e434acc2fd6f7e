//! The program's settings.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use telemetry::{InvalidLogFilter, Logs, TelemetryArgs};

use crate::deployment::WorkerResources;

/// Watches WorkerPools, and gives each as many workers as its queue needs
#[derive(Debug, Parser)]
#[command(version, mut_args(telemetry::ignore_empty_variable))]
pub struct Args {
    /// Image of the stock worker: what pods of pools without an image of their own run
    #[arg(
        long,
        env = "WORKERPOOL_WORKER_IMAGE",
        value_name = "IMAGE",
        default_value = concat!("workerpool:", env!("CARGO_PKG_VERSION"))
    )]
    worker_image: String,

    /// Requests and limits of the containers of that image, unless the pool's template sets any; {} for none
    #[arg(
        long,
        env = "WORKERPOOL_WORKER_RESOURCES",
        value_name = "JSON",
        default_value_t = WorkerResources::default()
    )]
    worker_resources: WorkerResources,

    /// How many pools are reconciled at once
    #[arg(
        long,
        env = "WORKERPOOL_RECONCILE_CONCURRENCY",
        value_name = "N",
        default_value_t = 64,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    reconcile_concurrency: u16,

    /// Name of this operator among its replicas, for events; a pod's host name is its name
    #[arg(
        long,
        env = "HOSTNAME",
        value_name = "NAME",
        default_value = "workerpool-operator"
    )]
    instance: String,

    /// Act only while holding a Lease: of several replicas, one does
    #[arg(
        long,
        env = "WORKERPOOL_LEADER_ELECT",
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    leader_elect: bool,

    /// Name of the Lease
    #[arg(
        long,
        env = "WORKERPOOL_LEASE_NAME",
        value_name = "NAME",
        default_value = "workerpool-operator"
    )]
    lease_name: String,

    /// Namespace of the Lease [default: the operator's own]
    #[arg(long, env = "WORKERPOOL_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    lease_namespace: Option<String>,

    /// How long a leader that is not heard of is waited for; it renews the Lease four times in that
    #[arg(
        long,
        env = "WORKERPOOL_LEASE_SECONDS",
        value_name = "SECONDS",
        default_value_t = 2,
        value_parser = clap::value_parser!(u16).range(1..=600)
    )]
    lease_seconds: u16,

    #[command(flatten)]
    telemetry: TelemetryArgs,
}

/// The settings, checked.
#[derive(Debug)]
pub struct Config {
    /// The image of the stock worker.
    pub worker_image: String,
    /// Requests and limits of the containers of that image.
    pub worker_resources: WorkerResources,
    /// How many pools are reconciled at once.
    pub concurrency: u16,
    /// The name of this operator among its replicas.
    pub instance: String,
    /// How a leader is found; `None` for the only operator.
    pub election: Option<ElectionConfig>,
    /// Where /healthz, /readyz and /metrics are served.
    pub telemetry_address: SocketAddr,
}

/// How a leader is found.
#[derive(Debug)]
pub struct ElectionConfig {
    /// The name of the Lease.
    pub name: String,
    /// Its namespace; `None` for the one that the operator runs in.
    pub namespace: Option<String>,
    /// How long a leader that is not heard of is waited for.
    pub duration: Duration,
}

impl Args {
    /// Checks what clap does not; and how to log.
    ///
    /// # Errors
    /// For a log filter that is none.
    pub fn validate(self) -> Result<(Config, Logs), InvalidLogFilter> {
        let config = Config {
            worker_image: self.worker_image,
            worker_resources: self.worker_resources,
            concurrency: self.reconcile_concurrency,
            instance: self.instance,
            election: self.leader_elect.then(|| ElectionConfig {
                name: self.lease_name,
                namespace: self.lease_namespace,
                duration: Duration::from_secs(self.lease_seconds.into()),
            }),
            telemetry_address: self.telemetry.telemetry_address,
        };
        Ok((config, self.telemetry.logs.validate()?))
    }
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
        println!("settings: {:?}", Args::parse_from(["operator"]));
    }

    #[test]
    fn worker_resources_of_manifest_are_default() {
        let manifest = include_str!("../../deploy/operator/operator.yaml");
        let default = format!("value: '{}'", WorkerResources::default());
        assert!(manifest.contains(&default), "{default}");
    }

    #[test]
    fn worker_resources_that_nobody_could_have_are_refused() {
        let given = r#"{"requests": {"cpu": 1}, "limits": {"cpu": "500m"}}"#;
        let error = Args::try_parse_from(["operator", "--worker-resources", given]).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("the request of cpu (1) is above its limit (500m)"),
            "{error}"
        );
    }

    #[test]
    fn empty_variable_is_absent() {
        let command = Args::command();
        let variables = command
            .get_arguments()
            .filter_map(|setting| setting.get_env()?.to_str());
        let empty: Vec<_> = variables.map(|name| (name, "")).collect();
        assert!(empty.len() >= 10, "{empty:?}");
        assert_eq!(settings_with(&empty), settings_with(&[]));
    }
}
