//! What is known of each pool's queue, and whom to wake for it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{Stream, channel::mpsc};
use queue::{Reading, Risk};
use scaling::{Counted, Rates};
use tokio::sync::mpsc as tokio_mpsc;

use super::errand::Marks;
use crate::PoolRef;

/// Failed reads closer together than this count as one: several at once are one outage, not many polls.
const FAILURES_APART: Duration = Duration::from_secs(1);

/// What is known of a pool's queue.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The last good reading.
    pub reading: Option<Reading>,
    /// Polls that failed since then.
    pub failures: u32,
    /// What the last of these failed with.
    pub error: Option<queue::Error>,
    /// When Redis told of the change that made us read; `None` for a poll, and for what was seen before.
    pub changed_at: Option<Instant>,
    /// What the reading says over time.
    pub rates: Rates,
    /// What puts the data at risk, as the server is set up; `None` until that is known.
    pub risks: Option<Result<Vec<Risk>, queue::Error>>,
    /// The answer to the last request for marks.
    pub marks: Option<Result<Marks, queue::Error>>,
}

/// How a pool's queue is, for who wants to put something in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outlook {
    /// Whether it is followed.
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
    view: View,
    /// A wake-up is under way, and nobody has looked since.
    woken: bool,
    failed_at: Option<Instant>,
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

    pub(super) fn add(&self, pool: &PoolRef) {
        self.entries().entry(pool.clone()).or_default();
    }

    pub(super) fn view(&self, pool: &PoolRef) -> View {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(pool) else {
            return View::default();
        };
        entry.woken = false;
        let view = entry.view.clone();
        entry.view.changed_at = None;
        view
    }

    pub(super) fn outlook(&self, pool: &PoolRef) -> Outlook {
        let entries = self.entries();
        let Some(entry) = entries.get(pool) else {
            return Outlook::default();
        };
        let view = &entry.view;
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

    pub(super) fn read(&self, pool: &PoolRef, reading: Reading, changed_at: Option<Instant>) {
        let before = self.outlook(pool);
        let changed_jobs = reading.changed > 0;
        self.update(pool, |entry| {
            let view = &mut entry.view;
            let news = view.failures > 0 || view.reading.as_ref().is_none_or(|last| differs(last, &reading));
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
            // The first change that nobody has looked at yet is what the reaction is measured from.
            view.changed_at = view.changed_at.or(changed_at);
            entry.failed_at = None;
            news
        });
        if changed_jobs || before.error.is_some() {
            self.tell(pool);
        }
    }

    pub(super) fn failed(&self, pool: &PoolRef, error: &queue::Error) {
        let now = Instant::now();
        let before = self.outlook(pool);
        self.update(pool, |entry| {
            let view = &mut entry.view;
            let counts = entry
                .failed_at
                .is_none_or(|last| now.duration_since(last) >= FAILURES_APART);
            if counts {
                view.failures = view.failures.saturating_add(1);
                entry.failed_at = Some(now);
            }
            let news = counts || view.error.as_ref() != Some(error);
            view.error = Some(error.clone());
            news
        });
        if before.error.as_ref() != Some(error) {
            self.tell(pool);
        }
    }

    /// Drops the last answer: a new one is on its way.
    pub(super) fn expect_marks(&self, pool: &PoolRef) {
        if let Some(entry) = self.entries().get_mut(pool) {
            entry.view.marks = None;
        }
    }

    pub(super) fn marked(&self, pool: &PoolRef, marks: Result<Marks, queue::Error>) {
        self.update(pool, |entry| {
            entry.view.marks = Some(marks);
            true
        });
    }

    pub(super) fn found_risks(&self, pool: &PoolRef, risks: &Result<Vec<Risk>, queue::Error>) {
        self.update(pool, |entry| {
            let news = entry.view.risks.as_ref() != Some(risks);
            entry.view.risks = Some(risks.clone());
            news
        });
    }

    pub(super) fn wake(&self, pool: &PoolRef) {
        // Nobody listens any more only when the program ends.
        let _ = self.wakes.unbounded_send(pool.clone());
    }

    /// The last good reading.
    pub(super) fn peek(&self, pool: &PoolRef) -> Option<Reading> {
        self.entries().get(pool)?.view.reading.clone()
    }

    pub(super) fn forget(&self, pool: &PoolRef) {
        self.entries().remove(pool);
    }

    pub(super) fn read_times(&self) -> Vec<(PoolRef, Instant)> {
        self.entries()
            .iter()
            .filter_map(|(pool, entry)| Some((pool.clone(), entry.view.reading.as_ref()?.read_at)))
            .collect()
    }

    /// What puts each pool's data at risk, as far as it is known.
    pub(super) fn risks(&self) -> Vec<(PoolRef, Vec<Risk>)> {
        let found = |entry: &Entry| entry.view.risks.clone()?.ok();
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
