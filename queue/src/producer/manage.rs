//! What people do with jobs that are in: cancel, look at what was given up, give it another try.

use super::Producer;
use crate::{
    Cancel, Cursor, DeadPage, Details, Error, JobId, Overview, Result, Retried,
    scripts::{CancelJob, DeleteDead, GetDetails, ListDead, LookOver, RetryDead},
};

/// The most members of one script call, so that it never holds the server for long.
const CHUNK: usize = 500;

impl Producer {
    /// The most workers in an [`Overview`].
    pub const MAX_WORKERS: usize = 1_000;

    /// The most held jobs in an [`Overview`].
    pub const MAX_HELD: usize = 1_000;

    /// Cancels a job. What has ended stays as it is; what runs is asked for.
    ///
    /// # Errors
    /// Any; safe to repeat.
    pub async fn cancel(&self, id: &JobId) -> Result<Cancel> {
        self.run(&CancelJob(id)).await
    }

    /// Gives a dead job another try: its failures are forgotten, its past is kept, and it waits at the tail.
    ///
    /// # Errors
    /// Any; safe to repeat: it goes back once.
    pub async fn retry(&self, id: &JobId) -> Result<Retried> {
        let members = [id.to_string()];
        let answer = self.run(&RetryDead(&members)).await?.pop();
        answer.ok_or_else(|| Error::Unexpected("no answer to a retry".to_owned()))
    }

    /// What is remembered of a job besides what [`Producer::get`] answers. `None` if there is no such job.
    ///
    /// # Errors
    /// Any that says why Redis cannot be read.
    pub async fn details(&self, id: &JobId) -> Result<Option<Details>> {
        self.run(&GetDetails(id)).await
    }

    /// One page of the dead, newest first: at most `limit` (1 to [`Producer::MAX_PAGE`]) after `cursor` (`None`:
    /// from the newest).
    ///
    /// # Errors
    /// [`Error::Config`] for a limit out of range; else any that says why Redis cannot be read.
    pub async fn dead(&self, cursor: Option<&Cursor>, limit: usize) -> Result<DeadPage> {
        Self::check_limit(limit)?;
        self.run(&ListDead { after: cursor, limit }).await
    }

    /// Gives those of the dead another try that [`Dead::member`](crate::Dead::member) names; also an item that was no
    /// job. Answers how many went back. Members that are not among the dead are passed over.
    ///
    /// # Errors
    /// Any; some may have gone back. Safe to repeat: each goes back once.
    pub async fn retry_dead(&self, members: &[String]) -> Result<u64> {
        let mut returned = 0;
        for members in members.chunks(CHUNK) {
            let answers = self.run(&RetryDead(members)).await?;
            returned += answers.iter().filter(|answer| **answer == Retried::Yes).count() as u64;
        }
        Ok(returned)
    }

    /// Forgets those of the dead that [`Dead::member`](crate::Dead::member) names: hash, record and place in the
    /// listing. Answers how many there were.
    ///
    /// # Errors
    /// Any; some may be gone. Safe to repeat.
    pub async fn delete_dead(&self, members: &[String]) -> Result<u64> {
        let mut deleted = 0;
        for members in members.chunks(CHUNK) {
            deleted += self.run(&DeleteDead(members)).await?;
        }
        Ok(deleted)
    }

    /// How long the queue is, and what each worker of ours holds.
    ///
    /// # Errors
    /// Any that says why Redis cannot be read.
    pub async fn overview(&self) -> Result<Overview> {
        self.run(&LookOver {
            max_workers: Self::MAX_WORKERS,
            max_held: Self::MAX_HELD,
        })
        .await
    }
}
