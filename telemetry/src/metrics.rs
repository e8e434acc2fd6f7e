use prometheus_client::{metrics::info::Info, registry::Registry};

use crate::panics;

/// A registry whose metrics all bear the prefix `workerpool_`, with `workerpool_build_info{program, version}`
/// and `workerpool_panics_total{place}` in it. Give the version as `env!("CARGO_PKG_VERSION")`.
pub fn registry(program: &'static str, version: &'static str) -> Registry {
    let mut registry = Registry::with_prefix("workerpool");
    registry.register(
        "build",
        "Which program this is, and of which version",
        Info::new([("program", program), ("version", version)]),
    );
    registry.register(
        "panics",
        "Panics that were caught: one pool, server, Job or request failed, the others went on",
        panics::caught(),
    );
    registry
}
