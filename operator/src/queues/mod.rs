//! The watch on Redis: readings in, pools to reconcile out.
//!
//! One task and one tracked connection for each distinct [`Server`], whatever the number of pools. Reconciling only ever
//! looks at the [`Board`], so a Redis that answers slowly holds up nobody; what has to be done in Redis is an
//! [`Errand`] whose answer comes back as a change of the [`View`].
//!
//! - `board`: what is known of each pool's queues, and the stream of pools that it wakes.
//! - `view`: how several queues look as one.
//! - `server`: the task of one server.
//! - `errand`: marks on pods.
//! - `followed`: one queue, and when to read it again.
//! - `foreign`: which workers that are not ours are at work.
//! - `risks`: what puts the data at risk, asked from time to time.

mod board;
mod errand;
mod followed;
mod foreign;
mod risks;
mod server;
#[cfg(test)]
pub(crate) mod tests;
mod view;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::Stream;
use queue::{Queue, Risk, Server, Subject, Terms};
use tokio::sync::mpsc;

use self::{
    board::Board,
    server::{Command, Subscription},
};
pub use self::{
    board::Outlook,
    errand::{Errand, MarkPods, Marks},
    foreign::ForeignAtWork,
    view::{QueueView, View},
};
use crate::{PoolRef, foreign::Addresses, leader::Leadership};

/// What a pool follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where.
    pub server: Server,
    /// Which queues there, each once.
    pub queues: Vec<Subject>,
    /// What to do for those of our own that workers of ours do by the way, where perhaps none lives.
    pub chores: Option<Chores>,
    /// Where workers may be that are not ours and take from those of our own; `None` if nowhere.
    pub foreign: Option<Arc<Addresses>>,
}

impl Source {
    /// The queues of our own.
    pub fn own(&self) -> impl Iterator<Item = &Queue> {
        self.queues.iter().filter_map(Subject::own)
    }
}

/// What somebody has to do for a queue: promote retries, reap leases, end retention, look for what foreign workers lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chores {
    /// On these terms.
    pub terms: Terms,
    /// Whether to look for jobs that foreign workers took and lost, and put them back.
    pub recover_foreign: bool,
}

/// All queues that pools follow. Clones share them.
#[derive(Clone, Debug)]
pub struct Queues {
    board: Arc<Board>,
    shared: Arc<Mutex<Shared>>,
    /// Without it nothing is done in Redis; its epoch is that of the marks on pods.
    leadership: Leadership,
}

#[derive(Debug, Default)]
struct Shared {
    followed: HashMap<PoolRef, Source>,
    servers: HashMap<Server, Connected>,
}

/// A server's task; it ends when this is dropped.
#[derive(Debug)]
struct Connected {
    commands: mpsc::UnboundedSender<Command>,
    pools: usize,
}

impl Queues {
    /// No queues yet, and the stream of pools that should be reconciled because their queue changed. Each
    /// pool is in the stream at most once at a time. Only a leader's errands and chores are done.
    pub fn new(leadership: Leadership) -> (Self, impl Stream<Item = PoolRef> + Send + 'static) {
        let (board, wakes) = Board::new();
        let queues = Self {
            board: Arc::new(board),
            shared: Arc::default(),
            leadership,
        };
        (queues, wakes)
    }

