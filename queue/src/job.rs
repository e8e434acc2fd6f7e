//! A job, as its users see it: five fields of a hash on the jobs database.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Error, Payload, Progress, Result};

/// The longest job id that is taken from a list, in bytes.
pub const MAX_ID_BYTES: usize = 512;

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(crate) use text_newtype;

text_newtype! {
    /// A job's id: a uuid4 in text for jobs of ours; any text without control characters of at most
    /// [`MAX_ID_BYTES`] bytes for others.
    JobId
}

impl JobId {
    /// A new random id.
    pub fn fresh() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// Takes `id` if it can be a job's id.
    pub fn new(id: impl Into<String>) -> Option<Self> {
        let id = id.into();
        let fits = !id.is_empty() && id.len() <= MAX_ID_BYTES && !id.bytes().any(|b| b < 0x20 || b == 0x7f);
        fits.then_some(Self(id))
    }
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Status {
    /// Waiting for a worker.
    Submitted,
    /// A worker has it.
    InProgress,
    /// Done.
    Complete,
    /// Given up: every attempt is spent.
    Failed,
    /// Taken back by a user.
    Cancelled,
    /// What a foreign program wrote.
    Other(String),
}

impl Status {
    /// As it stands in Redis.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Submitted => "submitted",
            Self::InProgress => "in progress",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Other(text) => text,
        }
    }
}

impl From<&str> for Status {
    fn from(text: &str) -> Self {
        match text {
            "submitted" => Self::Submitted,
            "in progress" => Self::InProgress,
            "complete" => Self::Complete,
            "failed" => Self::Failed,
            "cancelled" => Self::Cancelled,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A job to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Its id. Submitting the same job under the same id again is harmless and adds nothing; another `start`, `end`
    /// or payload under it is a conflict. Options do not count: those of the first submission hold.
    pub id: JobId,
    /// What the user wrote; the queue does not look into it.
    pub start: String,
    /// What the user wrote; the queue does not look into it.
    pub end: String,
    /// What else the user sends, for the handler.
    pub payload: Option<Payload>,
    /// On what terms this job is run.
    pub options: JobOptions,
    /// Under what it is submitted at most once, whatever its id.
    pub idempotency: Option<Idempotency>,
}

/// What one job has otherwise than the other jobs of its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobOptions {
    /// So many runs that ended badly and the job is dead, whosever fault it was: failures, timeouts and lost workers
    /// together. At least 1. `None`: as the [`Retry`](crate::Retry) of the queue says.
    pub max_attempts: Option<u32>,
    /// How long a run may take; at least 1 ms. `None`: as the worker says.
    pub timeout: Option<Duration>,
    /// Whether it is mirrored elsewhere: each of its changes is noted, for
    /// [`Producer::take_changed`](crate::Producer::take_changed).
    pub watched: bool,
}

/// A key that its user repeats with a request, so that the request is carried out once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The key, as the user gave it. Keys of one queue share a namespace.
    pub key: String,
    /// What was asked, or a hash of it: the same key with another one is refused.
    pub fingerprint: String,
    /// How long the key is remembered, from the first request on. At least 1 ms.
    pub keep: Duration,
}

impl NewJob {
    /// A job with an id of its own, and nothing besides.
    pub fn new(start: impl Into<String>, end: impl Into<String>) -> Self {
        Self {
            id: JobId::fresh(),
            start: start.into(),
            end: end.into(),
            payload: None,
            options: JobOptions::default(),
            idempotency: None,
        }
    }
}

/// A job as Redis has it. Values that are not UTF-8 (a foreign program's) are read with replacement characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// How far it is.
    pub status: Status,
    /// As submitted; empty if a foreign program left it out.
    pub start: String,
    /// As submitted; empty if a foreign program left it out.
    pub end: String,
    /// The IP of the pod that has or had it, once a worker took it.
    pub worker: Option<String>,
    /// When it was submitted, in Unix milliseconds of the server's clock. `None` for jobs of foreign producers.
    pub submitted_ms: Option<u64>,
    /// What its last run said last. Only [`Producer::get`](crate::Producer::get) looks it up.
    pub progress: Option<Progress>,
    /// What was submitted with it. Only [`Producer::get`](crate::Producer::get) looks it up.
    pub payload: Option<Payload>,
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Newest first. Holds the jobs that were submitted through this crate; those of foreign producers are
    /// found by their id only.
    pub jobs: Vec<Job>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<Cursor>,
}

/// A place in a listing, after one of its entries: stable while others come and go, also while that one does. Users keep its
/// text, and know nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// When that entry came, in what the listing counts by.
    pub(crate) at: u64,
    pub(crate) member: Vec<u8>,
}

/// The text: the time, and the member's bytes in hexadecimal, so that it can stand in a URL.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", self.at)?;
        self.member.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Cursor {
    type Err = Error;

    /// Refuses also the cursors of 0.1.0, which were a number: they did not say which of those of one time came last.
    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::Malformed {
            what: "a cursor",
            detail: "no earlier page gave it".to_owned(),
        };
        let (at, member) = text.split_once('.').ok_or_else(bad)?;
        let is_number = (1..=17).contains(&at.len()) && at.bytes().all(|byte| byte.is_ascii_digit());
        let is_hex = member.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_number || !is_hex || !(2..=2 * MAX_ID_BYTES).contains(&member.len()) {
            return Err(bad());
        }
        let byte = |at: usize| u8::from_str_radix(member.get(at..at + 2)?, 16).ok();
        let member: Option<_> = (0..member.len()).step_by(2).map(byte).collect();
        Ok(Self {
            at: at.parse().map_err(|_| bad())?,
            member: member.ok_or_else(bad)?,
        })
    }
}
