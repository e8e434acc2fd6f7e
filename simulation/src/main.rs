//! Prints the table of docs/scaling.md, and draws its plots.
//!
//!     cargo run --release -p workerpool-simulation -- --plots docs

#![allow(clippy::print_stdout)]

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use simulation::{
    contest::{self, System},
    plot,
};

/// The law beside others on the same traces.
#[derive(Debug, Parser)]
struct Flags {
    /// What the traces are made from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds within which jobs should start.
    #[arg(long, default_value_t = 10.0)]
    target: f64,
    /// Seconds from asking for a replica to its first job.
    #[arg(long, default_value_t = 2.0)]
    start: f64,
    /// The folder to draw the plots into.
    #[arg(long)]
    plots: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    println!(
        "| trace | | within {} s | p95 | longest | replica-seconds | of work | told to go while busy |",
        flags.target
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (number, case) in contest::CASES.iter().enumerate() {
        let trace = case.trace(flags.seed);
        let conditions = contest::Conditions {
            target: flags.target,
            start: flags.start,
            takes: case.takes,
        };
        let mut plotted = Vec::new();
        for system in System::all() {
            let outcome = system.run(&trace, conditions);
            println!(
                "| {} | {system} | {:.1} % | {:.1} s | {:.0} s | {:.0} | {:.2} | {} |",
                trace.name,
                outcome.within(flags.target) * 100.0,
                outcome.quantile(0.95),
                outcome.quantile(1.0),
                outcome.replica_seconds,
                outcome.replica_seconds / outcome.work_seconds,
                outcome.interrupted,
            );
            if system.is_plotted() {
                plotted.push((system.to_string(), outcome.counts));
            }
        }
        if let Some(folder) = &flags.plots {
            let path = folder.join(format!("scaling-{}.svg", trace.name.to_lowercase()));
            let drawn = plot::counts(case.title, case.plotted, &plotted);
            std::fs::write(&path, drawn)
                .with_context(|| format!("cannot write plot {number} to {}", path.display()))?;
        }
    }
    Ok(())
}
