//! A Redis server on this machine that takes over what another one holds.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::Data;
use crate::wait::{Look, eventually};

const SOON: Duration = Duration::from_secs(60);
const PORT: u16 = 16379;

/// A promoted replica. Dropping it ends the process and removes its folder.
#[derive(Debug)]
pub struct Replica {
    _server: Child,
    folder: PathBuf,
    data: Data,
}

/// Starts a replica, waits until it is in sync, and promotes it. Its append-only file has no RDB preamble.
///
/// # Errors
/// When it does not start, or not take over within a minute.
pub async fn local_replica(of: &Data) -> Result<Replica> {
    let folder = std::env::temp_dir().join(format!("workerpool-e2e-{}", Uuid::new_v4().simple()));
    std::fs::create_dir(&folder)?;
    let (host, port) = of.address.split_once(':').context("an address without a port")?;
    let settings = format!(
        "port {PORT}\nbind 127.0.0.1\ndir {}\nappendonly yes\naof-use-rdb-preamble no\nreplicaof {host} {port}\n",
        folder.display()
    );
    let file = folder.join("redis.conf");
    std::fs::write(&file, settings)?;
    let server = Command::new("redis-server")
        .arg(file)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("redis-server could not be started")?;
    let data = Data {
        address: format!("127.0.0.1:{PORT}"),
        password: None,
    };
    let replica = Replica {
        _server: server,
        folder,
        data,
    };
    replica.until("replication", "master_link_status:up").await?;
    let mut connection = replica.data.connection(0).await?;
    redis::cmd("REPLICAOF")
        .arg(&["NO", "ONE"])
        .query_async::<()>(&mut connection)
        .await?;
    replica.until("persistence", "aof_rewrite_in_progress:0").await?;
    Ok(replica)
}

impl Replica {
    /// Its address.
    #[must_use]
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Its append-only file, rewritten: the commands that make what it holds, and no other.
    ///
    /// # Errors
    /// When it is not rewritten within a minute.
    pub async fn rewritten(&self) -> Result<Vec<u8>> {
        let mut connection = self.data.connection(0).await?;
        redis::cmd("BGREWRITEAOF")
            .query_async::<()>(&mut connection)
            .await?;
        self.until("persistence", "aof_rewrite_in_progress:0").await?;
        let folder = self.folder.join("appendonlydir");
        let manifest = std::fs::read_to_string(folder.join("appendonly.aof.manifest"))?;
        // file appendonly.aof.2.base.aof seq 2 type b
        let base = manifest
            .lines()
            .find(|line| line.ends_with("type b"))
            .context("no base file")?;
        let name = base.split(' ').nth(1).context("a base file without a name")?;
        Ok(std::fs::read(folder.join(name))?)
    }

    async fn until(&self, section: &str, line: &str) -> Result<()> {
        eventually(&format!("the replica says {line}"), SOON, async || {
            let mut connection = self.data.connection(0).await?;
            let info: String = redis::cmd("INFO")
                .arg(section)
                .query_async(&mut connection)
                .await?;
            Ok(Look::when(info.lines().any(|seen| seen == line), (), || {
                info.clone()
            }))
        })
        .await
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // What is left in the folder for temporary files is harmless.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
