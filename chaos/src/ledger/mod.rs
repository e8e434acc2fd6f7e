//! Joins what clients were told, what Redis did and what handlers left behind, and counts.

mod executions;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use self::executions::why;
pub use self::executions::{Again, Execution, executions};
use crate::{
    effects::End,
    history::{History, JobHistory},
    work::Work,
};

/// What a Redis that forces its log once a second may have answered and not even written when it is killed, in ms: it
/// puts off its writes for up to two seconds while the disk is busy (`flushAppendOnlyFile` of its aof.c).
const UNWRITTEN_MS: u64 = 2_500;

/// All that is known after a run.
#[derive(Debug)]
pub struct Ledger {
    /// The ids that clients were given, and when (monotonic ms): what must not be lost.
    pub acknowledged: HashMap<String, u64>,
    /// What Redis did.
    pub history: History,
    /// What Redis had done and then lost, when the power was cut.
    pub undone: History,
    /// By job.
    pub executions: HashMap<String, Vec<Execution>>,
    /// Jobs whose clients were told that they are cancelled, and when (monotonic ms).
    pub cancelled: HashMap<String, u64>,
    /// When Redis was killed (monotonic ms) that forces its log to the disk once a second; none of one that always
    /// does.
    pub crashes: Vec<u64>,
    /// How often a worker was told that it has completed this job, by the workers' logs.
    pub told: HashMap<String, u32>,
}

/// A job that is nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its id.
    pub id: String,
    /// What its hash says; empty if there is none.
    pub status: String,
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Processes of jobs that were there when no worker was any more.
    pub left_behind: Vec<String>,
    /// Jobs whose client was told that they are queued.
    pub acknowledged: usize,
    /// Of these: complete.
    pub completed: usize,
    /// Of these: given up, with the reason kept.
    pub dead: usize,
    /// Of these: work that would have succeeded, had it not lost its workers again and again.
    pub dead_by_faults: usize,
    /// Of these: cancelled.
    pub cancelled: usize,
    /// Of these: taken by a foreign worker, which left no trace of it.
    pub foreign_taken: usize,
    /// Of these: lost with what Redis itself lost.
    pub lost_by_redis: usize,
    /// Of these: none of the above.
    pub lost: Vec<Lost>,
    /// Jobs, acknowledged or not, whose completion was written more than once.
    pub completed_twice: Vec<String>,
    /// Jobs that a foreign worker completed besides, because their item was there twice: see `may_be_foreign_twice`.
    pub foreign_twice: usize,
    /// Jobs whose completion two executions were told, though Redis did not lose it in between.
    pub told_twice: Vec<String>,
    /// Requests for which there is more than one job.
    pub doubled_requests: Vec<String>,
    /// Jobs that are not cancelled, though their clients were told so, Redis has lost nothing of them and no foreign worker ran them.
    pub not_cancelled: Vec<String>,
    /// Executions of all jobs, and the most that one had.
    pub executions: (usize, usize),
    /// How many jobs were executed at all.
    pub executed: usize,
    /// Jobs whose execution was cut off and that were executed again.
    pub cut_and_rerun: usize,
    /// Why executions were not the last of their job.
    pub again: BTreeMap<Again, usize>,
    /// The longest time in which no execution ended, though a job was there whose end was the next.
    pub stall: Duration,
}

