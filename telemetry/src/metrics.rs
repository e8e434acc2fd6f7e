use prometheus_client::{metrics::info::Info, registry::Registry};

/// A registry whose metrics all bear the prefix `workerpool_`, with `workerpool_build_info{program, version}`
/// in it. Give the version as `env!("CARGO_PKG_VERSION")`.
pub fn registry(program: &'static str, version: &'static str) -> Registry {
    let mut registry = Registry::with_prefix("workerpool");
    registry.register(
        "build",
        "Which program this is, and of which version",
        Info::new([("program", program), ("version", version)]),
    );
    registry
}
