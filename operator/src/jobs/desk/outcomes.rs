//! What came of it.

use std::{sync::Arc, time::Instant};

use k8s_openapi::{
    api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp,
};
use queue::{Cancel, JobState};
use telemetry::Panicked;

use super::{Desk, Done, Written, steps::PANIC_PLACE};
use crate::{
    PoolRef,
    error::{self, Error},
    jobs::{
        access::Access,
        calls::NotSubmitted,
        entry::{Entry, News, Uid},
        link::{Answer, Link, Question, QueueCall},
        plan::{Line, Step},
        status::{build_status, without_result},
        story,
    },
};

impl Desk {
    pub(super) fn take_in(&mut self, done: Done) {
        match done {
            Done::Submitted {
                uid,
                call,
                again,
                seen,
                result,
            } => {
                let way_changed = self.take_in_submission(&uid, &call, again, seen.as_ref(), result);
                self.end_call(call, Some(&uid), way_changed);
            }
            Done::Cancelled(uid, call, result) => {
                let way_changed = self.take_in_cancellation(&uid, &call, result);
                self.end_call(call, Some(&uid), way_changed);
            }
            Done::Answered(call, question, answer) => {
                let way_changed = self.take_in_answer(&call, &question, answer);
                self.end_call(call, None, way_changed);
            }
            Done::Wrote(uid, written, result) => self.take_in_write(&uid, written, result),
            Done::Tidied {
                uid,
                step,
                about,
                result,
            } => self.take_in_tidied(&uid, &step, about, result),
            Done::Panicked(uid, line, panicked) => self.take_in_panic(&uid, line, panicked),
            Done::AskingPanicked(pool, panicked) => self.take_in_asking_panic(&pool, &panicked),
        }
    }

    fn take_in_panic(&mut self, uid: &Uid, line: Line, panicked: Panicked) {
        let now = Instant::now();
        let Some(entry) = self.end(uid, None) else { return };
        entry.panicked(Some(line), panicked, now);
        let pool = entry.pool.clone();
        if let Some(link) = self.links.get_mut(&pool) {
            // What the step was about to say is asked for again.
            link.poll_soon(now);
        }
        self.consider(uid);
    }

    fn take_in_asking_panic(&mut self, pool: &PoolRef, panicked: &Panicked) {
        let now = Instant::now();
        let Some(link) = self.links.get_mut(pool) else {
            return;
        };
        let way_changed = link.failed(error::queue_error(panicked), now);
        link.answered(&Question::Changed, None);
        if way_changed {
            self.consider_all_of(pool);
        }
        self.forget_idle(pool);
    }

    /// Goes on with the Job, and with all of the pool if the way to its queue has changed.
    fn end_call(&mut self, call: QueueCall, uid: Option<&Uid>, way_changed: bool) {
        let pool = call.pool.clone();
        drop(call);
        if let Some(uid) = uid {
            self.consider(uid);
        }
        if way_changed {
            self.consider_all_of(&pool);
        }
        self.forget_idle(&pool);
    }

    /// What the call says of the queue counts, whether or not the Job is still there. Answers whether the way there has changed.
    fn take_in_submission(
        &mut self,
        uid: &Uid,
        call: &QueueCall,
        again: bool,
        seen: Option<&ObjectMeta>,
        result: Result<Option<u64>, NotSubmitted>,
    ) -> bool {
        let now = Instant::now();
        self.tools.metrics.jobs.called("submit");
        if result.is_ok() {
            self.tools.metrics.jobs.submitted();
        }
        let way_changed = match (self.link_of(call), &result) {
            (Some(link), Ok(_)) => {
                if again {
                    link.poll_soon(now);
                }
                link.succeeded()
            }
            (Some(link), Err(NotSubmitted::Untaken(error))) => link.failed(error.clone(), now),
            _ => false,
        };
        let Some(entry) = self.end(uid, seen) else {
            return way_changed;
        };
        match result {
            Ok(submitted_ms) => {
                entry.succeeded(Line::Submit);
                // It may have gone on before we were answered; and long ago, if it was submitted before.
                if !entry.submitted {
                    entry.hear(News::Submitted(submitted_ms), now);
                }
                entry.submitted = true;
            }
            Err(NotSubmitted::Rejected(rejection)) => entry.hear(News::Rejected(rejection), now),
            Err(NotSubmitted::Unread(error)) => self.failed(uid, &error, now),
            Err(NotSubmitted::Untaken(_) | NotSubmitted::Gone) => {}
        }
        way_changed
    }

