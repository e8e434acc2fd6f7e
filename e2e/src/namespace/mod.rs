//! A namespace of a test's own, and what a user can do and see in it.

mod deploy;
mod look;

use std::time::Duration;

use anyhow::{Error, Result};
use kube::Client;
use serde_json::Value;
use uuid::Uuid;

use crate::{Outcome, install, process, project};

/// How long what Kubernetes does by itself (start a pod, collect garbage) may take on a busy machine of two cores.
const SOON: Duration = Duration::from_secs(180);

/// A namespace that lives as long as its test.
pub struct Namespace {
    name: String,
    client: Client,
}

/// Runs a test in a namespace of its own, on a cluster where the product is installed. The namespace is deleted afterwards, unless
/// the test failed and `WORKERPOOL_E2E_KEEP` is set.
///
/// # Errors
/// With the test's own error, followed by what was in the namespace at that time; when there is no cluster.
pub async fn in_namespace(slug: &str, test: impl AsyncFnOnce(&Namespace) -> Result<()>) -> Result<()> {
    let client = install::cluster().await?;
    let unique = Uuid::new_v4().simple().to_string();
    let name = format!("e2e-{slug}-{}", &unique[..6]);
    let namespace = Namespace { name, client };
    process::succeed("kubectl", &["create", "namespace", &namespace.name], "").await?;
    let failure = match test(&namespace).await {
        Ok(()) => None,
        Err(error) => Some(namespace.explain(error).await),
    };
    if failure.is_none() || std::env::var_os("WORKERPOOL_E2E_KEEP").is_none() {
        let delete = ["delete", "namespace", &namespace.name, "--wait=false"];
        process::succeed("kubectl", &delete, "").await?;
    }
    failure.map_or(Ok(()), Err)
}

impl Namespace {
    /// Runs kubectl in this namespace; answers what it printed.
    ///
    /// # Errors
    /// When kubectl fails, with what it said.
    pub async fn kubectl<const N: usize>(&self, arguments: [&str; N]) -> Result<String> {
        let all = [&["-n", &self.name][..], &arguments].concat();
        process::succeed("kubectl", &all, "").await
    }

    /// Runs kubectl in this namespace with an object on its standard input; answers what it printed.
    ///
    /// # Errors
    /// When kubectl fails, with what it said.
    pub async fn kubectl_with(&self, arguments: &[&str], object: &Value) -> Result<String> {
        let all = [&["-n", &self.name][..], arguments].concat();
        process::succeed("kubectl", &all, &object.to_string()).await
    }

    /// Applies these objects, whatever kubectl makes of it.
    ///
    /// # Errors
    /// When kubectl cannot be run.
    pub async fn try_apply(&self, manifest: &str) -> Result<Outcome> {
        process::run("kubectl", ["-n", &self.name, "apply", "-f", "-"], manifest).await
    }

    /// Applies an object.
    ///
    /// # Errors
    /// When kubectl fails, with what it said.
    pub async fn apply(&self, manifest: &Value) -> Result<String> {
        process::succeed(
            "kubectl",
            &["-n", &self.name, "apply", "-f", "-"],
            &manifest.to_string(),
        )
        .await
    }

    /// Applies a file or folder of the project, as its README says.
    ///
    /// # Errors
    /// When kubectl fails, with what it said.
    pub async fn apply_files(&self, path: &str) -> Result<String> {
        let path = project().join(path).to_string_lossy().into_owned();
        self.kubectl(["apply", "-R", "-f", &path]).await
    }

    /// Runs Python with the packages that the original's users have (redis, hotqueue); `arguments` are its `sys.argv[1:]`.
    ///
    /// # Errors
    /// When Python fails, with what it said.
    pub async fn python(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let python = python();
        process::succeed(&python, &[&["-c", program][..], arguments].concat(), "").await
    }

    /// The test's error, and what was there when it happened.
    async fn explain(&self, error: Error) -> Error {
        let objects = self
            .kubectl(["get", "workerpools,deployments,pods", "-o", "wide"])
            .await;
        let events = self
            .kubectl(["get", "events", "--sort-by=.lastTimestamp"])
            .await
            .map(|all| last_lines(&all, 25));
        let log = [
            "-n",
            "workerpool-system",
            "logs",
            "deployment/workerpool-operator",
            "--tail=400",
        ];
        let log = process::succeed("kubectl", &log, "").await.map(|all| {
            let ours: Vec<&str> = all.lines().filter(|line| line.contains(&self.name)).collect();
            last_lines(&ours.join("\n"), 25)
        });
        let text = |section: Result<String>| section.unwrap_or_else(|failed| format!("{failed:#}"));
        error.context(format!(
            "failed in namespace {}\n\n{}\nevents:\n{}\n\noperator's log:\n{}\n",
            self.name,
            text(objects),
            text(events),
            text(log)
        ))
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// The Python that `dev/install` puts in place.
fn python() -> String {
    let set = |name: &str| std::env::var(name).ok();
    let home_cache = || format!("{}/.cache", set("HOME").unwrap_or_default());
    let cache = || {
        set("WORKERPOOL_CACHE")
            .unwrap_or_else(|| format!("{}/workerpool", set("XDG_CACHE_HOME").unwrap_or_else(home_cache)))
    };
    set("WORKERPOOL_PYTHON").unwrap_or_else(|| format!("{}/python/bin/python", cache()))
}