impl Ledger {
    /// Counts.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            acknowledged: self.acknowledged.len(),
            ..Counts::default()
        };
        for id in self.acknowledged.keys() {
            self.count_fate(id, &mut counts);
        }
        counts.lost.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        self.count_doubles(&mut counts);
        self.count_executions(&mut counts);
        counts.stall = self.longest_stall();
        counts
    }

    fn count_fate(&self, id: &str, counts: &mut Counts) {
        let never = JobHistory::default();
        let job = self.history.jobs.get(id).unwrap_or(&never);
        match job.status.as_str() {
            "complete" => counts.completed += 1,
            "failed" => {
                counts.dead += 1;
                let may_die = job.work.parse().is_ok_and(Work::may_die);
                counts.dead_by_faults += usize::from(!may_die);
            }
            "cancelled" => counts.cancelled += 1,
            _ if job.foreign_pops > 0 && !self.history.waits(id) => counts.foreign_taken += 1,
            _ if self.is_lost_by_redis(id, job) => counts.lost_by_redis += 1,
            status => counts.lost.push(Lost {
                id: id.to_owned(),
                status: status.to_owned(),
            }),
        }
    }

    /// Whether Redis has lost its hash, or of a foreign producer's two writes the second, its item.
    fn is_lost_by_redis(&self, id: &str, job: &JobHistory) -> bool {
        let undone = self.undone.jobs.get(id);
        let at = self.acknowledged.get(id).copied().unwrap_or_default();
        let lost = |undone: bool| undone || self.may_be_unwritten(at);
        if job.created == 0 {
            lost(undone.is_some_and(|job| job.created > 0))
        } else {
            let without_item = job.foreign_created > 0 && job.foreign_pushes == 0;
            without_item && lost(undone.is_some_and(|job| job.foreign_pushes > 0))
        }
    }

    /// Whether Redis may have forgotten what it answered then.
    fn may_be_unwritten(&self, at_ms: u64) -> bool {
        self.crashes
            .iter()
            .any(|crash| (crash.saturating_sub(UNWRITTEN_MS)..=crash + 100).contains(&at_ms))
    }

    fn count_doubles(&self, counts: &mut Counts) {
        let mut requests: BTreeMap<&str, usize> = BTreeMap::new();
        for (id, job) in &self.history.jobs {
            if self.completions(id, job) > 1 {
                if job.completions <= 1 && self.may_be_foreign_twice(id, job) {
                    counts.foreign_twice += 1;
                } else {
                    counts.completed_twice.push(id.clone());
                }
            }
            // The programs' checks at their start make jobs, too, and take them away again.
            if job.created > 0 && !job.status.is_empty() {
                *requests.entry(&job.request).or_default() += 1;
            }
        }
        for (id, told) in &self.told {
            let undone = self.undone.jobs.get(id).map_or(0, |job| job.completions);
            // What Redis answered without writing it shows in no log but the worker's.
            if told.saturating_sub(undone) > 1 && self.crashes.is_empty() {
                counts.told_twice.push(id.clone());
            }
        }
        let cancelled = |id: &String| {
            self.history
                .jobs
                .get(id)
                .is_some_and(|job| job.status == "cancelled")
        };
        let undone = |id: &String, at| self.undone.jobs.contains_key(id) || self.may_be_unwritten(at);
        let not_cancelled = self
            .cancelled
            .iter()
            .filter(|(id, at)| !cancelled(id) && !undone(id, **at) && !self.is_run_by_a_foreign_worker(id));
        counts.not_cancelled = not_cancelled.map(|(id, _)| id.clone()).collect();
        counts.not_cancelled.sort_unstable();
        let doubled = requests.into_iter().filter(|(_, jobs)| *jobs > 1);
        counts.doubled_requests = doubled.map(|(request, _)| request.to_owned()).collect();
        counts.completed_twice.sort_unstable();
        counts.told_twice.sort_unstable();
    }

    /// A foreign worker that has taken a job runs it and says so, whatever was written of it meanwhile (docs/protocol.md).
    fn is_run_by_a_foreign_worker(&self, id: &str) -> bool {
        let mut executions = self.executions.get(id).into_iter().flatten();
        executions.any(|execution| execution.foreign)
    }

    /// A foreign worker completes a job at most once in an execution, however often it was written.
    fn completions(&self, id: &str, job: &JobHistory) -> usize {
        let executions = self.executions.get(id).into_iter().flatten();
        let done =
            |execution: &&Execution| execution.foreign && matches!(execution.ended, Some((End::Done, _)));
        let foreign = executions
            .filter(done)
            .count()
            .min(job.foreign_completions as usize);
        job.completions as usize + foreign
    }

    /// Nothing can stop a foreign worker that takes an item which is there once more: because somebody else than its
    /// producer has put it in too, or its producer twice, or because Redis lost that another one had taken it.
    fn may_be_foreign_twice(&self, id: &str, job: &JobHistory) -> bool {
        let undone = self.undone.jobs.get(id).is_some_and(|job| job.foreign_pops > 0);
        let pushed_again = job.foreign_pushes > u32::from(job.foreign_created > 0);
        pushed_again || undone || !self.crashes.is_empty()
    }

    fn count_executions(&self, counts: &mut Counts) {
        counts.executed = self.executions.len();
        for executions in self.executions.values() {
            counts.executions.0 += executions.len();
            counts.executions.1 = counts.executions.1.max(executions.len());
            let mut sorted: Vec<_> = executions.iter().collect();
            sorted.sort_unstable_by_key(|execution| execution.began_ms);
            let reasons: Vec<_> = sorted.windows(2).map(|pair| why(pair[0], pair[1])).collect();
            counts.cut_and_rerun += usize::from(reasons.contains(&Again::Cut));
            for reason in reasons {
                *counts.again.entry(reason).or_default() += 1;
            }
        }
    }

    fn longest_stall(&self) -> Duration {
        let mut ends: Vec<(u64, u64)> = Vec::new();
        for (job, executions) in &self.executions {
            let since = self.acknowledged.get(job).copied().unwrap_or(u64::MAX);
            ends.extend(
                executions
                    .iter()
                    .filter_map(|execution| Some((execution.ended?.1, since))),
            );
        }
        ends.sort_unstable();
        let stalls = ends
            .windows(2)
            .map(|pair| pair[1].0.saturating_sub(pair[1].1.max(pair[0].0)));
        Duration::from_millis(stalls.max().unwrap_or(0))
    }
}