    fn take_in_cancellation(&mut self, uid: &Uid, call: &QueueCall, result: queue::Result<Cancel>) -> bool {
        let way_changed = match (self.link_of(call), &result) {
            (Some(link), Ok(_)) => link.succeeded(),
            (Some(link), Err(error)) => link.failed(error.clone(), Instant::now()),
            (None, _) => false,
        };
        let Some(entry) = self.end(uid, None) else {
            return way_changed;
        };
        if result.is_ok() {
            entry.cancelled = true;
            entry.succeeded(Line::Cancel);
        }
        if matches!(result, Ok(Cancel::Foreign)) {
            let event = story::uncancelled("a worker of another program has it, and cannot be stopped");
            let reference = entry.reference();
            self.tools.events.tell(reference, event);
        }
        way_changed
    }

    fn take_in_write(&mut self, uid: &Uid, written: Written, result: Result<ObjectMeta, Error>) {
        let now = Instant::now();
        self.tools.metrics.jobs.called("write");
        let Some(entry) = self.end(uid, result.as_ref().ok()) else {
            return;
        };
        match result {
            Ok(_) => {
                let events = story::between(&entry.status, &written.status);
                let reference = (!events.is_empty()).then(|| entry.reference());
                entry.status = without_result(&written.status);
                entry.written_at = Some(now);
                entry.succeeded(Line::Write);
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
        self.consider(uid);
    }

    fn take_in_tidied(
        &mut self,
        uid: &Uid,
        step: &Step,
        about: ObjectReference,
        result: Result<Option<ObjectMeta>, Error>,
    ) {
        self.tools.metrics.jobs.called("tidy");
        if result.is_ok() && *step == (Step::Release { uncancelled: true }) {
            let why = "its queue could not be reached to cancel it, or its pool is gone";
            self.tools.events.tell(about, story::uncancelled(why));
        }
        let seen = result.as_ref().ok().and_then(Option::as_ref);
        let Some(entry) = self.end(uid, seen) else {
            return;
        };
        match result {
            Ok(_) => entry.succeeded(Line::Tidy),
            Err(error) => self.failed(uid, &error, Instant::now()),
        }
        self.consider(uid);
    }

    fn take_in_answer(
        &mut self,
        call: &QueueCall,
        question: &Question,
        answer: queue::Result<Answer>,
    ) -> bool {
        let (now, pool) = (Instant::now(), &call.pool);
        let answer = match (self.link_of(call), answer) {
            (None, Err(_)) => return false,
            (Some(link), Err(error)) => {
                tracing::debug!(%pool, %error, "cannot ask how Jobs are");
                let way_changed = link.failed(error, now);
                link.answered(question, None);
                return way_changed;
            }
            (Some(link), Ok(answer)) => {
                link.answered(question, Some(&answer));
                answer
            }
            // Of the queue that the pool had before: it says how the Jobs there are all the same.
            (None, Ok(answer)) => answer,
        };
        let way_changed = self.link_of(call).is_some_and(Link::succeeded);
        for (uid, state) in self.by_job(pool, answer) {
            let Some(entry) = self.jobs.get_mut(&uid) else {
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
            let build = || without_result(&build_status(entry, access, Timestamp::now())) == entry.status;
            // If this panics, planning the Job does too, and reports it.
            let is_shown = telemetry::catch_panic_now(PANIC_PLACE, build);
            if is_shown == Ok(true) && !entry.busy {
                entry.news = None;
            }
            let uid = Arc::clone(&entry.uid);
            self.consider(&uid);
        }
        way_changed
    }

    /// What a pool's queue says of ids, by the Jobs that have these.
    fn by_job(&self, pool: &PoolRef, answer: Answer) -> Vec<(Uid, Option<JobState>)> {
        let mut states = Vec::with_capacity(answer.len());
        for (id, state) in answer {
            let by_uid = self.jobs.get(id.as_str());
            let by_uid = by_uid.filter(|entry| entry.own_id.is_none() && entry.pool == *pool);
            if let Some(entry) = by_uid {
                states.push((Arc::clone(&entry.uid), state.clone()));
            }
            let by_own_id = self.own_ids.get(&(pool.clone(), id));
            states.extend(
                by_own_id
                    .into_iter()
                    .flatten()
                    .map(|uid| (Arc::clone(uid), state.clone())),
            );
        }
        states
    }

    /// The way to the queue that a call went to; `None` if the pool has another queue by now, or is gone.
    fn link_of(&mut self, call: &QueueCall) -> Option<&mut Link> {
        let link = self.links.get_mut(&call.pool)?;
        link.made(call).then_some(link)
    }

    /// What was done for a Job has ended, and this was seen of it.
    fn end(&mut self, uid: &Uid, seen: Option<&ObjectMeta>) -> Option<&mut Entry> {
        let entry = self.jobs.get_mut(uid)?;
        entry.busy = false;
        if let Some(metadata) = seen {
            entry.see(metadata, Instant::now());
        }
        Some(entry)
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
}
