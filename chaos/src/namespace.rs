//! The network that a run has to itself.

use std::fs;

use anyhow::{Context, ensure};

/// Refuses to run beside anything else: a run opens ports without a password and drops packets.
pub(crate) fn check() -> anyhow::Result<()> {
    let table = fs::read_to_string("/proc/net/dev").context("the network's interfaces")?;
    let interfaces: Vec<&str> = table
        .lines()
        .skip(2)
        .filter_map(|line| line.split(':').next())
        .map(str::trim)
        .collect();
    ensure!(
        interfaces == ["lo"],
        "a run needs a network of its own, without {interfaces:?}: start it by chaos/run"
    );
    Ok(())
}
