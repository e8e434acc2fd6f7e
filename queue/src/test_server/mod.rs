//! Real servers for tests: started on free ports of loopback with directories of their own, gone with their handles.
//!
//! ```ignore
//! let redis = RedisServer::start()?;
//! let producer = Producer::new(&redis.server(), queue)?;
//!
//! let mut durable = RedisServer::builder().append_only(Fsync::Always).start()?;
//! durable.kill();      // kill -9
//! durable.restart()?;  // same port, same data
//!
//! let replica = RedisServer::builder().replica_of(&durable).start()?;
//! let trio = Sentinels::start()?; // a master, two replicas, three sentinels
//! let cluster = RedisCluster::start()?; // three masters, a replica of the first
//! ```
//!
//! `redis-server` is looked for on the PATH; `WORKERPOOL_REDIS_SERVER` names another.

mod certificates;
mod cluster;
mod installed;
mod process;
mod sentinels;

use std::{ffi::OsString, io, net::Ipv4Addr, path::Path};

use self::process::Process;
pub use self::{
    certificates::Certificates,
    cluster::RedisCluster,
    installed::{cache, node, python},
    sentinels::Sentinels,
};
use crate::{Address, Secret, Server, Tls};

/// A running redis-server.
#[derive(Debug)]
pub struct RedisServer {
    process: Process,
    server: Server,
}

impl RedisServer {
    /// Starts a server that writes nothing to disk.
    ///
    /// # Errors
    /// If there is no redis-server, or it does not start.
    pub fn start() -> io::Result<Self> {
        Self::builder().start()
    }

    /// Starts a server with settings as on its command line, say `["--appendonly", "yes"]`.
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub fn start_with(settings: &[&str]) -> io::Result<Self> {
        Self::builder().settings(settings).start()
    }

    /// A server with more to say about: persistence, users, TLS, whose replica it is.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// How to reach it, with the login and the TLS that it was built with.
    pub fn server(&self) -> Server {
        self.server.clone()
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// Its process; `None` once it was killed.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// Where it keeps its data. It outlives [`RedisServer::restart`] and is removed with the handle.
    pub fn directory(&self) -> &Path {
        self.process.directory()
    }

    /// Ends the process at once, as a crash would (SIGKILL).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, on the same port and data; ends it before if it still runs. Waits until it has loaded its data.
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub fn restart(&mut self) -> io::Result<()> {
        self.process.restart()
    }

    /// As [`RedisServer::restart`], without waiting.
    ///
    /// # Errors
    /// If there is no redis-server.
    pub fn begin_restart(&mut self) -> io::Result<()> {
        self.process.begin_restart()
    }

    /// Stops the process where it stands (SIGSTOP): it accepts connections and answers nothing.
    ///
    /// # Errors
    /// If `kill` cannot be run.
    pub fn freeze(&self) -> io::Result<()> {
        self.process.signal("-STOP")
    }

    /// Lets a frozen process go on.
    ///
    /// # Errors
    /// If `kill` cannot be run.
    pub fn thaw(&self) -> io::Result<()> {
        self.process.signal("-CONT")
    }
}

/// How often a server with an append-only file sees to it that the disk has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before each answer.
    Always,
    /// Every second.
    EverySecond,
}

/// What a server is to be. Its methods may be combined.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    program: Option<OsString>,
    settings: Vec<String>,
    username: Option<String>,
    password: Option<Secret>,
    /// The password of its user `default`, by which replicas and sentinels log in.
    master_password: Option<String>,
    /// How clients speak TLS; what the server needs for it is among `settings`.
    tls: Option<Tls>,
}

impl Builder {
    /// Another program than the one on the PATH: an older Redis, a Valkey.
    pub fn program(mut self, program: &Path) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Settings as on the command line, say `["--maxmemory", "1mb"]`.
    pub fn settings(mut self, settings: &[&str]) -> Self {
        self.settings
            .extend(settings.iter().map(|&setting| setting.to_owned()));
        self
    }

    /// Keeps an append-only file, in `appendonlydir` of [`RedisServer::directory`].
    pub fn append_only(self, fsync: Fsync) -> Self {
        let fsync = match fsync {
            Fsync::Always => "always",
            Fsync::EverySecond => "everysec",
        };
        self.settings(&["--appendonly", "yes", "--appendfsync", fsync])
    }

    /// Asks everybody for this password (`requirepass`); [`RedisServer::server`] knows it.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(Secret::new(password));
        self.master_password = Some(password.to_owned());
        self.settings(&["--requirepass", password, "--masterauth", password])
    }

    /// Adds an ACL user with `rights`, say `["~*", "+@all"]`, as whom [`RedisServer::server`] logs in. The user
    /// `default` stays as it is.
    pub fn user(mut self, name: &str, password: &str, rights: &[&str]) -> Self {
        self.username = Some(name.to_owned());
        self.password = Some(Secret::new(password));
        self.settings(&["--user", name, "on", &format!(">{password}")])
            .settings(rights)
    }

    /// Speaks TLS, and nothing else. With `clients_need_certificates`, clients must show one of the same authority.
    ///
    /// # Errors
    /// If the certificates cannot be read.
    pub fn tls(mut self, certificates: &Certificates, clients_need_certificates: bool) -> io::Result<Self> {
        self.tls = Some(if clients_need_certificates {
            certificates.trust_and_identity()?
        } else {
            certificates.trust()?
        });
        self.settings
            .extend(certificates.settings(clients_need_certificates));
        Ok(self)
    }

    /// Makes it a replica of `master`. Passwords and TLS are those of this builder: begin it as the master's.
    pub fn replica_of(self, master: &RedisServer) -> Self {
        self.settings(&["--replicaof", "127.0.0.1", &master.port().to_string()])
    }

    /// Starts it, and waits until it can be spoken to.
    ///
    /// # Errors
    /// If there is no such program, or it does not start.
    pub fn start(self) -> io::Result<RedisServer> {
        let process = Process::start(
            self.program.clone().unwrap_or_else(redis_server),
            "Ready to accept connections",
            |port, _| Ok(self.arguments(port)),
        )?;
        let server = Server {
            username: self.username,
            password: self.password,
            tls: self.tls,
            ..Server::new(on_loopback(process.port()))
        };
        Ok(RedisServer { process, server })
    }

    fn arguments(&self, port: u16) -> Vec<String> {
        let own = ["--bind", "127.0.0.1", "--logfile", "log", "--save", ""].map(str::to_owned);
        [&own[..], &listen(port, self.tls.is_some()), &self.settings].concat()
    }
}

fn listen(port: u16, tls: bool) -> Vec<String> {
    let port = port.to_string();
    let settings: &[&str] = if tls {
        &["--port", "0", "--tls-port", &port]
    } else {
        &["--port", &port]
    };
    settings.iter().map(|&setting| setting.to_owned()).collect()
}

fn redis_server() -> OsString {
    std::env::var_os("WORKERPOOL_REDIS_SERVER").unwrap_or_else(|| "redis-server".into())
}

fn on_loopback(port: u16) -> Address {
    Address {
        host: Ipv4Addr::LOCALHOST.to_string(),
        port,
    }
}
