//! The face that puts jobs in and looks them up.

mod batch;
mod manage;
mod mirror;

use std::sync::Arc;

use self::batch::Batcher;
use crate::{
    Cursor, Error, Job, JobId, NewJob, Page, Queue, Result, ResultLook, Risk, Server, Status, check,
    connect::{AnswerLimit, Link},
    keys::Keys,
    risks,
    scripts::{Get, GetResult, List, Step},
};

/// Puts jobs in and looks them up. Cheap to clone; all clones share one connection, and submissions that arrive
/// together share one script call.
#[derive(Debug, Clone)]
pub struct Producer {
    shared: Arc<Shared>,
    batcher: Batcher,
}

#[derive(Debug)]
struct Shared {
    link: Link,
    queue: Queue,
    keys: Keys,
}

impl Producer {
    /// The most jobs on one page of [`Producer::list`].
    pub const MAX_PAGE: usize = 1_000;

    /// Makes a producer. Does not wait for Redis: the first call connects, and each later one connects again
    /// if it has to. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Tls`] for settings that cannot work.
    pub fn new(server: &Server, queue: Queue) -> Result<Self> {
        Self::with_limit(server, queue, AnswerLimit::WORK)
    }

    /// As [`Producer::new`], for a program that takes less from each of many servers.
    ///
    /// # Errors
    /// As [`Producer::new`].
    pub fn with_limit(server: &Server, queue: Queue, limit: AnswerLimit) -> Result<Self> {
        let link = Link::new(server, queue.queue_db, limit)?;
        let shared = Arc::new(Shared {
            link,
            keys: Keys::new(&queue),
            queue,
        });
        Ok(Self {
            batcher: Batcher::start(Arc::clone(&shared)),
            shared,
        })
    }

    /// Connects if need be, checks the server's version, and runs every script once on scratch keys as this
    /// user, so that a missing right shows now and not in the middle of a job.
    ///
    /// # Errors
    /// Any that says why the queue cannot be used.
    pub async fn check(&self) -> Result<()> {
        check::run(&self.shared.link, &self.shared.queue).await
    }

    /// One round trip.
    ///
    /// # Errors
    /// Any that says why Redis cannot be used.
    pub async fn ping(&self) -> Result<()> {
        self.shared.link.ping().await
    }

    /// What makes the jobs on this server unsafe without anybody being told. Empty is good. A few round trips: ask at
    /// the start and now and then, since settings change and so do masters.
    ///
    /// # Errors
    /// Any that says why Redis cannot be asked.
    pub async fn risks(&self) -> Result<Vec<Risk>> {
        risks::read(&self.shared.link).await
    }

    /// Puts a job in: its hash and its place on the list, both or neither. Waits for a place in the (bounded)
    /// line of submissions, never for a Redis that is away. Answers the job as it was submitted.
    ///
    /// # Errors
    /// Any. After one that [is ambiguous](Error::is_ambiguous) submit the same [`NewJob`] again: its id makes
    /// that harmless. [`Error::Conflict`] if the id exists with other contents.
    ///
    /// With an [`Idempotency`](crate::Idempotency) key that was used before, nothing is added and the answer is that
    /// of the first time, with the first job's id: also when that job has ended or was deleted meanwhile, for it
    /// was accepted once. [`Error::KeyReused`] if the key came with another fingerprint then.
    pub async fn submit(&self, job: NewJob) -> Result<Job> {
        let (job, submitted) = self.batcher.submit(job).await?;
        Ok(Job {
            id: submitted.instead.unwrap_or(job.id),
            status: Status::Submitted,
            start: job.start,
            end: job.end,
            worker: None,
            submitted_ms: submitted.at_us.map(|us| us / 1000),
            progress: None,
            payload: None,
        })
    }

    /// Looks a job up by id, whoever submitted it.
    ///
    /// # Errors
    /// Any that says why Redis cannot be read.
    pub async fn get(&self, id: &JobId) -> Result<Option<Job>> {
        self.run(&Get(id)).await
    }

    /// What a job gave.
    ///
    /// # Errors
    /// Any that says why Redis cannot be read.
    pub async fn result(&self, id: &JobId) -> Result<ResultLook> {
        self.run(&GetResult(id)).await
    }

    /// One page of jobs, newest first: at most `limit` (1 to [`Producer::MAX_PAGE`]) after `cursor` (`None`:
    /// from the newest). Jobs whose hash was deleted are left out, so a page may be shorter than `limit` and
    /// still have a next one.
    ///
    /// # Errors
    /// [`Error::Config`] for a limit out of range; else any that says why Redis cannot be read.
    pub async fn list(&self, cursor: Option<&Cursor>, limit: usize) -> Result<Page> {
        Self::check_limit(limit)?;
        self.run(&List { after: cursor, limit }).await
    }

    fn check_limit(limit: usize) -> Result<()> {
        if (1..=Self::MAX_PAGE).contains(&limit) {
            return Ok(());
        }
        Err(Error::Config(format!(
            "a page has 1 to {} jobs, not {limit}",
            Self::MAX_PAGE
        )))
    }

    async fn run<S: Step>(&self, step: &S) -> Result<S::Answer> {
        self.shared.link.run(&self.shared.keys, step).await
    }
}
