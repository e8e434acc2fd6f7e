use std::net::SocketAddr;

use crate::LogArgs;

/// Flags of a program that serves `/healthz`, `/readyz` and `/metrics` on an address of their own.
#[derive(Clone, Debug, clap::Args)]
pub struct TelemetryArgs {
    /// Address that serves /healthz, /readyz and /metrics; [::] is every address, of IPv4 too
    #[arg(
        long,
        env = "WORKERPOOL_TELEMETRY_ADDRESS",
        value_name = "IP:PORT",
        default_value = "[::]:8080"
    )]
    pub telemetry_address: SocketAddr,

    /// How to log.
    #[command(flatten)]
    pub logs: LogArgs,
}
