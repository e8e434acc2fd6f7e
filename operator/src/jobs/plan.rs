//! What is to be done for a Job next. Pure: from what is known to one step.

use std::time::{Duration, Instant};

use crds::job::status::JobStatus;
use k8s_openapi::jiff::Timestamp;

use super::{
    access::Access,
    entry::Entry,
    status::{build_status, differs_in_progress_only, panic_status, without_result},
};

/// A Job that is being deleted goes after so long, cancelled or not: it must not keep its namespace from going.
pub(super) const CANCEL_TIME: Duration = Duration::from_secs(30);
/// What a Job waits for is said after so long; a pool that is applied along with it is there by then.
const SAY_WAITING_AFTER: Duration = Duration::from_secs(2);
/// What may change again at once is written after so long: a short job costs one write and not three.
const SETTLE: Duration = Duration::from_millis(50);
/// Progress is written no more often than this.
const PROGRESS_APART: Duration = Duration::from_secs(1);

/// The next step for a Job.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// None, until something changes or this time has come.
    Rest(Option<Instant>),
    /// Put it under our finalizer, read it, and put it into the queue, once that can be reached.
    Submit,
    /// Put it under our finalizer again: it was retried after its end.
    Keep,
    /// Say this.
    Write(Box<JobStatus>),
    /// Take it out of the queue, once that can be reached.
    Cancel,
    /// Take our finalizer away. Bears whether it could not be cancelled in time.
    Release {
        /// Whether it may still run.
        uncancelled: bool,
    },
    /// Delete it: its time to live is over.
    Expire,
}

/// What a step needs, and so where it waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The pool's Redis and the API server: something to submit.
    Submit,
    /// The pool's Redis.
    Cancel,
    /// The API server: a status.
    Write,
    /// The API server: finalizers and deletions, which nobody waits for.
    Tidy,
}

impl Step {
    /// Where it waits for its turn.
    pub(super) fn line(&self) -> Option<Line> {
        match self {
            Self::Rest(_) => None,
            Self::Submit => Some(Line::Submit),
            Self::Cancel => Some(Line::Cancel),
            Self::Write(_) => Some(Line::Write),
            Self::Keep | Self::Release { .. } | Self::Expire => Some(Line::Tidy),
        }
    }
}

/// The next step.
pub(super) fn plan(entry: &Entry, access: &Access, now: Instant, clock: Timestamp) -> Step {
    if let Some(retry_at) = entry.retry_at.filter(|at| *at > now) {
        return Step::Rest(Some(retry_at));
    }
    if let Some(since) = entry.deleting {
        return plan_deletion(entry, access, since, now);
    }
    if let Some(status) = panic_status(entry, clock).filter(|status| *status != entry.status) {
        return Step::Write(Box::new(status));
    }
    let waits = !entry.submitted && entry.news.is_none() && entry.ending().is_none();
    if waits && *access == Access::Open {
        return Step::Submit;
    }
    let status = build_status(entry, access, clock);
    if without_result(&status) != entry.status {
        return plan_write(entry, status, now);
    }
    if entry.ending().is_some() {
        return plan_end(entry, now, clock);
    }
    if waits && access.is_known() {
        return Step::Submit;
    }
    Step::Rest(None)
}

fn plan_deletion(entry: &Entry, access: &Access, since: Instant, now: Instant) -> Step {
    if !entry.is_kept() {
        return Step::Rest(None);
    }
    if entry.cancelled || entry.ending().is_some() {
        return Step::Release { uncancelled: false };
    }
    let deadline = since + CANCEL_TIME;
    if now >= deadline {
        return Step::Release { uncancelled: true };
    }
    if access.reaches_old_jobs() {
        Step::Cancel
    } else {
        Step::Rest(Some(deadline))
    }
}

fn plan_write(entry: &Entry, status: JobStatus, now: Instant) -> Step {
    let ends = super::entry::ending(&status).is_some();
    let not_before = if ends {
        now
    } else if entry.news.is_none() && !entry.submitted {
        entry.since + SAY_WAITING_AFTER
    } else if differs_in_progress_only(&entry.status, &without_result(&status)) {
        entry.written_at.map_or(now, |at| at + PROGRESS_APART)
    } else {
        entry.news_at + SETTLE
    };
    if not_before > now {
        return Step::Rest(Some(not_before));
    }
    if entry.submitted && !ends && !entry.is_kept() {
        return Step::Keep;
    }
    Step::Write(Box::new(status))
}

fn plan_end(entry: &Entry, now: Instant, clock: Timestamp) -> Step {
    if entry.is_kept() {
        return Step::Release { uncancelled: false };
    }
    match entry.time_left(clock) {
        Some(Duration::ZERO) => Step::Expire,
        Some(left) => Step::Rest(Some(now + left)),
        None => Step::Rest(None),
    }
}
