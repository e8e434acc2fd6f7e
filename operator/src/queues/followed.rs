//! A queue that is followed, and when to read it again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use queue::{Reading, Subject};

use super::{Chores, foreign};
use crate::{PoolRef, foreign::Addresses};

/// A queue is not read more often than this, however often it changes.
const READS_APART: Duration = Duration::from_millis(20);
/// How often an empty queue is read though Redis tells of no change.
pub(super) const POLL_IDLE: Duration = Duration::from_secs(30);
/// How often a queue is read where Redis refuses to tell of changes, or does not tell of all.
const POLL_UNTRACKED: Duration = Duration::from_secs(1);
/// How often a queue with jobs is read though Redis tells of no change, and one that cannot be read is tried.
pub(super) const POLL_BUSY: Duration = Duration::from_secs(5);
/// Idle and busy polls of all queues fall due together, at moments so far apart: to read many at once costs a fraction of what
/// it costs to wake up for each. None comes later for it, and a busy one earlier by a tenth at most.
const POLLS_APART: Duration = Duration::from_millis(500);

/// What is known of a queue beside its readings.
#[derive(Default)]
pub(super) struct Followed {
    /// One, if the queue is our own; another system's may be followed by several.
    pub(super) pools: Vec<PoolRef>,
    pub(super) chores: Option<Chores>,
    /// Where workers may be that are not ours.
    pub(super) foreign: Option<Arc<Addresses>>,
    /// Whether the last good reading had something that a tick could move.
    pub(super) can_be_ticked: bool,
    pub(super) read_at: Option<Instant>,
    /// When Redis told of a change that has not been read since.
    pub(super) changed_at: Option<Instant>,
    /// The same, of the read that is under way.
    pub(super) reading_changed_at: Option<Instant>,
    /// When the marks that we gave have all ended: a tick then sweeps them out.
    pub(super) marks_end: Option<Instant>,
}

impl Followed {
    /// Whether some of its workers may not be ours.
    pub(super) fn has_foreign(&self) -> bool {
        self.foreign
            .as_ref()
            .is_some_and(|addresses| !addresses.all.is_empty())
    }

    /// Whether some of these are to end.
    pub(super) fn has_ending(&self) -> bool {
        self.foreign
            .as_ref()
            .is_some_and(|addresses| !addresses.ending.is_empty())
    }

    /// It is not read more often than this, however often it changes.
    pub(super) fn reads_apart(&self) -> Duration {
        if self.has_foreign() {
            foreign::READS_APART
        } else {
            READS_APART
        }
    }
}

fn has_work(reading: &Reading) -> bool {
    reading.waiting + reading.arrivals + reading.running + reading.delayed > 0
}

/// Whether a tick could find something to promote, reap or put back.
pub(super) fn can_be_ticked(reading: &Reading) -> bool {
    reading.arrivals + reading.running + reading.delayed > 0
}

/// When to read again though nothing changes, for a server that is followed `since` then: a retry that falls due changes no key.
pub(super) fn next_poll(subject: &Subject, reading: &Reading, since: Instant) -> Instant {
    let unseen = !reading.tracked || (subject.changes_unseen() && has_work(reading));
    let poll = match reading {
        _ if unseen => reading.read_at + POLL_UNTRACKED,
        reading if has_work(reading) => together(reading.read_at + POLL_BUSY, since),
        _ => together(reading.read_at + POLL_IDLE, since),
    };
    let until_due = reading
        .next_due_ms
        .filter(|&due| due > reading.server_time_ms)
        .map(|due| Duration::from_millis(due - reading.server_time_ms));
    until_due.map_or(poll, |until| poll.min(reading.read_at + until))
}

/// The last moment before `at` at which polls fall due.
fn together(at: Instant, since: Instant) -> Instant {
    let past = at.saturating_duration_since(since).as_nanos() % POLLS_APART.as_nanos();
    at - Duration::from_nanos(u64::try_from(past).unwrap_or_default())
}

/// When to try again what could not be read. A slot of a cluster moves, or a replica takes a dead master's place, in moments.
pub(super) fn retry(error: &queue::Error) -> Duration {
    match error {
        queue::Error::SlotUnavailable(_) => POLL_UNTRACKED,
        _ => POLL_BUSY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_fall_due_together_and_none_later_than_its_bound() {
        let since = Instant::now();
        let at = |seconds| since + Duration::from_secs_f64(seconds);
        assert_eq!(together(at(30.0), since), at(30.0));
        assert_eq!(together(at(30.2), since), at(30.0));
        assert_eq!(together(at(30.499), since), at(30.0));
        assert_eq!(together(at(30.5), since), at(30.5));
    }
}
