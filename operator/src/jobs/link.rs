//! The way to one pool's queue: whether it is open, what waits for it, and what is asked there.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use queue::{AnswerLimit, JobId, JobState, Producer, Queue, Server};

use super::{
    access::Access,
    entry::Uid,
    slots::{Slot, Slots},
};
use crate::{PoolRef, queues::Queues};

/// Steps under way in one queue.
const AT_ONCE: usize = 4;
/// A pool that is there is said not to be served after so long.
const NOT_SERVED_AFTER: Duration = Duration::from_secs(10);
/// The wait after the first error of a queue; it doubles with each.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// The longest wait.
const LAST_BACKOFF: Duration = Duration::from_secs(15);
/// Between two looks at all Jobs that have not ended: what workers that are not ours do is told by nobody.
const POLLS_APART: Duration = Duration::from_secs(30);
/// The connection is closed after so long without use.
const IDLE: Duration = Duration::from_secs(90);

/// The way to one pool's queue.
pub(super) struct Link {
    pool: PoolRef,
    source: Option<(Server, Queue)>,
    producer: Option<(Producer, Instant)>,
    pub(super) access: Access,
    /// Since when the pool has been there without a queue.
    unserved_since: Option<Instant>,
    /// Errors in a row, and when to try again.
    failures: u32,
    not_before: Instant,
    /// What waits to be submitted, and to be cancelled.
    pub(super) submits: VecDeque<Uid>,
    pub(super) cancels: VecDeque<Uid>,
    /// For submissions and cancellations.
    steps: Slots,
    /// All of its Jobs.
    pub(super) jobs: BTreeSet<Uid>,
    /// Redis told that some have changed.
    changed: bool,
    /// For the one question that may be under way.
    questions: Slots,
    poll_at: Instant,
    /// What the poll under way has not asked for yet.
    to_poll: Vec<JobId>,
}

/// A call to a pool's queue that is under way. Calls to a queue that the pool has left since do not count for the new one.
#[derive(Debug)]
pub(super) struct QueueCall {
    pub(super) pool: PoolRef,
    slot: Slot,
}

/// What is to be asked.
#[derive(Debug)]
pub(super) enum Question {
    /// Which have changed?
    Changed,
    /// How are these?
    States(Vec<JobId>),
}

/// What was answered: how each is.
pub(super) type Answer = Vec<(JobId, Option<JobState>)>;

impl Link {
    pub(super) fn new(pool: PoolRef, now: Instant) -> Self {
        Self {
            pool,
            source: None,
            producer: None,
            access: Access::Unknown,
            unserved_since: None,
            failures: 0,
            not_before: now,
            submits: VecDeque::new(),
            cancels: VecDeque::new(),
            steps: Slots::new(AT_ONCE),
            jobs: BTreeSet::new(),
            changed: false,
            questions: Slots::new(1),
            poll_at: now,
            to_poll: Vec::new(),
        }
    }

    /// Looks at what is known of the pool; answers whether that makes a difference.
    pub(super) fn look(&mut self, exists: bool, queues: &Queues, now: Instant) -> bool {
        if let Some(source) = queues.source(&self.pool)
            && self.source.as_ref() != Some(&source)
        {
            self.source = Some(source);
            self.producer = None;
            self.failures = 0;
            self.not_before = now;
            // What hangs at the queue before takes no slot of this one.
            self.steps = Slots::new(AT_ONCE);
            self.questions = Slots::new(1);
        }
        let outlook = queues.outlook(&self.pool);
        self.changed |= outlook.changed_jobs;
        let was_served = self.source.is_some();
        let unserved_since = (exists && !outlook.followed).then(|| self.unserved_since.unwrap_or(now));
        self.unserved_since = unserved_since;
        let access = match (outlook.error, unserved_since, &self.access) {
            _ if !exists => Access::Missing { was_served },
            (_, Some(since), _) if now < since + NOT_SERVED_AFTER => Access::Unknown,
            (_, Some(_), _) => Access::NotServed { was_served },
            (Some(error), ..) => Access::Failing(error),
            (None, _, Access::Failing(error)) if self.failures > 0 => Access::Failing(error.clone()),
            (None, ..) => Access::Open,
        };
        let differs = self.access != access;
        self.access = access;
        differs
    }

    /// The connection and a call, if something may be started now. A queue that failed is tried by one at a time.
    pub(super) fn open(&mut self, now: Instant) -> Option<(Producer, QueueCall)> {
        let most = if self.failures > 0 { 1 } else { AT_ONCE };
        if now < self.not_before || self.steps.in_use() >= most {
            return None;
        }
        let call = self.call(self.steps.take()?);
        Some((self.connection(now)?, call))
    }

    fn call(&self, slot: Slot) -> QueueCall {
        QueueCall {
            pool: self.pool.clone(),
            slot,
        }
    }

