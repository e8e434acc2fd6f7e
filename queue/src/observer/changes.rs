//! What changed since it was last read.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;

use super::{ForeignQueue, Subject};
use crate::Queue;

/// What a [`Changes`] names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This queue changed since it was last read, or may have.
    Queue(Queue),
    /// The same of another system's.
    Foreign(Arc<ForeignQueue>),
    /// Anything may have changed: a flush, a new connection, or there is none any more. Read every queue again.
    All,
}

/// The changes that Redis itself tells of. Bounded by the number of queues: a queue that changes many times
/// before it is read is named once.
#[derive(Debug)]
pub struct Changes {
    dirty: Arc<Dirty>,
    /// Gone when the last observer is.
    observer: Weak<super::Shared>,
}

impl Changes {
    pub(super) fn new(dirty: Arc<Dirty>, observer: Weak<super::Shared>) -> Self {
        Self { dirty, observer }
    }

    /// The next change; `None` once every [`Observer`](crate::Observer) of this connection is gone. Safe to drop
    /// and call again.
    pub async fn next(&mut self) -> Option<Change> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`Changes::next`], to build a stream from.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        let mut state = self.dirty.state();
        if self.observer.strong_count() == 0 {
            return Poll::Ready(None);
        }
        // Taken here, that is before it is read: a push during the read marks it again.
        if std::mem::take(&mut state.all) {
            state.subjects.clear();
            return Poll::Ready(Some(Change::All));
        }
        match state.subjects.pop_first() {
            Some(Subject::Own(queue)) => Poll::Ready(Some(Change::Queue(queue))),
            Some(Subject::Foreign(queue)) => Poll::Ready(Some(Change::Foreign(queue))),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// What changed, and whose keys are whose.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    state: Mutex<State>,
}

/// What one connection tells of changes; several may tell the same [`Dirty`].
#[derive(Debug)]
pub(crate) struct Ear {
    dirty: Arc<Dirty>,
    /// Told when the connection has ended.
    lost: Notify,
}

impl Ear {
    pub(super) fn new(dirty: Arc<Dirty>) -> Self {
        Self {
            dirty,
            lost: Notify::new(),
        }
    }

    /// Takes a push in. Called by the connection's task: it must not block.
    pub(crate) fn hear(&self, push: PushInfo) {
        match (push.kind, push.data.into_iter().next()) {
            (PushKind::Invalidate, Some(Value::Array(keys))) => self.dirty.mark_owners(&keys),
            // A flush, of any database, disarms everything.
            (PushKind::Invalidate, _) => self.dirty.mark_all(),
            (PushKind::Disconnection, _) => self.connection_ended(),
            _ => {}
        }
    }

    pub(crate) fn mark_all(&self) {
        self.dirty.mark_all();
    }

    /// An end of the connection disarms everything too; but until there is a new one, nothing can be read.
    pub(crate) fn connection_ended(&self) {
        self.lost.notify_one();
    }

    /// Waits until the connection has ended.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }
}

#[derive(Debug, Default)]
struct State {
    all: bool,
    subjects: BTreeSet<Subject>,
    /// A push names a key but no database, so that several may share it.
    owners: HashMap<Vec<u8>, Vec<Subject>>,
    waker: Option<Waker>,
}

impl Dirty {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a queue is about to be read: what is known to have changed by now the read will see.
    pub(super) fn about_to_read(&self, subject: &Subject, keys: &[&str]) {
        let mut state = self.state();
        state.subjects.remove(subject);
        for key in keys {
            let owners = state.owners.entry(key.as_bytes().to_vec()).or_default();
            if !owners.contains(subject) {
                owners.push(subject.clone());
            }
        }
    }

    pub(super) fn forget(&self, subject: &Subject, keys: &[&str]) {
        let mut state = self.state();
        state.subjects.remove(subject);
        for key in keys {
            if let Some(owners) = state.owners.get_mut(key.as_bytes()) {
                owners.retain(|owner| owner != subject);
                if owners.is_empty() {
                    state.owners.remove(key.as_bytes());
                }
            }
        }
    }

    fn mark_owners(&self, keys: &[Value]) {
        let mut state = self.state();
        let State { subjects, owners, .. } = &mut *state;
        for key in keys {
            if let Value::BulkString(key) = key {
                subjects.extend(owners.get(key).into_iter().flatten().cloned());
            }
        }
        wake(&mut state);
    }

    pub(super) fn mark_all(&self) {
        let mut state = self.state();
        state.all = true;
        wake(&mut state);
    }

    /// Lets a waiting [`Changes`] look again.
    pub(super) fn wake(&self) {
        wake(&mut self.state());
    }
}

fn wake(state: &mut State) {
    if let Some(waker) = state.waker.take() {
        waker.wake();
    }
}
