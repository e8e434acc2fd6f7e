//! kubectl, in a namespace of the test's own.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Once;

use serde_json::Value;

/// What kubectl answered.
pub(crate) struct Output {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// Its standard output.
    ///
    /// # Panics
    /// When it failed.
    pub(crate) fn succeeded(self) -> String {
        assert!(self.success, "kubectl: {}", self.stderr);
        self.stdout
    }
}

/// Deleted with the value.
pub(crate) struct Namespace(String);

impl Namespace {
    /// Applies the definition as users do, client-side, and makes a namespace.
    pub(crate) fn create(prefix: &str) -> Self {
        install_definition();
        let namespace = Self(format!("{prefix}-{}", std::process::id()));
        run(&["create", "namespace", &namespace.0], "").succeeded();
        namespace
    }

    pub(crate) fn kubectl(&self, arguments: &[&str], stdin: &str) -> Output {
        let all: Vec<&str> = ["--namespace", &self.0]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        run(&all, stdin)
    }

    pub(crate) fn get(&self, what: &str) -> Value {
        let json = self.kubectl(&["get", what, "-o", "json"], "").succeeded();
        serde_json::from_str(&json).expect("kubectl prints JSON")
    }

    pub(crate) fn scale_path(&self, pool: &str) -> String {
        format!(
            "/apis/workerpool.dev/v1alpha1/namespaces/{}/workerpools/{pool}/scale",
            self.0
        )
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        run(&["delete", "namespace", &self.0, "--wait=false"], "");
    }
}

fn install_definition() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let yaml = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
        run(&["apply", "-f", &yaml.to_string_lossy()], "").succeeded();
        for (name, kind) in [("workerpools", "WorkerPool"), ("jobs", "Job")] {
            let definition = format!("crd/{name}.workerpool.dev");
            // First the kind: kubectl gives up at once on conditions that are still null, and these are set with it.
            let accepted = format!("--for=jsonpath={{.status.acceptedNames.kind}}={kind}");
            for what in [accepted.as_str(), "--for=condition=Established"] {
                run(&["wait", what, "--timeout=30s", &definition], "").succeeded();
            }
        }
    });
}

fn run(arguments: &[&str], stdin: &str) -> Output {
    let kubeconfig = std::env::var_os("WORKERPOOL_TEST_KUBECONFIG")
        .or_else(|| std::env::var_os("KUBECONFIG"))
        .expect("KUBECONFIG or WORKERPOOL_TEST_KUBECONFIG names a cluster: dev/cluster --name test up");
    let mut kubectl = Command::new("kubectl")
        .args(["--request-timeout=30s"])
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl is on the PATH");
    kubectl
        .stdin
        .take()
        .expect("a pipe")
        .write_all(stdin.as_bytes())
        .expect("kubectl reads");
    let output = kubectl.wait_with_output().expect("kubectl ends");
    Output {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    }
}
