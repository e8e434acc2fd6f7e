//! What became of acknowledged jobs, counted from what an independent witness saw.

use std::fmt;

use anyhow::{Result, ensure};

use crate::Witness;

/// The count at the end of an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Jobs whose client was told that they are queued.
    pub acknowledged: usize,
    /// Jobs that were completed, once or more often.
    pub completed: usize,
    /// Jobs that were completed more than once.
    pub completed_twice: usize,
    /// Jobs that were begun more than once: cut, and run again.
    pub run_again: usize,
}

impl Tally {
    /// Of these jobs, as the witness saw them.
    #[must_use]
    pub fn of(ids: &[String], witness: &Witness) -> Self {
        let count = |holds: &dyn Fn(&str) -> bool| ids.iter().filter(|id| holds(id)).count();
        Self {
            acknowledged: ids.len(),
            completed: count(&|id| witness.count(id, "complete") >= 1),
            completed_twice: count(&|id| witness.count(id, "complete") > 1),
            run_again: count(&|id| witness.count(id, "in progress") > 1),
        }
    }

    /// Checks that no job was lost and none completed twice.
    ///
    /// # Errors
    /// When one was.
    pub fn no_harm(self) -> Result<Self> {
        ensure!(
            self.completed == self.acknowledged && self.completed_twice == 0,
            "{self}"
        );
        Ok(self)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = self.acknowledged.saturating_sub(self.completed);
        let Self {
            acknowledged,
            completed,
            completed_twice,
            run_again,
        } = self;
        write!(
            f,
            "{acknowledged} acknowledged, {completed} completed, {completed_twice} completed twice, {lost} lost, \
             {run_again} cut and run again"
        )
    }
}
