//! `workerpool-chaos`: see the library beside it.
#![allow(clippy::print_stdout)] // The table is this program's answer.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use chaos::{
    config::Args,
    run::{Report, run},
    verdict::{Mild, Table, broken},
};
use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    args.log.clone().validate()?.init();
    let folder = folder(&args)?;
    // Dropped on a signal, so that no process outlives it.
    let report = tokio::select! {
        report = run(&args, folder) => report?,
        _ = tokio::signal::ctrl_c() => return Ok(ExitCode::from(130)),
    };
    print(&args, &report);
    let mild = Mild {
        spares_jobs: args.spares_jobs(),
        executes_once: args.executes_once(),
    };
    let broken = broken(&report.counts, mild);
    for promise in &broken {
        println!("BROKEN: {promise}");
    }
    if broken.is_empty() && args.keep.is_none() {
        fs::remove_dir_all(&report.folder)?;
    } else {
        println!("side effects and logs: {}", report.folder.display());
    }
    Ok(if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A new one: what an earlier run has left behind would be counted too. (In a namespace of its own a run's process id
/// is the same each time.)
fn folder(args: &Args) -> anyhow::Result<PathBuf> {
    let name = || format!("workerpool-chaos-{}-{:08x}", args.seed, fastrand::u32(..));
    let folder = args
        .keep
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(name()));
    fs::create_dir(&folder).with_context(|| format!("cannot make {} as a new folder", folder.display()))?;
    Ok(folder)
}

fn print(args: &Args, report: &Report) {
    println!("{}", Table(&report.counts));
    println!(
        "seed {}, {:.0} s, {} requests repeated, {} worker processes",
        args.seed,
        report.took.as_secs_f64(),
        report.retries,
        report.lives
    );
    let struck: Vec<String> = report
        .struck
        .iter()
        .map(|(fault, times)| format!("{fault} {times}"))
        .collect();
    println!("struck: {}", struck.join(", "));
}