    /// Follows the pool's queues from now on, if it does not already. Must be called within a tokio runtime.
    pub fn follow(&self, pool: &PoolRef, source: &Source) {
        let mut shared = self.shared();
        let known = shared.followed.get(pool);
        if known == Some(source) {
            return;
        }
        let moved = known.is_some_and(|known| known.server != source.server || known.queues != source.queues);
        if moved {
            shared.leave(pool);
            self.board.forget(pool);
        }
        self.board.add(pool, &source.queues);
        if source.foreign.is_none() {
            self.board.no_foreign(pool);
        }
        if !shared.servers.contains_key(&source.server) {
            match server::spawn(&source.server, Arc::clone(&self.board), self.leadership.clone()) {
                Ok(commands) => {
                    shared
                        .servers
                        .insert(source.server.clone(), Connected { commands, pools: 0 });
                }
                Err(error) => {
                    drop(shared);
                    for subject in &source.queues {
                        self.board.failed(pool, subject, &error);
                    }
                    return;
                }
            }
        }
        let fresh = shared.followed.insert(pool.clone(), source.clone()).is_none();
        if let Some(connected) = shared.servers.get_mut(&source.server) {
            connected.pools += usize::from(fresh);
            // All at once, so that they are read together.
            connected.send(Command::Follow(Subscription {
                pool: pool.clone(),
                subjects: source.queues.clone(),
                chores: source.chores,
                foreign: source.foreign.clone(),
            }));
        }
        drop(shared);
        self.board.tell(pool);
    }

    /// Follows the pool's queues no longer; a server that no pool needs is disconnected.
    pub fn forget(&self, pool: &PoolRef) {
        self.shared().leave(pool);
        self.board.forget(pool);
        self.board.tell(pool);
    }

    /// Where the pool's queue is into which something can be put, the first of our own, if it is followed.
    #[must_use]
    pub fn source(&self, pool: &PoolRef) -> Option<(Server, Queue)> {
        let shared = self.shared();
        let source = shared.followed.get(pool)?;
        Some((source.server.clone(), source.own().next()?.clone()))
    }

    /// How that queue is.
    #[must_use]
    pub fn outlook(&self, pool: &PoolRef) -> Outlook {
        self.board.outlook(pool)
    }

    /// Pools whose [`Queues::outlook`] or [`Queues::source`] may have changed, from now on. Whoever asked before hears nothing
    /// any more.
    #[must_use]
    pub fn news(&self) -> mpsc::UnboundedReceiver<PoolRef> {
        self.board.news()
    }

    /// What is known of the pool's queue. A wake-up that came until now is answered by this.
    #[must_use]
    pub fn view(&self, pool: &PoolRef) -> View {
        self.board.view(pool)
    }

    /// Lets something be done in Redis; its answer changes the [`View`].
    pub fn send(&self, pool: &PoolRef, errand: Errand) {
        let shared = self.shared();
        let Some(source) = shared.followed.get(pool) else {
            return;
        };
        if matches!(errand, Errand::Mark(_)) {
            self.board.expect_marks(pool);
        }
        if let Some(connected) = shared.servers.get(&source.server) {
            connected.send(Command::Run {
                pool: pool.clone(),
                queues: source.own().cloned().collect(),
                errand,
            });
        }
    }

    /// Lets the pool be reconciled, for a reason that lies outside of its queue.
    pub fn wake(&self, pool: &PoolRef) {
        self.board.wake(pool);
    }

    /// Servers to which there is a connection, or should be.
    #[must_use]
    pub fn servers(&self) -> usize {
        self.shared().servers.len()
    }

    /// When each pool's queue was last read.
    #[must_use]
    pub fn read_times(&self) -> Vec<(PoolRef, std::time::Instant)> {
        self.board.read_times()
    }

    /// What puts each pool's data at risk, as far as it is known.
    #[must_use]
    pub fn risks(&self) -> Vec<(PoolRef, Vec<Risk>)> {
        self.board.risks()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn leave(&mut self, pool: &PoolRef) {
        let Some(source) = self.followed.remove(pool) else {
            return;
        };
        let Some(connected) = self.servers.get_mut(&source.server) else {
            return;
        };
        connected.pools -= 1;
        if connected.pools == 0 {
            self.servers.remove(&source.server);
        } else {
            connected.send(Command::Leave {
                pool: pool.clone(),
                subjects: source.queues,
            });
        }
    }
}

impl Connected {
    fn send(&self, command: Command) {
        // The task ends only when this sender is dropped, or with the whole runtime.
        let _ = self.commands.send(command);
    }
}
