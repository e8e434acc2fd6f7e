//! Certificates for one test, made by openssl.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::process;

/// An authority of the test's own; what it made is deleted with it.
#[derive(Debug)]
pub(crate) struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// Makes one.
    pub(crate) async fn new() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("workerpool-e2e-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&folder)?;
        let authority = Self { folder };
        authority
            .openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.crt")
            .await?;
        Ok(authority)
    }

    /// A Secret `name` with the authority, and a certificate and its key for these host names. The label says that the operator
    /// may use it.
    pub(crate) async fn secret(&self, name: &str, hosts: &[&str]) -> Result<Value> {
        let hosts: Vec<String> = hosts.iter().map(|host| format!("DNS:{host}")).collect();
        let extensions = format!("basicConstraints=CA:FALSE\nsubjectAltName={}\n", hosts.join(","));
        std::fs::write(self.folder.join("extensions"), extensions)?;
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout tls.key -out tls.csr"
        ))
        .await?;
        self.openssl("x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out tls.crt")
            .await?;
        let read = |file: &str| std::fs::read_to_string(self.folder.join(file));
        Ok(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": {"workerpool.dev/redis-credentials": "true"}},
            "stringData": {"ca.crt": read("ca.crt")?, "tls.crt": read("tls.crt")?, "tls.key": read("tls.key")?},
        }))
    }

    async fn openssl(&self, arguments: &str) -> Result<()> {
        let paths = |word: &str| match Path::new(word).extension() {
            Some(_) if !word.starts_with('/') => self.folder.join(word).to_string_lossy().into_owned(),
            _ if word == "extensions" => self.folder.join(word).to_string_lossy().into_owned(),
            _ => word.to_owned(),
        };
        let words: Vec<String> = arguments.split(' ').map(paths).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        process::succeed("openssl", &words, "").await?;
        Ok(())
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        // What is left in the folder for temporary files is harmless.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
