//! Everything that can go wrong between a program and Redis, each under a name of its own.

mod classify;

use std::time::Duration;

pub(crate) use self::classify::{During, brief, brief_debug};

/// Why a call to the queue failed.
///
/// The variants are what an operator of the system would act on differently. They are cheap to clone, because
/// submissions that shared a script call share its error too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection could be made: refused, no such host, no route.
    #[error("cannot reach Redis at {address}: {detail}")]
    Unreachable {
        /// `host:port` as it was configured, or as Sentinel named it.
        address: String,
        /// What the system said.
        detail: String,
    },
    /// Redis did not answer in time. A call that writes may or may not have been carried out; every call of
    /// this crate can be repeated safely.
    #[error("Redis at {address} did not answer within {after:?}")]
    Timeout {
        /// `host:port` as it was configured, or as Sentinel named it.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection broke while a call was under way: a restart, a failover, `CLIENT KILL`. As with
    /// [`Error::Timeout`], the call may have been carried out.
    #[error("the connection to Redis at {address} broke: {detail}")]
    Disconnected {
        /// `host:port` as it was configured, or as Sentinel named it.
        address: String,
        /// What the system said.
        detail: String,
    },
    /// None of the sentinels could be asked where the master is. They are asked again at the next call.
    #[error("no sentinel answers, so nobody says where Redis is (asked: {sentinels}): {detail}")]
    NoSentinel {
        /// Their addresses.
        sentinels: String,
        /// What the first one failed with.
        detail: String,
    },
    /// Sentinels answer, and know no master of that name.
    #[error(
        "the sentinels ({sentinels}) know no master named {name:?}: correct the name, or make them monitor it"
    )]
    UnknownMaster {
        /// The name that was asked for.
        name: String,
        /// The sentinels' addresses.
        sentinels: String,
    },
    /// The server has as many clients as it takes (`maxclients`).
    #[error("Redis takes no more clients: raise its maxclients or use fewer: {0}")]
    TooManyClients(String),
    /// TLS could not be set up: a certificate that cannot be read, or that the other side does not accept.
    #[error("TLS with Redis at {address} failed: {detail}")]
    Tls {
        /// `host:port` as it was configured, or as Sentinel named it.
        address: String,
        /// What rustls said.
        detail: String,
    },
    /// Wrong user name or password, or one is needed and none was given.
    #[error("Redis refused the login: {0}")]
    Auth(String),
    /// The user may not run a command, or not on a key, that the queue needs (`NOPERM`); or the server is in protected
    /// mode (`DENIED`).
    #[error("Redis denies this user what the queue needs: {0}")]
    Denied(String),
    /// The server does not have a command: it was renamed, or a proxy or a provider leaves it out.
    #[error("Redis does not have a command that the queue needs: {0}")]
    UnknownCommand(String),
    /// The server is older than 6.2, which has no `LMOVE`; or than 5.0, where only other systems' queues are read.
    #[error("Redis {found} is too old: {needed}")]
    TooOld {
        /// The server's version.
        found: String,
        /// What is needed, and for what.
        needed: &'static str,
    },
    /// The server sent more after one request than any answer has, so the connection was broken.
    #[error(
        "Redis at {address} sent more than {} MiB in answer to one request, so the connection was closed: look for a \
         key that is not what it should be, or for something that is no Redis at that address", limit / 1024 / 1024
    )]
    AnswerTooLarge {
        /// `host:port` as it was configured, or as Sentinel named it.
        address: String,
        /// How much an answer may have, in bytes.
        limit: usize,
    },
    /// A file that holds a login or a certificate cannot be read. It is tried again for the next connection.
    #[error("cannot read {path}, which {setting} names: {detail}")]
    UnreadableFile {
        /// The file.
        path: String,
        /// The setting that names it.
        setting: &'static str,
        /// What the system said.
        detail: String,
    },
    /// The server became a read-only replica under a call (`READONLY`).
    #[error("Redis is read-only (a replica?): {0}")]
    ReadOnly(String),
    /// The server is not the master: what it answers may be stale, and it takes no writes.
    #[error("Redis at {address} is a {role}, not the master")]
    NotMaster {
        /// `host:port` as it was configured, or as Sentinel named it.
        address: String,
        /// The role that it told.
        role: String,
    },
    /// The server's memory is full (`OOM`) and its policy is not to evict.
    #[error("Redis is out of memory: {0}")]
    OutOfMemory(String),
    /// The server is reading its data from disk (`LOADING`).
    #[error("Redis is loading its data")]
    Loading,
    /// The server cannot write as safely as it was told to (`MISCONF`, `NOREPLICAS`).
    #[error("Redis refuses writes: {0}")]
    WritesRefused(String),
    /// A key that the queue uses holds something of another type (`WRONGTYPE`).
    #[error("a key of the queue holds something else: {0}")]
    WrongType(String),
    /// The keys are on another node of a Redis Cluster (`MOVED`), or about to be (`ASK`).
    #[error(
        "Redis at {address} is a node of a Redis Cluster, and the keys are at {to}: name its nodes as a cluster, not as an address"
    )]
    Redirected {
        /// Who said so.
        address: String,
        /// `host:port`, as the node says it.
        to: String,
        /// Whether only for this once, while the slot moves (`ASK`).
        asking: bool,
    },
    /// The keys of one queue are in different slots of a Redis Cluster (`CROSSSLOT`).
    #[error(
        "the keys of this queue are in different slots of the Redis Cluster: have them share a part in braces, as \
         asynq:{{mails}}:pending and asynq:{{mails}}:active do, or name one key for each queue"
    )]
    CrossSlot,
    /// A Redis Cluster cannot serve the keys now: a master is gone and no replica in its place yet (`CLUSTERDOWN`), or the
    /// slot is moving and some of the keys are here, some there (`TRYAGAIN`).
    #[error("the Redis Cluster cannot serve the queue's keys now: {0}")]
    SlotUnavailable(String),
    /// A job with the same id but other contents exists already.
    #[error("job {0} exists already with other contents")]
    Conflict(String),
    /// An idempotency key that stands for another request.
    #[error("idempotency key {0:?} was used for something else")]
    KeyReused(String),
    /// Something longer than the queue keeps.
    #[error("{what} has at most {limit} bytes, not {bytes}")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// How long it is, in bytes.
        bytes: usize,
        /// How long it may be, in bytes.
        limit: usize,
    },
    /// Something that is not what it has to be.
    #[error("{what} is malformed: {detail}")]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The caller is no longer the leader: somebody gave marks with a higher epoch.
    #[error("leader epoch {given} is over: {current} has been seen")]
    StaleEpoch {
        /// The epoch given.
        given: u64,
        /// The highest epoch seen.
        current: u64,
    },
    /// A setting that cannot be used.
    #[error("{0}")]
    Config(String),
    /// Redis answered something that this version does not understand.
    #[error("unexpected answer from Redis: {0}")]
    Unexpected(String),
}

