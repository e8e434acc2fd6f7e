//! Runs what a user would type.

use std::ffi::OsStr;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// No command that a test runs takes this long unless something hangs.
const LIMIT: Duration = Duration::from_secs(240);

/// What a command that ended left behind.
#[derive(Debug)]
pub struct Outcome {
    /// Whether it ended with 0.
    pub success: bool,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// Runs a program to its end, with `input` on its standard input.
///
/// # Errors
/// When it cannot be started or does not end within four minutes; a failure that it reports itself is an [`Outcome`].
pub(crate) async fn run<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
    input: &str,
) -> Result<Outcome> {
    let output = bytes(program, arguments, input).await?;
    Ok(Outcome {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The same, for a program that may print anything.
pub(crate) async fn bytes<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
    input: &str,
) -> Result<Output> {
    let name = program.as_ref().to_string_lossy().into_owned();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{name} could not be started"))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let fed = async {
        // A program that ends without reading its input (a usage error) is not a failure of ours.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
    };
    let ended = timeout(LIMIT, async { tokio::join!(fed, child.wait_with_output()).1 });
    let Ok(output) = ended.await else {
        bail!("{name} did not end within {LIMIT:?}");
    };
    output.with_context(|| format!("{name} could not be waited for"))
}

/// Runs a program that has to end well, and answers what it printed.
pub(crate) async fn succeed(program: &str, arguments: &[&str], input: &str) -> Result<String> {
    let outcome = run(program, arguments, input).await?;
    if !outcome.success {
        let said = outcome.stderr.trim();
        bail!("{program} {} failed: {said}", arguments.join(" "));
    }
    Ok(outcome.stdout)
}
