//! A `redis-server` process on a port of loopback, with a directory of its own.

use std::{
    ffi::OsString,
    fs, io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a process may take to start; one that loads many jobs on a busy machine needs seconds.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A process that is killed, and its directory removed, with its handle.
#[derive(Debug)]
pub(super) struct Process {
    child: Option<Child>,
    port: u16,
    directory: PathBuf,
    program: OsString,
    arguments: Vec<String>,
    /// What its log says when it can be spoken to.
    ready: &'static str,
}

impl Process {
    /// Starts `program` with the arguments that `arguments` makes of its port and directory. It must log to the file
    /// `log` of that directory.
    pub(super) fn start(
        program: OsString,
        ready: &'static str,
        arguments: impl Fn(u16, &Path) -> io::Result<Vec<String>>,
    ) -> io::Result<Self> {
        let directory =
            std::env::temp_dir().join(format!("workerpool-redis-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir_all(&directory)?;
        let mut process = Self {
            child: None,
            port: 0,
            directory,
            program,
            arguments: Vec::new(),
            ready,
        };
        // A free port may be taken by somebody else before the server binds it.
        for _ in 0..5 {
            process.port = free_port()?;
            process.arguments = arguments(process.port, &process.directory)?;
            match process.spawn() {
                Ok(()) => return Ok(process),
                Err(err) if err.kind() == io::ErrorKind::AddrInUse => {}
                Err(err) => return Err(err),
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port found"))
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Fails only if it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.kill();
        self.spawn()
    }

    pub(super) fn begin_restart(&mut self) -> io::Result<()> {
        self.kill();
        self.launch()
    }

    pub(super) fn signal(&self, signal: &str) -> io::Result<()> {
        if let Some(pid) = self.pid() {
            Command::new("kill").arg(signal).arg(pid.to_string()).status()?;
        }
        Ok(())
    }

    fn spawn(&mut self) -> io::Result<()> {
        self.launch()?;
        self.wait_until_ready()
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn launch(&mut self) -> io::Result<()> {
        // A new log for each start, or an old "ready" would be taken for this one's.
        let _ = fs::remove_file(self.log());
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        self.child = Some(child);
        Ok(())
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let said = fs::read_to_string(self.log()).unwrap_or_default();
            if said.contains(self.ready) {
                return Ok(());
            }
            let exited = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if exited.is_some() || Instant::now() > deadline {
                self.kill();
                let in_use = said.contains("Address already in use");
                let kind = if in_use {
                    io::ErrorKind::AddrInUse
                } else {
                    io::ErrorKind::Other
                };
                return Err(io::Error::new(
                    kind,
                    format!("redis-server did not start: {said}"),
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

pub(super) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
