//! What is known of each pool's queues, and whom to wake for it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{Stream, channel::mpsc};
use queue::{Reading, Risk, Subject};
use scaling::Counted;
use tokio::sync::mpsc as tokio_mpsc;

use super::{
    errand::Marks,
    foreign::ForeignAtWork,
    view::{QueueView, View},
};
use crate::PoolRef;

/// Failed reads closer together than this count as one: several at once are one outage, not many polls.
const FAILURES_APART: Duration = Duration::from_secs(1);

/// How the queue is into which something can be put: the first of our own that a pool follows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outlook {
    /// Whether there is one, and it is followed.
    pub followed: bool,
    /// What the last reading failed with, if it failed.
    pub error: Option<queue::Error>,
    /// Whether watched jobs have changed since somebody took them.
    pub changed_jobs: bool,
}

/// The views of all pools.
#[derive(Debug)]
pub(super) struct Board {
    news: Mutex<Option<tokio_mpsc::UnboundedSender<PoolRef>>>,
    entries: Mutex<HashMap<PoolRef, Entry>>,
    wakes: mpsc::UnboundedSender<PoolRef>,
}

#[derive(Debug, Default)]
struct Entry {
    queues: Vec<Followed>,
    foreign: ForeignAtWork,
    /// The first change that nobody has looked at yet is what the reaction is measured from.
    changed_at: Option<Instant>,
    risks: Option<Result<Vec<Risk>, queue::Error>>,
    marks: Option<Result<Marks, queue::Error>>,
    /// A wake-up is under way, and nobody has looked since.
    woken: bool,
}

#[derive(Debug)]
struct Followed {
    view: QueueView,
    failed_at: Option<Instant>,
}

impl Entry {
    fn of(subjects: &[Subject]) -> Self {
        let follow = |subject| Followed {
            view: QueueView::of(subject),
            failed_at: None,
        };
        Self {
            queues: subjects.iter().map(follow).collect(),
            ..Self::default()
        }
    }

    fn queue(&mut self, subject: &Subject) -> Option<&mut Followed> {
        self.queues
            .iter_mut()
            .find(|queue| queue.view.subject == *subject)
    }

    fn own(&self) -> Option<&QueueView> {
        let mut views = self.queues.iter().map(|queue| &queue.view);
        views.find(|view| view.subject.own().is_some())
    }
}

impl Board {
    pub(super) fn new() -> (Self, impl Stream<Item = PoolRef> + Send + 'static) {
        let (wakes, stream) = mpsc::unbounded();
        let board = Self {
            news: Mutex::default(),
            entries: Mutex::default(),
            wakes,
        };
        (board, stream)
    }

    /// Begins a pool that follows these, if it is not known.
    pub(super) fn add(&self, pool: &PoolRef, subjects: &[Subject]) {
        let mut entries = self.entries();
        entries.entry(pool.clone()).or_insert_with(|| Entry::of(subjects));
    }

    /// Resets a pool that follows these queues, if it still does: nothing has been read, and reading failed with this error.
    pub(super) fn reset(&self, pool: &PoolRef, subjects: &[Subject], error: &queue::Error) {
        if let Some(entry) = self.entries().get_mut(pool) {
            if !entry.queues.iter().map(|queue| &queue.view.subject).eq(subjects) {
                return;
            }
            *entry = Entry::of(subjects);
        }
        for subject in subjects {
            self.failed(pool, subject, error);
        }
    }

    pub(super) fn view(&self, pool: &PoolRef) -> View {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(pool) else {
            return View::default();
        };
        entry.woken = false;
        View {
            changed_at: entry.changed_at.take(),
            risks: entry.risks.clone(),
            marks: entry.marks.clone(),
            ..View::of(entry.queues.iter().map(|queue| queue.view.clone()).collect()).with(entry.foreign)
        }
    }

    pub(super) fn outlook(&self, pool: &PoolRef) -> Outlook {
        let entries = self.entries();
        let Some(view) = entries.get(pool).and_then(Entry::own) else {
            return Outlook::default();
        };
        Outlook {
            followed: true,
            error: view.error.clone(),
            changed_jobs: view.reading.as_ref().is_some_and(|reading| reading.changed > 0),
        }
    }

