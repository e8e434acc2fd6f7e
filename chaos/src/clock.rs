//! Workers whose wall clock is hours off, as libfaketime tells them.

use std::{fs, path::PathBuf};

use anyhow::Context;

/// By how much the clock of the worker `number` is off, as libfaketime wants it; two in three are right.
pub(crate) fn offset(number: usize) -> Option<&'static str> {
    match number % 6 {
        2 => Some("+5h"),
        5 => Some("-7h"),
        _ => None,
    }
}

/// What a process must be told. Its monotonic clock stays: nobody can set that of a machine either.
pub(crate) fn environment(offset: &'static str) -> anyhow::Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("LD_PRELOAD", library()?.to_string_lossy().into_owned()),
        ("FAKETIME", offset.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        // Killed processes would leave it behind.
        ("FAKETIME_DISABLE_SHM", "1".to_owned()),
    ])
}

/// Where Debian's package `faketime` puts it.
fn library() -> anyhow::Result<PathBuf> {
    fs::read_dir("/usr/lib")?
        .filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketimeMT.so.1")))
        .find(|path| path.exists())
        .context("libfaketime is missing: run dev/install, or leave the fault `clock` out")
}
