//! What is in Redis: key names, items, scripts, and the four faces of the queue.
//!
//! Nobody else knows the protocol. A program takes the face that it needs:
//!
//! | face | who | does |
//! |---|---|---|
//! | [`Producer`] | the API | puts jobs in, looks them up, cancels them, looks after the dead |
//! | [`Consumer`] | a worker | takes jobs, keeps their leases, finishes them or gives them back |
//! | [`Observer`] | the operator | reads how long the queue is, and is told when that changes |
//! | [`Drainer`] | the operator | marks pods quiet before they go, ticks where no worker does |
//!
//! Where to look: `server` (where a Redis is), `job`, `payload` (what is submitted with one), `results` (what one
//! gives), `state` (how far one is), `item` (how an id lies on the list), `keys` (every key's name),
//! `scripts/*.lua` (every step of the protocol, one file and one typed wrapper each), `connect`, `error`,
//! `risks` (what makes data unsafe).
//! The protocol itself, with what each step survives, is docs/protocol.md.

#[cfg(feature = "args")]
mod args;
mod check;
mod connect;
mod consumer;
mod dead;
mod drainer;
mod error;
mod foreign;
pub mod item;
mod job;
mod keys;
mod observer;
mod overview;
mod payload;
mod producer;
mod reply;
mod results;
mod risks;
mod scripts;
mod server;
mod state;
#[cfg(feature = "test-server")]
pub mod test_server;

#[cfg(feature = "args")]
pub use args::RedisArgs;
pub use connect::{AnswerLimit, NO_CLUSTER};
pub use consumer::{
    Backoff, Claimed, Claims, Consumer, Ended, Ending, Finish, Identity, Lease, Nonce, Renewal, Retention,
    Retry, Terms, Tick, Token, Wake,
};
pub use dead::{Cancel, Dead, DeadPage, Details, Past, Retried};
pub use drainer::{Drainer, Mark, WorkerState};
pub use error::{Error, Result};
pub use foreign::{ForeignWorkers, Sweep};
pub use job::{Cursor, Idempotency, Job, JobId, JobOptions, MAX_ID_BYTES, NewJob, Page, Status};
pub use observer::{Change, Changes, Counts, ForeignKey, ForeignQueue, KeyKind, Observer, Reading, Subject};
pub use overview::{Overview, WorkerJobs};
pub use payload::Payload;
pub use producer::Producer;
pub use results::{JobResult, ResultHead, ResultLook};
pub use risks::{Risk, risks_of};
pub use server::{
    Address, Cluster, ForeignStatus, LoginFiles, Queue, QueueName, Secret, Sentinel, Serializer, Server,
    SettingFile, Tls, TlsFiles, TlsIdentity,
};
pub use state::{JobState, Progress};
