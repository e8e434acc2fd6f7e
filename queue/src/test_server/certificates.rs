//! Certificates for tests, made by `openssl`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Secret, Tls, TlsIdentity};

/// An authority, and a certificate for the server and one for the client that it signed. They are good for
/// `localhost` and 127.0.0.1, for two days.
#[derive(Debug)]
pub struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    /// Makes them, with an authority of their own.
    ///
    /// # Errors
    /// If there is no `openssl`, or it fails.
    pub fn new() -> io::Result<Self> {
        let directory =
            std::env::temp_dir().join(format!("workerpool-tls-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir_all(&directory)?;
        let certificates = Self { directory };
        certificates.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.crt",
        )?;
        fs::write(
            certificates.directory.join("extensions"),
            "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n",
        )?;
        for name in ["server", "client"] {
            certificates.openssl(&format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
            ))?;
            certificates.openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out {name}.crt"
            ))?;
        }
        Ok(certificates)
    }

    /// Where they lie: `ca.crt`, `server.crt`, `server.key`, `client.crt`, `client.key`.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How a client speaks TLS with a server of these: it trusts the authority and shows no certificate.
    ///
    /// # Errors
    /// If the files are gone.
    pub fn trust(&self) -> io::Result<Tls> {
        Ok(Tls {
            ca: Some(self.read("ca.crt")?),
            ..Tls::default()
        })
    }

    /// As [`Certificates::trust`], with the client's certificate.
    ///
    /// # Errors
    /// If the files are gone.
    pub fn trust_and_identity(&self) -> io::Result<Tls> {
        Ok(Tls {
            identity: Some(TlsIdentity {
                certificate: self.read("client.crt")?,
                key: Secret::new(self.read("client.key")?),
            }),
            ..self.trust()?
        })
    }

    /// What makes a server, or a Sentinel, speak TLS, to clients and to its like.
    pub(super) fn settings(&self, clients_need_certificates: bool) -> Vec<String> {
        let file = |name: &str| self.directory.join(name).display().to_string();
        let auth_clients = if clients_need_certificates { "yes" } else { "no" };
        [
            ["--tls-cert-file", &file("server.crt")],
            ["--tls-key-file", &file("server.key")],
            ["--tls-ca-cert-file", &file("ca.crt")],
            ["--tls-auth-clients", auth_clients],
            ["--tls-replication", "yes"],
        ]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect()
    }

    fn read(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(self.directory.join(name))
    }

    fn openssl(&self, arguments: &str) -> io::Result<()> {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(&self.directory)
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
