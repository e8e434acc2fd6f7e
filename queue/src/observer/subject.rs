//! What an observer reads: a queue of ours, or another system's.

use std::{fmt, sync::Arc};

use redis::{Cmd, Value};

use super::Reading;
use crate::{
    Queue, Result,
    keys::Keys,
    scripts::{LENGTHS, OBSERVE, Script, read_lengths, read_observed, write_lengths_to},
};

/// What can be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A queue of ours.
    Own(Queue),
    /// Another system's.
    Foreign(Arc<ForeignQueue>),
}

impl Subject {
    /// The queue, if it is one of ours.
    pub fn own(&self) -> Option<&Queue> {
        match self {
            Self::Own(queue) => Some(queue),
            Self::Foreign(_) => None,
        }
    }

    /// Whether it changes in ways that Redis does not tell of, while there is something in it: what a consumer group does
    /// counts as no change of its stream.
    pub fn changes_unseen(&self) -> bool {
        match self {
            Self::Own(_) => false,
            Self::Foreign(queue) => queue.waiting.iter().any(|key| key.group.is_some()),
        }
    }
}

impl From<Queue> for Subject {
    fn from(queue: Queue) -> Self {
        Self::Own(queue)
    }
}

impl From<ForeignQueue> for Subject {
    fn from(queue: ForeignQueue) -> Self {
        Self::Foreign(Arc::new(queue))
    }
}

/// The keys in which another system keeps a queue. Only their lengths are ever read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ForeignQueue {
    /// The database of all of them.
    pub db: u32,
    /// Where jobs wait.
    pub waiting: Vec<ForeignKey>,
    /// Where jobs are while they run.
    pub running: Vec<ForeignKey>,
}

impl ForeignQueue {
    pub(crate) fn keys(&self) -> impl Iterator<Item = &ForeignKey> {
        self.waiting.iter().chain(&self.running)
    }
}

/// One key, and what it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForeignKey {
    /// Its name.
    pub name: String,
    /// What it should be.
    pub kind: KeyKind,
    /// Of a stream: whose backlog waits, and whose pending entries run; else the whole stream.
    pub group: Option<String>,
}

/// What a key is. Each counts as as many jobs as it has elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// A list.
    List,
    /// A stream.
    Stream,
    /// A sorted set.
    SortedSet,
    /// A set.
    Set,
    /// A hash.
    Hash,
}

impl KeyKind {
    /// As Redis' own `TYPE` says it.
    pub(crate) fn as_redis(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Stream => "stream",
            Self::SortedSet => "zset",
            Self::Set => "set",
            Self::Hash => "hash",
        }
    }
}

/// The queue's name, or the first key's.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(queue) => queue.name.fmt(f),
            Self::Foreign(queue) => f.write_str(queue.waiting.first().map_or("", |key| &key.name)),
        }
    }
}

/// How a subject is read.
pub(super) enum Question<'a> {
    Own(Box<Keys>),
    Foreign(&'a ForeignQueue),
}

impl<'a> Question<'a> {
    pub(super) fn about(subject: &'a Subject) -> Self {
        match subject {
            Subject::Own(queue) => Self::Own(Box::new(Keys::new(queue))),
            Subject::Foreign(queue) => Self::Foreign(queue),
        }
    }

    /// The keys whose change changes the answer.
    pub(super) fn keys(&self) -> Vec<&str> {
        match self {
            Self::Own(keys) => keys.tracked().to_vec(),
            Self::Foreign(queue) => queue.keys().map(|key| key.name.as_str()).collect(),
        }
    }

    pub(super) fn script(&self) -> &'static Script {
        match self {
            Self::Own(_) => &OBSERVE,
            Self::Foreign(_) => &LENGTHS,
        }
    }

    pub(super) fn command(&self) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(self.script().get_hash());
        match self {
            Self::Own(keys) => keys.write_observed_to(&mut cmd),
            Self::Foreign(queue) => write_lengths_to(&mut cmd, queue),
        }
        cmd
    }

    pub(super) fn understand(&self, answer: Value, address: &str, tracked: bool) -> Result<Reading> {
        match self {
            Self::Own(_) => read_observed(answer, address, tracked),
            Self::Foreign(_) => read_lengths(answer, address, tracked),
        }
    }
}
