//! What came of it.

use std::{sync::Arc, time::Instant};

use k8s_openapi::{
    api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp,
};
use queue::Cancel;

use super::{Desk, Done, Written};
use crate::{
    PoolRef,
    error::Error,
    jobs::{
        access::Access,
        calls::NotSubmitted,
        entry::{Entry, News, Uid},
        link::{Answer, Link, Question},
        plan::Step,
        status::{build_status, without_result},
        story,
    },
};

impl Desk {
    pub(super) fn take_in(&mut self, done: Done) {
        match done {
            Done::Submitted {
                uid,
                again,
                seen,
                result,
            } => self.take_in_submission(&uid, again, seen.as_ref(), result),
            Done::Cancelled(uid, result) => self.take_in_cancellation(&uid, result),
            Done::Wrote(uid, written, result) => self.take_in_write(&uid, written, result),
            Done::Tidied {
                uid,
                step,
                about,
                result,
            } => self.take_in_tidied(&uid, &step, about, result),
            Done::Answered(pool, question, answer) => self.take_in_answer(&pool, &question, answer),
        }
    }

    fn take_in_submission(
        &mut self,
        uid: &Uid,
        again: bool,
        seen: Option<&ObjectMeta>,
        result: Result<Option<u64>, NotSubmitted>,
    ) {
        let now = Instant::now();
        self.submitting -= 1;
        self.tools.metrics.jobs.called("submit");
        if result.is_ok() {
            self.tools.metrics.jobs.submitted();
        }
        let Some((entry, link)) = self.end(uid, seen) else {
            return;
        };
        link.ended();
        let mut way_changed = false;
        match result {
            Ok(submitted_ms) => {
                way_changed = link.succeeded();
                entry.succeeded();
                // It may have gone on before we were answered; and long ago, if it was submitted before.
                if !entry.submitted {
                    entry.hear(News::Submitted(submitted_ms), now);
                }
                if again {
                    link.poll_soon(now);
                }
                entry.submitted = true;
            }
            Err(NotSubmitted::Rejected(rejection)) => entry.hear(News::Rejected(rejection), now),
            Err(NotSubmitted::Untaken(error)) => way_changed = link.failed(error, now),
            Err(NotSubmitted::Unread(error)) => self.failed(uid, &error, now),
            Err(NotSubmitted::Gone) => {}
        }
        self.go_on(uid, way_changed);
    }

    fn take_in_cancellation(&mut self, uid: &Uid, result: queue::Result<Cancel>) {
        let now = Instant::now();
        let Some((entry, link)) = self.end(uid, None) else {
            return;
        };
        link.ended();
        let way_changed = match result {
            Ok(Cancel::Foreign) => {
                entry.cancelled = true;
                let event = story::uncancelled("a worker that is not ours has it, and cannot be told");
                let reference = entry.reference();
                let changed = link.succeeded();
                self.tools.events.tell(reference, event);
                changed
            }
            Ok(_) => {
                entry.cancelled = true;
                link.succeeded()
            }
            Err(error) => link.failed(error, now),
        };
        self.go_on(uid, way_changed);
    }

    fn take_in_write(&mut self, uid: &Uid, written: Written, result: Result<ObjectMeta, Error>) {
        let now = Instant::now();
        self.writing -= 1;
        self.tools.metrics.jobs.called("write");
        let Some((entry, _)) = self.end(uid, result.as_ref().ok()) else {
            return;
        };
        match result {
            Ok(_) => {
                let events = story::between(&entry.status, &written.status);
                let reference = (!events.is_empty()).then(|| entry.reference());
                entry.status = without_result(&written.status);
                entry.written_at = Some(now);
                entry.succeeded();
                for event in events {
                    self.tools
                        .events
                        .tell(reference.clone().unwrap_or_default(), event);
                }
            }
            Err(error) => {
                // Unless something newer was heard meanwhile.
                entry.news = entry.news.take().or(written.news);
                self.failed(uid, &error, now);
            }
        }
        self.go_on(uid, false);
    }

    fn take_in_tidied(
        &mut self,
        uid: &Uid,
        step: &Step,
        about: ObjectReference,
        result: Result<Option<ObjectMeta>, Error>,
    ) {
        self.tidying -= 1;
        self.tools.metrics.jobs.called("tidy");
        if result.is_ok() && *step == (Step::Release { uncancelled: true }) {
            let why = "its queue could not be reached to cancel it, or its pool is gone";
            self.tools.events.tell(about, story::uncancelled(why));
        }
        let seen = result.as_ref().ok().and_then(Option::as_ref);
        let Some((entry, _)) = self.end(uid, seen) else {
            return;
        };
        match result {
            Ok(_) => entry.succeeded(),
            Err(error) => self.failed(uid, &error, Instant::now()),
        }
        self.go_on(uid, false);
    }

    fn take_in_answer(&mut self, pool: &PoolRef, question: &Question, answer: queue::Result<Answer>) {
        let now = Instant::now();
        let Some(link) = self.links.get_mut(pool) else {
            return;
        };
        let (answer, way_changed) = match answer {
            Ok(answer) => (answer, link.succeeded()),
            Err(error) => {
                tracing::debug!(%pool, %error, "cannot ask how Jobs are");
                let changed = link.failed(error, now);
                link.answered(question, None);
                if changed {
                    self.consider_all_of(pool);
                }
                return;
            }
        };
        link.answered(question, Some(&answer));
        for (id, state) in answer {
            let Some(entry) = self.jobs.get_mut(id.as_str()) else {
                continue;
            };
            match state {
                Some(state) => {
                    entry.submitted = true;
                    entry.hear(News::State(Box::new(state)), now);
                }
                // What it was asked before it was submitted says nothing.
                None if entry.submitted && entry.ending().is_none() => entry.hear(News::Lost, now),
                None => continue,
            }
            // What is known already is not kept: a state may bear a result.
            let access = self.links.get(pool).map_or(&Access::Unknown, |link| &link.access);
            let told = without_result(&build_status(entry, access, Timestamp::now())) == entry.status;
            if told && !entry.busy {
                entry.news = None;
            }
            let uid = Arc::clone(&entry.uid);
            self.consider(&uid);
        }
        if way_changed {
            self.consider_all_of(pool);
        }
    }

    /// What was done for a Job has ended, and this was seen of it.
    fn end(&mut self, uid: &Uid, seen: Option<&ObjectMeta>) -> Option<(&mut Entry, &mut Link)> {
        let entry = self.jobs.get_mut(uid)?;
        entry.busy = false;
        if let Some(metadata) = seen {
            entry.see(metadata, Instant::now());
        }
        let link = self.links.get_mut(&entry.pool)?;
        Some((entry, link))
    }

    /// A call about a Job failed. What somebody else changed or deleted meanwhile is everyday life: the watch tells of it.
    fn failed(&mut self, uid: &Uid, error: &Error, now: Instant) {
        let Some(entry) = self.jobs.get_mut(uid) else {
            return;
        };
        entry.failed(now);
        if error.is_conflict() || error.is_not_found() {
            tracing::debug!(namespace = entry.namespace, job = entry.name, %error, "changed or gone meanwhile");
        } else {
            self.tools.metrics.failed(error.kind());
            tracing::warn!(namespace = entry.namespace, job = entry.name, %error, "trying again");
        }
    }

    fn go_on(&mut self, uid: &Uid, way_changed: bool) {
        let pool = self.jobs.get(uid).map(|entry| entry.pool.clone());
        self.consider(uid);
        if let Some(pool) = pool.filter(|_| way_changed) {
            self.consider_all_of(&pool);
        }
    }
}