impl Error {
    /// A short name for logs and metric labels; one per variant and never changing.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Timeout { .. } => "timeout",
            Self::Disconnected { .. } => "disconnected",
            Self::NoSentinel { .. } => "no_sentinel",
            Self::UnknownMaster { .. } => "unknown_master",
            Self::TooManyClients(_) => "too_many_clients",
            Self::Tls { .. } => "tls",
            Self::Auth(_) => "auth",
            Self::Denied(_) => "denied",
            Self::UnknownCommand(_) => "unknown_command",
            Self::TooOld { .. } => "too_old",
            Self::AnswerTooLarge { .. } => "answer_too_large",
            Self::UnreadableFile { .. } => "unreadable_file",
            Self::ReadOnly(_) => "read_only",
            Self::NotMaster { .. } => "not_master",
            Self::OutOfMemory(_) => "out_of_memory",
            Self::Loading => "loading",
            Self::WritesRefused(_) => "writes_refused",
            Self::WrongType(_) => "wrong_type",
            Self::Redirected { .. } => "redirected",
            Self::CrossSlot => "cross_slot",
            Self::SlotUnavailable(_) => "slot_unavailable",
            Self::Conflict(_) => "conflict",
            Self::KeyReused(_) => "key_reused",
            Self::TooLarge { .. } => "too_large",
            Self::Malformed { .. } => "malformed",
            Self::StaleEpoch { .. } => "stale_epoch",
            Self::Config(_) => "config",
            Self::Unexpected(_) => "unexpected",
        }
    }

    pub(crate) fn check_size(what: &'static str, bytes: usize, limit: usize) -> Result<()> {
        if bytes <= limit {
            return Ok(());
        }
        Err(Self::TooLarge { what, bytes, limit })
    }

    /// Whether the call may have been carried out although it failed: the answer was lost, not the request.
    pub fn is_ambiguous(&self) -> bool {
        matches!(
            self,
            Self::Timeout { .. } | Self::Disconnected { .. } | Self::AnswerTooLarge { .. }
        )
    }
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
