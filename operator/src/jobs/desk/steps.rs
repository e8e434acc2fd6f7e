//! What is done: the next step for each Job, and as many of them as may be under way.

use std::{sync::Arc, time::Instant};

use crds::job::status::JobStatus;
use futures::FutureExt;
use k8s_openapi::jiff::Timestamp;

use super::{Desk, Done, Written, exists};
use crate::{
    PoolRef,
    jobs::{
        access::Access,
        calls::{self, Target},
        entry::{Entry, Uid},
        link::{self, QueueCall},
        plan::{CANCEL_TIME, Line, Step, plan},
        slots::Slot,
    },
};

// What is under way in the API server makes whatever comes next wait, the count of a pool too: once it is busy, more at once
// is not sooner done. So these are few.

/// As the metric of panics names it.
pub(super) const PANIC_PLACE: &str = "job";
/// Jobs that are submitted at once; each is in memory as a whole meanwhile.
pub(super) const SUBMITS_AT_ONCE: usize = 4;
/// Status writes at once.
pub(super) const WRITES_AT_ONCE: usize = 2;
/// Finalizers taken off, and Jobs deleted, at once.
pub(super) const TIDIED_AT_ONCE: usize = 1;
/// While more statuses than this wait to be written, no more changes are taken out of Redis: they may bear results.
const UNWRITTEN_MAX: usize = 1_000;

impl Desk {
    /// Plans, and puts the Job in line for its next step, or to rest.
    pub(super) fn consider(&mut self, uid: &Uid) {
        let Some((step, now)) = self.plan(uid) else { return };
        let Some(entry) = self.jobs.get_mut(uid).filter(|entry| !entry.busy) else {
            return;
        };
        if let Some(since) = entry.deleting.filter(|since| *since + CANCEL_TIME > now) {
            self.timers.no_later(uid, since + CANCEL_TIME);
        }
        if let Step::Rest(Some(until)) = step {
            self.timers.no_later(uid, until);
        }
        let line = step.line();
        if entry.queued == line {
            return;
        }
        entry.queued = line;
        let Some(link) = self.links.get_mut(&entry.pool) else {
            return;
        };
        match line {
            Some(Line::Submit) => link.submits.push_back(Arc::clone(uid)),
            Some(Line::Cancel) => link.cancels.push_back(Arc::clone(uid)),
            Some(Line::Write) => self.writes.push_back(Arc::clone(uid)),
            Some(Line::Tidy) => self.tidies.push_back(Arc::clone(uid)),
            None => {}
        }
    }

    /// The next step. Where planning panics, the Job is left alone for a while; its status says so before it is planned again.
    fn plan(&mut self, uid: &Uid) -> Option<(Step, Instant)> {
        let entry = self.jobs.get_mut(uid)?;
        let access = self
            .links
            .get(&entry.pool)
            .map_or(&Access::Unknown, |link| &link.access);
        let (now, clock) = (Instant::now(), Timestamp::now());
        if entry.retries_planning(now, clock) {
            entry.panic = None;
        }
        let planned = telemetry::catch_panic_now(PANIC_PLACE, || plan(entry, access, now, clock));
        let step = planned.unwrap_or_else(|panicked| {
            entry.panicked(None, panicked, now);
            Step::Rest(entry.retry_at)
        });
        Some((step, now))
    }

    /// Lets a step go on beside the others. If it panics, its Job alone fails.
    fn start(&mut self, uid: &Uid, line: Line, step: impl Future<Output = Done> + Send + 'static) {
        let uid = Arc::clone(uid);
        let step = telemetry::catch_panic(PANIC_PLACE, step);
        let done = step.map(move |done| done.unwrap_or_else(|panicked| Done::Panicked(uid, line, panicked)));
        self.under_way.push(done.boxed());
    }

    /// Takes a Job out of a line for its step; `None` if it waits there no longer.
    fn called(&mut self, uid: &Uid, line: Line) -> Option<Step> {
        let entry = self
            .jobs
            .get_mut(uid)
            .filter(|entry| entry.queued == Some(line))?;
        entry.queued = None;
        let (step, _) = self.plan(uid)?;
        if step.line() == Some(line) {
            return Some(step);
        }
        self.consider(uid);
        None
    }

    pub(super) fn start_what_is_due(&mut self) {
        let now = Instant::now();
        for uid in self.timers.take_due(now, usize::MAX) {
            self.consider(&uid);
        }
        let wanting = self.links.iter().filter(|(_, link)| link.wants_something(now));
        let pools: Vec<_> = wanting.map(|(pool, _)| pool.clone()).collect();
        for pool in &pools {
            self.start_at(pool, now);
        }
        while let Some(slot) = self.writing.take()
            && let Some(uid) = self.writes.pop_front()
        {
            if let Some(Step::Write(status)) = self.called(&uid, Line::Write) {
                self.start_write(&uid, slot, status);
            }
        }
        while let Some(slot) = self.tidying.take()
            && let Some(uid) = self.tidies.pop_front()
        {
            if let Some(step) = self.called(&uid, Line::Tidy) {
                self.start_tidy(&uid, slot, step);
            }
        }
    }

