//! What happened how often, since the queue began.

use redis::Value;

use crate::{Result, reply};

/// Defines the struct and the fields' names in Redis, which are the same.
macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// What happened how often since the queue began, by workers of ours: counters, for metrics.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl Counts {
            /// The fields of the hash `counts`.
            pub(crate) const NAMES: &[&str] = &[$(stringify!($name),)+];

            /// Each with its name, for metrics.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }

            /// From their values in the order of [`Counts::NAMES`].
            pub(crate) fn read(values: &[Value]) -> Result<Self> {
                let mut values = values.iter();
                let mut next = || values.next().map_or(Ok(0), reply::count);
                Ok(Self { $($name: next()?,)+ })
            }
        }
    };
}

counts! {
    /// Runs begun.
    claimed,
    /// Runs that completed their job.
    completed,
    /// The time that those took together, in milliseconds.
    completed_busy_ms,
    /// Runs whose handler failed.
    failed,
    /// Runs that took longer than they may.
    timed_out,
    /// Runs whose worker was lost.
    lost,
    /// Runs put off by their handler.
    postponed,
    /// Runs given back by a worker that ended.
    given_back,
    /// Runs that ended in vain: the job's hash was gone, or a foreign program had ended the job.
    finished_in_vain,
    /// Jobs given up after too many failures or lost workers.
    dead,
    /// Jobs cancelled, also before they ran.
    cancelled,
    /// Items that were no job, put among the dead.
    garbage,
    /// Looks at an id that had no hash.
    orphans,
    /// Second items of jobs that ran or were delayed, dropped.
    duplicates,
    /// Items of jobs that had ended, dropped.
    dropped_terminal,
    /// Items of cancelled jobs, dropped when their turn came.
    dropped_cancelled,
    /// Dead jobs and items that were given another try.
    retried,
    /// Dead jobs and items that were deleted.
    deleted,
    /// Jobs that foreign workers took and lost.
    foreign_lost,
    /// Those of them that were put back.
    foreign_recovered,
    /// Jobs that other programs ended with a status of their own.
    foreign_ended,
    /// Jobs that were missing from the queue for long, put among the dead.
    removed,
    /// Records that could not be read, each time that one was met.
    unreadable,
    /// Jobs forgotten because they ended long ago.
    purged,
    /// Times that leases got their time again after an outage.
    guarded,
}
