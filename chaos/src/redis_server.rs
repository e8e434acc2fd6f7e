//! The Redis of a run: its log, and what is done to it.

use std::{
    collections::VecDeque,
    io::Write,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use queue::test_server::RedisServer;

use crate::{
    config::Fsync,
    effects::monotonic_ms,
    history::{History, Keys},
    log_files::{LogFiles, Place},
};

/// What a power cut takes from a log that is forced to the disk once a second.
const UNFORCED: Duration = Duration::from_secs(1);

/// The beginning of a command that was never acknowledged, because it was not yet whole on the disk.
const TORN: &[u8] = b"*3\r\n$3\r\nSET\r\n$4\r\nto";

/// A Redis with an append-only file.
#[derive(Debug)]
pub(crate) struct Redis {
    server: Mutex<RedisServer>,
    fsync: Fsync,
    keys: Keys,
    port: u16,
    log: LogFiles,
    ends: Mutex<VecDeque<(Instant, Place)>>,
    crashes: Mutex<Vec<u64>>,
    undone: Mutex<Undone>,
}

/// What power cuts have taken so far.
#[derive(Debug)]
struct Undone {
    history: History,
    /// What was left by the last cut.
    kept: History,
    /// Where the last cut ended: a boundary between steps.
    boundary: Place,
}

impl Redis {
    /// Starts one, and keeps all of its log in the folder `log`.
    pub(crate) fn start(fsync: Fsync, keys: Keys, log: &Path) -> anyhow::Result<Self> {
        let server = RedisServer::start_with(&[
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            fsync.as_str(),
            // Rewritten, it is loaded in a second after each kill, however long the run is.
            "--auto-aof-rewrite-min-size",
            "16mb",
            "--aof-timestamp-enabled",
            "yes",
            // Each worker reaches it by an address of its own; nobody else is in this network.
            "--bind",
            "0.0.0.0",
            "--protected-mode",
            "no",
        ])
        .context("cannot start redis-server")?;
        let log = LogFiles::new(server.directory(), log.to_owned())?;
        log.keep()?;
        let port = server.port();
        let undone = Undone {
            history: History::new(keys.clone()),
            kept: History::new(keys.clone()),
            boundary: Place::default(),
        };
        Ok(Self {
            server: Mutex::new(server),
            fsync,
            keys,
            port,
            log,
            ends: Mutex::default(),
            crashes: Mutex::default(),
            undone: Mutex::new(undone),
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// kill -9, and a start after `pause`. Blocks.
    pub(crate) fn kill(&self, pause: Duration) -> anyhow::Result<()> {
        let mut server = lock(&self.server);
        self.crash(&mut server);
        start(&mut server, pause)
    }

    /// As [`Redis::kill`], and the log holds only what was surely on the disk. Blocks.
    pub(crate) fn cut_power(&self, pause: Duration) -> anyhow::Result<()> {
        let mut server = lock(&self.server);
        self.crash(&mut server);
        match self.fsync {
            // Every answer was given after its bytes were forced: what may be torn is a command without an answer.
            Fsync::Always => self.log.open(self.log.keep()?.file)?.write_all(TORN)?,
            Fsync::Everysec => self.cut()?,
        }
        start(&mut server, pause)
    }

    /// SHUTDOWN, and a start after `pause`. Blocks.
    pub(crate) fn restart(&self, pause: Duration) -> anyhow::Result<()> {
        let mut server = lock(&self.server);
        let client = redis::Client::open(format!("redis://{}", server.server().address))?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
        // It answers by closing the connection.
        let _: Result<(), _> = redis::cmd("SHUTDOWN").query(&mut connection);
        start(&mut server, pause)
    }

    /// SIGSTOP for `time`. Blocks.
    pub(crate) fn freeze(&self, time: Duration) -> anyhow::Result<()> {
        let server = lock(&self.server);
        server.freeze()?;
        std::thread::sleep(time);
        server.thaw()?;
        Ok(())
    }

    /// Notes where the log ends, so that a cut knows where it ended. To be called often.
    pub(crate) fn note_end(&self) -> anyhow::Result<()> {
        let end = self.log.keep()?;
        let mut ends = lock(&self.ends);
        let now = Instant::now();
        ends.push_back((now, end));
        while ends
            .get(1)
            .is_some_and(|(at, _)| now.duration_since(*at) > UNFORCED)
        {
            ends.pop_front();
        }
        Ok(())
    }

    /// What it has logged, and what it had logged and lost.
    pub(crate) fn histories(&self) -> anyhow::Result<(History, History)> {
        let mut history = History::new(self.keys.clone());
        self.log.keep()?;
        self.log.replay(Place::default(), |step, _| history.apply(step))?;
        let empty = History::new(self.keys.clone());
        let undone = std::mem::replace(&mut lock(&self.undone).history, empty);
        Ok((history, undone))
    }

    /// When it was killed (monotonic ms) and may have forgotten what it had answered but not written.
    pub(crate) fn crashes(&self) -> Vec<u64> {
        lock(&self.crashes).clone()
    }

    fn crash(&self, server: &mut RedisServer) {
        server.kill();
        if self.fsync == Fsync::Everysec {
            lock(&self.crashes).push(monotonic_ms());
        }
    }

    fn cut(&self) -> anyhow::Result<()> {
        let mut ends = lock(&self.ends);
        let mut undone = lock(&self.undone);
        let last = self.log.keep()?;
        // Not before the last cut: what was loaded from the disk is on it. Nor in a file before the last: Redis
        // forces one before it begins the next.
        let begin = Place {
            file: last.file,
            bytes: 0,
        };
        let end = ends
            .front()
            .map_or(begin, |(_, end)| *end)
            .max(undone.boundary)
            .max(begin);
        ends.clear();
        let Undone {
            history,
            kept,
            boundary,
        } = &mut *undone;
        let mut lost = None;
        self.log.replay(*boundary, |step, place| {
            if place <= end {
                *boundary = place;
                return kept.apply(step);
            }
            lost.get_or_insert_with(|| kept.fork()).apply(step)
        })?;
        if let Some(lost) = lost {
            history.absorb(lost);
        }
        self.log.open(end.file)?.set_len(end.bytes)?;
        tracing::info!(?end, was = ?last, "the log was cut back");
        Ok(())
    }
}

fn start(server: &mut RedisServer, pause: Duration) -> anyhow::Result<()> {
    std::thread::sleep(pause);
    server.restart().context("redis-server did not start again")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
