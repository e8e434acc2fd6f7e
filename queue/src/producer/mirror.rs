//! What somebody needs who mirrors jobs elsewhere: how far they are, and which have changed.

use super::Producer;
use crate::{
    JobId, JobState, Result,
    scripts::{GetStates, TakeChanged},
};

impl Producer {
    /// The most jobs of one script call, so that it never holds the server for long.
    pub const MAX_STATES: usize = 500;

    /// How far each of these jobs is, in their order; `None` for what is no job. One script call for each
    /// [`Producer::MAX_STATES`].
    ///
    /// # Errors
    /// Any that says why Redis cannot be read.
    pub async fn states(&self, ids: &[JobId]) -> Result<Vec<Option<JobState>>> {
        let mut states = Vec::with_capacity(ids.len());
        for ids in ids.chunks(Self::MAX_STATES) {
            states.extend(self.run(&GetStates(ids)).await?);
        }
        Ok(states)
    }

    /// Takes up to `limit` (at most [`Producer::MAX_STATES`]) of the watched jobs that have changed since they were
    /// last taken, in no order, and says how far each is now; `None` if it is no more. Fewer than `limit` are all.
    ///
    /// What a worker that is not ours does to a job leaves no trace here, and neither does an answer that was lost:
    /// ask for the [`Producer::states`] of what is mirrored now and then.
    ///
    /// # Errors
    /// Any. After one that [is ambiguous](crate::Error::is_ambiguous) some may have been taken.
    pub async fn take_changed(&self, limit: usize) -> Result<Vec<(JobId, Option<JobState>)>> {
        let limit = limit.min(Self::MAX_STATES);
        self.run(&TakeChanged { limit }).await
    }
}
