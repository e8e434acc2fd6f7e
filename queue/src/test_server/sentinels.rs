//! A master, two replicas, and three sentinels that put a replica in the master's place within seconds.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use super::{Builder, RedisServer, listen, on_loopback, process::Process, redis_server};
use crate::{Address, Secret, Sentinel, Server};

/// Until the sentinels know each other and the replicas: they greet each other every 2 s.
const ACQUAINTANCE: Duration = Duration::from_secs(30);

/// So many servers and so many sentinels.
const TRIO: usize = 3;

/// More than half of the sentinels.
const QUORUM: usize = 2;

/// The servers and their sentinels.
#[derive(Debug)]
pub struct Sentinels {
    servers: Vec<RedisServer>,
    sentinels: Vec<Process>,
    password: Option<Secret>,
}

impl Sentinels {
    /// The name under which the sentinels know the master.
    pub const MASTER: &str = "jobs";

    /// Starts servers that write nothing to disk.
    ///
    /// # Errors
    /// If there is no redis-server, or the processes do not find each other.
    pub fn start() -> io::Result<Self> {
        Self::start_of(&RedisServer::builder())
    }

    /// Starts three servers as `builder` says. The sentinels ask for the same password and speak the same TLS.
    ///
    /// # Errors
    /// As [`Sentinels::start`].
    pub fn start_of(builder: &Builder) -> io::Result<Self> {
        let master = builder.clone().start()?;
        let port = master.port();
        let mut servers = vec![master];
        for _ in 1..TRIO {
            let replica = builder.clone().replica_of(&servers[0]).start()?;
            servers.push(replica);
        }
        let sentinels = (0..TRIO).map(|_| sentinel(builder, port));
        let trio = Self {
            servers,
            sentinels: sentinels.collect::<io::Result<_>>()?,
            password: builder.master_password.as_deref().map(Secret::new),
        };
        trio.wait_until_acquainted()?;
        Ok(trio)
    }

    /// How to reach the master, whichever it is.
    pub fn server(&self) -> Server {
        Server {
            sentinel: Some(Sentinel {
                master: Self::MASTER.to_owned(),
                addresses: self.addresses(),
                username: None,
                password: self.password.clone(),
                login_files: crate::LoginFiles::default(),
            }),
            ..self.servers[0].server()
        }
    }

    /// Where the sentinels listen.
    pub fn addresses(&self) -> Vec<Address> {
        self.sentinels
            .iter()
            .map(|sentinel| on_loopback(sentinel.port()))
            .collect()
    }

    /// The servers, whatever their part is now; the first one began as the master.
    pub fn servers(&mut self) -> &mut [RedisServer] {
        &mut self.servers
    }

    /// Ends the sentinels' processes at once.
    pub fn kill_sentinels(&mut self) {
        self.sentinels.iter_mut().for_each(Process::kill);
    }

    /// Starts the sentinels again; they remember what they knew.
    ///
    /// # Errors
    /// If one does not start.
    pub fn restart_sentinels(&mut self) -> io::Result<()> {
        self.sentinels.iter_mut().try_for_each(Process::restart)
    }

    /// By what they write of their acquaintances into their configuration: it needs no login.
    fn wait_until_acquainted(&self) -> io::Result<()> {
        let deadline = Instant::now() + ACQUAINTANCE;
        let count = |text: &str, what: &str| text.lines().filter(|line| line.starts_with(what)).count();
        for sentinel in &self.sentinels {
            loop {
                let known = fs::read_to_string(configuration(sentinel.directory()))?;
                let replicas = count(&known, "sentinel known-replica ");
                let others = count(&known, "sentinel known-sentinel ");
                if (replicas, others) == (TRIO - 1, TRIO - 1) {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(io::Error::other(format!(
                        "the sentinels did not find each other: {known}"
                    )));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }
}

fn configuration(directory: &Path) -> std::path::PathBuf {
    directory.join("sentinel.conf")
}

fn sentinel(builder: &Builder, master: u16) -> io::Result<Process> {
    Process::start(
        builder.program.clone().unwrap_or_else(redis_server),
        "Sentinel ID is",
        |port, directory| {
            let name = Sentinels::MASTER;
            let mut lines = vec![
                format!("sentinel monitor {name} 127.0.0.1 {master} {QUORUM}"),
                format!("sentinel down-after-milliseconds {name} 500"),
                format!("sentinel failover-timeout {name} 4000"),
                format!("sentinel parallel-syncs {name} {TRIO}"),
            ];
            if let Some(password) = &builder.master_password {
                lines.push(format!("sentinel auth-pass {name} {password}"));
                lines.push(format!("requirepass {password}"));
            }
            // It writes what it learns into the same file.
            let configuration = configuration(directory);
            fs::write(&configuration, lines.join("\n"))?;
            let mut arguments = vec![configuration.display().to_string(), "--sentinel".to_owned()];
            arguments.extend(["--bind", "127.0.0.1", "--logfile", "log"].map(str::to_owned));
            arguments.extend(listen(port, builder.tls.is_some()));
            if builder.tls.is_some() {
                arguments.extend(tls_settings(&builder.settings));
            }
            Ok(arguments)
        },
    )
}

/// Of a server's settings those about TLS, each with its value.
fn tls_settings(settings: &[String]) -> Vec<String> {
    let pairs = settings.windows(2).filter(|pair| pair[0].starts_with("--tls-"));
    pairs.flatten().cloned().collect()
}