    /// Whether the call was one to the queue that the pool has now.
    pub(super) fn made(&self, call: &QueueCall) -> bool {
        self.steps.owns(&call.slot) || self.questions.owns(&call.slot)
    }

    fn connection(&mut self, now: Instant) -> Option<Producer> {
        let (server, queue) = self.source.as_ref()?;
        if self.producer.is_none() {
            match Producer::with_limit(server, queue.clone(), AnswerLimit::SUBMIT) {
                Ok(producer) => self.producer = Some((producer, now)),
                Err(error) => {
                    self.failed(error, now);
                    return None;
                }
            }
        }
        let (producer, used) = self.producer.as_mut()?;
        *used = now;
        Some(producer.clone())
    }

    /// Redis did what it should; answers whether it had not before.
    pub(super) fn succeeded(&mut self) -> bool {
        let had_failed = std::mem::take(&mut self.failures) > 0;
        if had_failed && matches!(self.access, Access::Failing(_)) {
            self.access = Access::Open;
        }
        had_failed
    }

    /// Redis did not; answers whether that is news.
    pub(super) fn failed(&mut self, error: queue::Error, now: Instant) -> bool {
        let wait = FIRST_BACKOFF.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + wait.min(LAST_BACKOFF);
        if !self.access.is_known() {
            return false;
        }
        let differs = !matches!(self.access, Access::Failing(_));
        self.access = Access::Failing(error);
        differs
    }

    /// Lets all that have not ended be looked at soon.
    pub(super) fn poll_soon(&mut self, now: Instant) {
        self.poll_at = self.poll_at.min(now);
    }

    /// The next question, if there is one to ask now. `unended` are the Jobs whose end has not been seen.
    pub(super) fn next_question(
        &mut self,
        now: Instant,
        unended: impl FnOnce(&BTreeSet<Uid>) -> Vec<JobId>,
    ) -> Option<(Producer, QueueCall, Question)> {
        if now < self.not_before {
            return None;
        }
        let call = self.call(self.questions.take()?);
        if !self.changed && self.to_poll.is_empty() {
            if now < self.poll_at {
                return None;
            }
            self.poll_at = now + POLLS_APART;
            self.to_poll = unended(&self.jobs);
            if self.to_poll.is_empty() {
                return None;
            }
        }
        let producer = self.connection(now)?;
        if std::mem::take(&mut self.changed) {
            return Some((producer, call, Question::Changed));
        }
        let rest = self.to_poll.len().saturating_sub(Producer::MAX_STATES);
        Some((producer, call, Question::States(self.to_poll.split_off(rest))))
    }

    /// A question was answered, or not. Of those that have changed a full answer may not be all.
    pub(super) fn answered(&mut self, question: &Question, answer: Option<&Answer>) {
        match (question, answer) {
            (Question::Changed, Some(answer)) => self.changed |= answer.len() >= Producer::MAX_STATES,
            (Question::Changed, None) => {
                // Some may have been taken, and nobody heard of them.
                self.changed = true;
                self.poll_at = self.not_before;
            }
            (Question::States(_), _) => {}
        }
    }

    /// Whether it is worth a look now.
    pub(super) fn wants_something(&self, now: Instant) -> bool {
        let waits = !self.submits.is_empty() || !self.cancels.is_empty();
        let asks =
            self.questions.in_use() == 0 && (self.changed || !self.to_poll.is_empty() || self.poll_at <= now);
        let rests = self
            .producer
            .as_ref()
            .is_some_and(|(_, used)| now >= *used + IDLE);
        waits || asks || rests || self.access == Access::Unknown
    }

    /// When there is something to do that nobody tells of.
    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let poll = self.source.is_some().then_some(self.poll_at);
        let unserved = match self.access {
            Access::Unknown => self.unserved_since.map(|since| since + NOT_SERVED_AFTER),
            _ => None,
        };
        let rest = self.producer.as_ref().map(|(_, used)| *used + IDLE);
        let times = [Some(self.not_before), poll, unserved, rest]
            .into_iter()
            .flatten();
        // What is past is done as soon as what holds it up has ended.
        times.filter(|at| *at > now).min()
    }

    /// Closes a connection that nobody uses.
    pub(super) fn rest(&mut self, now: Instant) {
        let idle = self
            .producer
            .as_ref()
            .is_some_and(|(_, used)| now >= *used + IDLE);
        if idle && self.is_quiet() {
            self.producer = None;
        }
    }

    /// Nobody needs it.
    pub(super) fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.is_quiet()
    }

    fn is_quiet(&self) -> bool {
        self.questions.in_use() == 0 && self.steps.in_use() == 0
    }
}

/// Asks.
pub(super) async fn ask(producer: &Producer, question: &Question) -> queue::Result<Answer> {
    match question {
        Question::Changed => producer.take_changed(Producer::MAX_STATES).await,
        Question::States(ids) => Ok(ids.iter().cloned().zip(producer.states(ids).await?).collect()),
    }
}
