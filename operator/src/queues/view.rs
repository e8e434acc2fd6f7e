//! What is known of a pool's queues, each by itself and all together.

use std::time::Instant;

use queue::{Reading, Risk, Subject};
use scaling::Rates;

use super::{errand::Marks, foreign::ForeignAtWork};

/// What is known of a pool's queues.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Each queue, in the order of the [`Source`](super::Source).
    pub queues: Vec<QueueView>,
    /// The last good readings of all as of one queue, once each was tried; without those that never could be read. Foreign
    /// workers run jobs, too.
    pub reading: Option<Reading>,
    /// Workers that are not ours and have a job, of whichever of the queues.
    pub foreign: ForeignAtWork,
    /// Polls in a row that failed, of the queue with most of them.
    pub failures: u32,
    /// What the last of the first failing queue failed with.
    pub error: Option<queue::Error>,
    /// When Redis told of the change that made us read; `None` for a poll, and for what was seen before.
    pub changed_at: Option<Instant>,
    /// What puts the data at risk, as the server is set up; `None` until that is known.
    pub risks: Option<Result<Vec<Risk>, queue::Error>>,
    /// The answer to the last request for marks.
    pub marks: Option<Result<Marks, queue::Error>>,
}

/// What is known of one queue.
#[derive(Clone, Debug)]
pub struct QueueView {
    /// Which.
    pub subject: Subject,
    /// The last good reading.
    pub reading: Option<Reading>,
    /// Polls that failed since then.
    pub failures: u32,
    /// What the last of these failed with.
    pub error: Option<queue::Error>,
    /// What the readings say over time.
    pub rates: Rates,
}

impl QueueView {
    pub(crate) fn of(subject: &Subject) -> Self {
        Self {
            subject: subject.clone(),
            reading: None,
            failures: 0,
            error: None,
            rates: Rates::default(),
        }
    }

    /// The reading, if it is of now.
    #[must_use]
    pub fn fresh(&self) -> Option<&Reading> {
        self.reading.as_ref().filter(|_| self.failures == 0)
    }

    /// Whether it has not been tried yet.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        self.reading.is_none() && self.failures == 0
    }
}

impl View {
    /// Whether one of the queues has not been tried yet.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        self.queues.iter().any(QueueView::is_unread)
    }

    /// Takes together what is known of each queue.
    pub(crate) fn of(queues: Vec<QueueView>) -> Self {
        let mut view = Self {
            failures: queues.iter().map(|queue| queue.failures).max().unwrap_or(0),
            error: queues.iter().find_map(|queue| queue.error.clone()),
            queues,
            ..Self::default()
        };
        if !view.is_unread() {
            view.reading = together(view.queues.iter().filter_map(|queue| queue.reading.as_ref()));
        }
        view
    }

    /// With what foreign workers are doing.
    pub(crate) fn with(mut self, foreign: ForeignAtWork) -> Self {
        if let Some(reading) = &mut self.reading {
            reading.running += foreign.jobs;
        }
        self.foreign = foreign;
        self
    }
}

/// Several queues of one server as one. What is counted over time stays with each.
fn together<'a>(mut readings: impl Iterator<Item = &'a Reading>) -> Option<Reading> {
    let first = readings.next()?.clone();
    Some(readings.fold(first, |all, one| Reading {
        waiting: all.waiting + one.waiting,
        arrivals: all.arrivals + one.arrivals,
        running: all.running + one.running,
        delayed: all.delayed + one.delayed,
        due: all.due + one.due,
        dead: all.dead + one.dead,
        changed: all.changed + one.changed,
        next_due_ms: earliest(all.next_due_ms, one.next_due_ms),
        oldest_submitted_ms: earliest(all.oldest_submitted_ms, one.oldest_submitted_ms),
        tracked: all.tracked && one.tracked,
        read_at: all.read_at.min(one.read_at),
        ..all
    }))
}

fn earliest(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}