    pub(super) fn news(&self) -> tokio_mpsc::UnboundedReceiver<PoolRef> {
        let (sender, receiver) = tokio_mpsc::unbounded_channel();
        *self.news.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    /// Tells of a changed outlook.
    pub(super) fn tell(&self, pool: &PoolRef) {
        if let Some(news) = &*self.news.lock().unwrap_or_else(PoisonError::into_inner) {
            // Nobody listens any more only when the program ends.
            let _ = news.send(pool.clone());
        }
    }

    pub(super) fn read(
        &self,
        pool: &PoolRef,
        subject: &Subject,
        reading: Reading,
        foreign: Option<ForeignAtWork>,
        changed_at: Option<Instant>,
    ) {
        let before = self.outlook(pool);
        let changed_jobs = reading.changed > 0;
        self.update(pool, |entry| {
            // At once with the reading: a job that left the list runs.
            let before = entry.foreign;
            entry.foreign = foreign.unwrap_or(before);
            let moved = entry.foreign != before;
            let Some(queue) = entry.queue(subject) else {
                return moved;
            };
            queue.failed_at = None;
            let view = &mut queue.view;
            let news = moved
                || view.failures > 0
                || view.reading.as_ref().is_none_or(|last| differs(last, &reading));
            if view
                .reading
                .as_ref()
                .is_some_and(|last| last.run_id != reading.run_id)
            {
                view.rates.interrupt();
            }
            view.rates.take_in(counted(&reading));
            view.reading = Some(reading);
            view.failures = 0;
            view.error = None;
            entry.changed_at = entry.changed_at.or(changed_at);
            news
        });
        if changed_jobs || before.error.is_some() {
            self.tell(pool);
        }
    }

    pub(super) fn failed(&self, pool: &PoolRef, subject: &Subject, error: &queue::Error) {
        let now = Instant::now();
        let before = self.outlook(pool);
        self.update(pool, |entry| {
            let Some(queue) = entry.queue(subject) else {
                return false;
            };
            let counts = queue
                .failed_at
                .is_none_or(|last| now.duration_since(last) >= FAILURES_APART);
            let view = &mut queue.view;
            if counts {
                view.failures = view.failures.saturating_add(1);
                queue.failed_at = Some(now);
            }
            let news = counts || view.error.as_ref() != Some(error);
            view.error = Some(error.clone());
            news
        });
        if self.outlook(pool).error != before.error {
            self.tell(pool);
        }
    }

    /// Drops the last answer: a new one is on its way.
    pub(super) fn expect_marks(&self, pool: &PoolRef) {
        if let Some(entry) = self.entries().get_mut(pool) {
            entry.marks = None;
        }
    }

    pub(super) fn marked(&self, pool: &PoolRef, marks: Result<Marks, queue::Error>) {
        self.update(pool, |entry| {
            entry.marks = Some(marks);
            true
        });
    }

    pub(super) fn found_risks(&self, pool: &PoolRef, risks: &Result<Vec<Risk>, queue::Error>) {
        self.update(pool, |entry| {
            let news = entry.risks.as_ref() != Some(risks);
            entry.risks = Some(risks.clone());
            news
        });
    }

    /// All workers are ours from now on.
    pub(super) fn no_foreign(&self, pool: &PoolRef) {
        self.update(pool, |entry| {
            let before = std::mem::take(&mut entry.foreign);
            before != entry.foreign
        });
    }

    pub(super) fn wake(&self, pool: &PoolRef) {
        // Nobody listens any more only when the program ends.
        let _ = self.wakes.unbounded_send(pool.clone());
    }

    pub(super) fn forget(&self, pool: &PoolRef) {
        self.entries().remove(pool);
    }

    /// When each pool's queues were last read; of several, the one that was not for longest.
    pub(super) fn read_times(&self) -> Vec<(PoolRef, Instant)> {
        self.entries()
            .iter()
            .filter_map(|(pool, entry)| {
                let readings = entry
                    .queues
                    .iter()
                    .filter_map(|queue| queue.view.reading.as_ref());
                Some((pool.clone(), readings.map(|reading| reading.read_at).min()?))
            })
            .collect()
    }

    /// What puts each pool's data at risk, as far as it is known.
    pub(super) fn risks(&self) -> Vec<(PoolRef, Vec<Risk>)> {
        let found = |entry: &Entry| entry.risks.clone()?.ok();
        self.entries()
            .iter()
            .filter_map(|(pool, entry)| Some((pool.clone(), found(entry)?)))
            .collect()
    }

    /// Changes an entry, and wakes its pool if that is news and no wake-up is under way. What comes in for a pool that has
    /// been forgotten is dropped.
    fn update(&self, pool: &PoolRef, change: impl FnOnce(&mut Entry) -> bool) {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(pool) else {
            return;
        };
        if change(entry) && !entry.woken {
            entry.woken = true;
            self.wake(pool);
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<PoolRef, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn counted(reading: &Reading) -> Counted {
    Counted {
        at: reading.read_at,
        completed: reading.completed,
        busy: Duration::from_millis(reading.completed_busy_ms),
        unfinished: reading.waiting + reading.arrivals + reading.running + reading.delayed,
    }
}

/// Whether a decision or the status could differ.
fn differs(last: &Reading, new: &Reading) -> bool {
    let numbers = |reading: &Reading| {
        (
            reading.waiting,
            reading.arrivals,
            reading.running,
            reading.due,
            reading.delayed,
            reading.dead,
            reading.oldest_submitted_ms,
        )
    };
    numbers(last) != numbers(new) || last.run_id != new.run_id
}
