//! What handlers leave behind, elsewhere than in Redis: a file per process, a line per start and per end.
//!
//! A line is handed to the kernel whole before the work goes on, so a killed process has told all that it did.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};

/// How an execution ended, as its handler saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    /// It did all of its work.
    Done,
    /// It failed, as its job told it to.
    Failed,
    /// It was stopped: its worker had lost the job.
    Lost,
    /// It was stopped: its user wants it no more.
    Cancelled,
    /// It was stopped: its time was up.
    TimedOut,
    /// It was stopped: its worker ends.
    Shutdown,
}

impl End {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Done,
        Self::Failed,
        Self::Lost,
        Self::Cancelled,
        Self::TimedOut,
        Self::Shutdown,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed-out",
            Self::Shutdown => "shutdown",
        }
    }
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Numbers the executions of this process.
    pub number: u64,
    /// The job's id.
    pub job: String,
    /// Which attempt it was, as the worker was told.
    pub attempt: u32,
    /// The process.
    pub pid: u32,
    /// The machine's clock that nobody sets, in milliseconds: the same for all processes.
    pub monotonic_ms: u64,
    /// Unix milliseconds as this process sees them; its clock may be hours off.
    pub wall_ms: u64,
    /// How it ended; `None` in the line of its start.
    pub end: Option<End>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.end.map_or("start", End::as_str);
        let Self {
            number,
            job,
            attempt,
            pid,
            monotonic_ms,
            wall_ms,
            ..
        } = self;
        write!(
            f,
            "{what} {number} {job} {attempt} {pid} {monotonic_ms} {wall_ms}"
        )
    }
}

/// The text is no line of a file of side effects.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no start and no end of an execution")]
pub struct NoLine(String);

impl FromStr for Line {
    type Err = NoLine;

    fn from_str(text: &str) -> Result<Self, NoLine> {
        parse(text).ok_or_else(|| NoLine(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Line> {
    let mut words = text.split(' ');
    let end = match words.next()? {
        "start" => None,
        word => Some(End::ALL.into_iter().find(|end| end.as_str() == word)?),
    };
    let line = Line {
        end,
        number: words.next()?.parse().ok()?,
        job: words.next()?.to_owned(),
        attempt: words.next()?.parse().ok()?,
        pid: words.next()?.parse().ok()?,
        monotonic_ms: words.next()?.parse().ok()?,
        wall_ms: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(line)
}

/// The file that a process writes.
#[derive(Debug)]
pub struct Effects {
    file: File,
    next: AtomicU64,
}

impl Effects {
    /// Opens it to append.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_for(0, path)
    }

    /// As [`Effects::open`], for one of several processes that write the same file, by its id: each has one execution.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open_for(process: u32, path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: OpenOptions::new().create(true).append(true).open(path)?,
            next: AtomicU64::new(process.into()),
        })
    }

    /// Writes that an execution begins, and answers its number.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn start(&self, job: &str, attempt: u32) -> io::Result<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.write(number, job, attempt, None)?;
        Ok(number)
    }

    /// Writes how the execution `number` ends.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn end(&self, number: u64, job: &str, attempt: u32, end: End) -> io::Result<()> {
        self.write(number, job, attempt, Some(end))
    }

    fn write(&self, number: u64, job: &str, attempt: u32, end: Option<End>) -> io::Result<()> {
        let line = Line {
            number,
            job: job.to_owned(),
            attempt,
            pid: std::process::id(),
            monotonic_ms: monotonic_ms(),
            wall_ms: wall_ms(),
            end,
        };
        // One write a line: lines of several tasks do not mix.
        (&self.file).write_all(format!("{line}\n").as_bytes())
    }
}

/// The machine's monotonic clock. Asks the kernel and not the C library, which a test of clocks replaces.
pub fn monotonic_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or_default() * 1_000
        + u64::try_from(now.tv_nsec).unwrap_or_default() / 1_000_000
}

fn wall_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_read_as_it_was_written() {
        for end in End::ALL.map(Some).into_iter().chain([None]) {
            let line = Line {
                number: 3,
                job: "a-b".to_owned(),
                attempt: 2,
                pid: 77,
                monotonic_ms: 5,
                wall_ms: 6,
                end,
            };
            assert_eq!(line.to_string().parse::<Line>().unwrap(), line);
        }
    }

    #[test]
    fn half_a_line_is_refused() {
        assert!("start 3 a-b 2 77".parse::<Line>().is_err());
        assert!("begin 3 a-b 2 77 5 6".parse::<Line>().is_err());
        assert!("start 3 a-b 2 77 5 6 7".parse::<Line>().is_err());
    }
}
