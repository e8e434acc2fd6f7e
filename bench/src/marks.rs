//! What every job does, ours and each peer's, in every language: it leaves marks in one file.
//!
//! A mark is 16 bytes, little endian: the job's number (u32), the phase (u32: 0 enqueued, 1 started, 2 ended) and the
//! moment (u64: nanoseconds of the machine's real-time clock), appended with one `write`. A job with nothing to do leaves
//! its start only. By this side effect jobs are counted and timed, and by no peer's own word.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Size of a mark in the file.
pub const BYTES: usize = 16;

/// What a mark says, as it stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Phase {
    /// The job is about to be put into the queue.
    Enqueued = 0,
    /// Its handler has begun.
    Started = 1,
    /// Its handler has done its work.
    Ended = 2,
}

/// One entry of the file.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// Which job.
    pub number: u32,
    /// What happened to it.
    pub phase: u32,
    /// When, in nanoseconds since 1970.
    pub at_ns: u64,
}

impl Mark {
    /// Reads the file's bytes; a last mark that is not whole yet is left out.
    pub fn read(bytes: &[u8]) -> Vec<Self> {
        let (marks, _) = bytes.as_chunks::<BYTES>();
        marks.iter().map(Self::from_bytes).collect()
    }

    fn from_bytes(bytes: &[u8; BYTES]) -> Self {
        let word = |from: usize| {
            u32::from_le_bytes([bytes[from], bytes[from + 1], bytes[from + 2], bytes[from + 3]])
        };
        Self {
            number: word(0),
            phase: word(4),
            at_ns: u64::from(word(8)) | u64::from(word(12)) << 32,
        }
    }

    /// Whether it is of this phase.
    pub fn is(&self, phase: Phase) -> bool {
        self.phase == phase as u32
    }
}

/// Leaves marks.
#[derive(Debug)]
pub struct Marker {
    file: File,
    job: Duration,
}

impl Marker {
    /// Marks go to the file that `MARKS` names; a job takes `JOB_MS` milliseconds, none if that is not set.
    ///
    /// # Errors
    /// If a variable makes no sense, or the file is not there.
    pub fn from_env() -> io::Result<Self> {
        let path = std::env::var_os("MARKS").ok_or_else(|| io::Error::other("MARKS is not set"))?;
        let job = std::env::var("JOB_MS").unwrap_or_else(|_| "0".to_owned());
        Ok(Self {
            file: OpenOptions::new().append(true).open(path)?,
            job: Duration::from_millis(job.parse().map_err(io::Error::other)?),
        })
    }

    /// Leaves one mark.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn mark(&self, number: u32, phase: Phase) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let mut mark = [0; BYTES];
        mark[..4].copy_from_slice(&number.to_le_bytes());
        mark[4..8].copy_from_slice(&(phase as u32).to_le_bytes());
        mark[8..].copy_from_slice(&nanoseconds.to_le_bytes());
        (&self.file).write_all(&mark)
    }

    /// Does the job.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn job(&self, number: u32) -> io::Result<()> {
        self.mark(number, Phase::Started)?;
        if !self.job.is_zero() {
            tokio::time::sleep(self.job).await;
            self.mark(number, Phase::Ended)?;
        }
        Ok(())
    }
}