    /// Starts what one pool's queue is needed for.
    fn start_at(&mut self, pool: &PoolRef, now: Instant) {
        let Some(link) = self.links.get_mut(pool) else {
            return;
        };
        link.rest(now);
        if matches!(link.access, Access::Unknown)
            && link.look(exists(&self.tools, pool), &self.tools.queues, now)
        {
            self.consider_all_of(pool);
        }
        if self.writes.len() < UNWRITTEN_MAX {
            self.start_question(pool, now);
        }
        while let Some(link) = self.links.get_mut(pool)
            && !link.cancels.is_empty()
            && let Some((producer, call)) = link.open(now)
            && let Some(uid) = link.cancels.pop_front()
        {
            if self.called(&uid, Line::Cancel).is_some() {
                self.start_cancel(&uid, call, producer);
            }
        }
        while let Some(link) = self.links.get_mut(pool)
            && !link.submits.is_empty()
            && let Some(slot) = self.submitting.take()
            && let Some((producer, call)) = link.open(now)
            && let Some(uid) = link.submits.pop_front()
        {
            if self.called(&uid, Line::Submit).is_some() {
                self.start_submit(&uid, (slot, call), producer);
            }
        }
    }

    fn start_question(&mut self, pool: &PoolRef, now: Instant) {
        let jobs = &self.jobs;
        let Some(link) = self.links.get_mut(pool) else {
            return;
        };
        let question = link.next_question(now, |uids| {
            let entries = uids.iter().filter_map(|uid| jobs.get(uid));
            let unended = entries.filter(|entry| entry.submitted && entry.ending().is_none());
            unended.filter_map(Entry::id).collect()
        });
        if let Some((producer, call, question)) = question {
            let pool = pool.clone();
            let ask = telemetry::catch_panic(PANIC_PLACE, async move {
                let answer = link::ask(&producer, &question).await;
                Done::Answered(call, question, answer)
            });
            let done =
                ask.map(move |done| done.unwrap_or_else(|panicked| Done::AskingPanicked(pool, panicked)));
            self.under_way.push(done.boxed());
        }
    }

    fn start_submit(&mut self, uid: &Uid, (slot, call): (Slot, QueueCall), producer: queue::Producer) {
        let Some((entry, target)) = self.begin(uid) else {
            return;
        };
        let finalizers = (!entry.is_kept()).then(|| entry.finalizers_with_ours());
        let again = entry.is_kept() || entry.own_id.is_some();
        let (client, job) = (self.tools.client.clone(), Arc::clone(uid));
        self.start(uid, Line::Submit, async move {
            let (seen, result) = calls::submit(&client, &producer, &target, finalizers.as_deref()).await;
            drop(slot);
            Done::Submitted {
                uid: job,
                call,
                again,
                seen,
                result,
            }
        });
    }

    fn start_cancel(&mut self, uid: &Uid, call: QueueCall, producer: queue::Producer) {
        let Some(id) = self.jobs.get(uid).and_then(Entry::id) else {
            return;
        };
        if self.begin(uid).is_none() {
            return;
        }
        let job = Arc::clone(uid);
        self.start(uid, Line::Cancel, async move {
            Done::Cancelled(job, call, producer.cancel(&id).await)
        });
    }

    fn start_write(&mut self, uid: &Uid, slot: Slot, status: Box<JobStatus>) {
        let Some((entry, target)) = self.begin(uid) else {
            return;
        };
        // News from now on comes after this write; a step that panicked leaves the news as they are.
        let news = entry.news.take_if(|_| entry.panic.is_none());
        let (client, job) = (self.tools.client.clone(), Arc::clone(uid));
        self.start(uid, Line::Write, async move {
            let result = target.write(&client, &status).await;
            drop(slot);
            Done::Wrote(job, Written { status, news }, result)
        });
    }

    fn start_tidy(&mut self, uid: &Uid, slot: Slot, step: Step) {
        let Some((entry, target)) = self.begin(uid) else {
            return;
        };
        let (with, without) = (entry.finalizers_with_ours(), entry.finalizers_without_ours());
        let about = entry.reference();
        let (client, job) = (self.tools.client.clone(), Arc::clone(uid));
        self.start(uid, Line::Tidy, async move {
            let result = match step {
                Step::Keep => target.keep(&client, &with).await.map(|job| Some(job.metadata)),
                Step::Expire => target.delete(&client).await.map(|()| None),
                _ => target.release(&client, &without).await.map(Some),
            };
            drop(slot);
            Done::Tidied {
                uid: job,
                step,
                about,
                result,
            }
        });
    }

    /// Marks a Job as one for which something is being done.
    fn begin(&mut self, uid: &Uid) -> Option<(&mut Entry, Target)> {
        let entry = self.jobs.get_mut(uid)?;
        entry.busy = true;
        let target = Target::of(entry);
        Some((entry, target))
    }
}
