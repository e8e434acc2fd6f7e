//! Joins what clients were told, what Redis did and what handlers left behind, and counts.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::Duration,
};

use crate::{
    effects::{End, Line},
    history::{History, JobHistory},
    work::Work,
};

/// One run of a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// When it began, on the machine's monotonic clock in milliseconds.
    pub began_ms: u64,
    /// How and when it ended; `None` if its process did not live to say so.
    pub ended: Option<(End, u64)>,
    /// Whether it was a foreign worker's.
    pub foreign: bool,
}

/// What a Redis that forces its log once a second may have answered and not even written when it is killed, in ms: it
/// puts off its writes for up to two seconds while the disk is busy (`flushAppendOnlyFile` of its aof.c).
const UNWRITTEN_MS: u64 = 2_500;

/// Puts the lines of one process's file together, which is ours or foreign. Lines that were cut off are passed over.
pub fn executions(file: &str, foreign: bool) -> Vec<(String, Execution)> {
    let mut by_number: BTreeMap<u64, (String, Execution)> = BTreeMap::new();
    for line in file.lines().filter_map(|line| line.parse::<Line>().ok()) {
        match line.end {
            None => {
                let execution = Execution {
                    began_ms: line.monotonic_ms,
                    ended: None,
                    foreign,
                };
                by_number.insert(line.number, (line.job, execution));
            }
            Some(end) => {
                if let Some((_, execution)) = by_number.get_mut(&line.number) {
                    execution.ended = Some((end, line.monotonic_ms));
                }
            }
        }
    }
    by_number.into_values().collect()
}

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

/// Why a job was executed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Again {
    /// The execution before did not come to its end: its process was killed.
    Cut,
    /// It still ran when the next one began: its worker was frozen or cut off, and learnt of it later.
    Beside,
    /// It ended thus, and the job was not over.
    After(End),
}

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "its worker was killed in the middle",
            Self::Beside => "its worker was frozen or cut off, and ended it later",
            Self::After(End::Done) => "it was done, but its worker could not say so in time",
            Self::After(End::Failed) => "it failed, as the job told it to",
            Self::After(End::Lost) => "its worker learnt in the middle that it had lost the job",
            Self::After(End::Cancelled) => "it was stopped because its client cancelled the job",
            Self::After(End::TimedOut) => "its time was up",
            Self::After(End::Shutdown) => "its worker was ended in the middle, and gave it back",
        })
    }
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

fn why(before: &Execution, after: &Execution) -> Again {
    match before.ended {
        None => Again::Cut,
        Some((_, at)) if at > after.began_ms => Again::Beside,
        Some((end, _)) => Again::After(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aof::{Steps, tests::written},
        history::Keys,
    };

    fn history(commands: &[&[&str]]) -> History {
        let file = written(commands);
        let mut steps = Steps::new(&file[..], 0);
        let mut history = History::new(Keys::of("queue"));
        while let Some(step) = steps.step().unwrap() {
            history.apply(&step).unwrap();
        }
        history
    }

    fn submitted(id: &str) -> Vec<&str> {
        // Shorter than an id, so that each job has a request of its own.
        let request = &id[..1];
        vec![
            "HSET",
            id,
            "id",
            "x",
            "status",
            "submitted",
            "start",
            "x",
            "end",
            request,
        ]
    }

    fn ledger(acknowledged: &[&str], commands: &[&[&str]]) -> Ledger {
        Ledger {
            acknowledged: acknowledged.iter().map(|&id| (id.to_owned(), 200)).collect(),
            history: history(commands),
            undone: history(&[]),
            executions: HashMap::new(),
            cancelled: HashMap::new(),
            crashes: Vec::new(),
            told: HashMap::new(),
        }
    }

    const COMPLETE_A: &[&str] = &["HSET", "job.a", "status", "complete"];
    const BEGIN: &[&str] = &["MULTI"];
    const END: &[&str] = &["EXEC"];

    #[test]
    fn job_that_nobody_completed_is_lost() {
        let ledger = ledger(&["a", "b"], &[&["SELECT", "3"], &submitted("job.b"), COMPLETE_A]);
        let counts = ledger.counts();
        assert_eq!(counts.completed, 1);
        assert_eq!(
            counts.lost,
            [Lost {
                id: "b".into(),
                status: "submitted".into()
            }]
        );
    }

    #[test]
    fn job_of_which_redis_has_nothing_is_lost() {
        assert_eq!(
            ledger(&["a"], &[]).counts().lost,
            [Lost {
                id: "a".into(),
                status: String::new()
            }]
        );
    }

    #[test]
    fn job_that_redis_itself_lost_is_counted_apart() {
        let mut ledger = ledger(&["a"], &[]);
        ledger.undone = history(&[&["SELECT", "3"], &submitted("job.a")]);
        let counts = ledger.counts();
        assert_eq!((counts.lost_by_redis, counts.lost.len()), (1, 0));
    }

    #[test]
    fn job_without_a_trace_is_excused_only_shortly_before_a_crash_of_a_redis_that_does_not_always_force() {
        let mut ledger = ledger(&["a"], &[]);
        for (crash, lost) in [(100, 0), (300, 0), (3_000, 1), (50, 1)] {
            ledger.crashes = vec![crash];
            assert_eq!(
                ledger.counts().lost.len(),
                lost,
                "acknowledged at 200, crash at {crash}"
            );
        }
        ledger.history = history(&[&["SELECT", "3"], BEGIN, &submitted("job.a"), END]);
        ledger.crashes = vec![300];
        assert_eq!(ledger.counts().lost.len(), 1, "it was written, and nobody did it");
    }

    #[test]
    fn job_whose_foreign_producer_wrote_its_hash_is_lost_by_redis_only_if_that_lost_the_item() {
        let made = submitted("job.a");
        let pushed: &[&str] = &["RPUSH", "hotqueue:queue", "a"];
        let mut ledger = ledger(&["a"], &[&["SELECT", "3"], &made]);
        assert_eq!(ledger.counts().lost.len(), 1);
        ledger.undone = history(&[&["SELECT", "2"], pushed]);
        assert_eq!(ledger.counts().lost_by_redis, 1);
        ledger.history = history(&[&["SELECT", "3"], BEGIN, &made, &["SET", "x", "1"], END]);
        assert_eq!(ledger.counts().lost.len(), 1, "ours write both or none");
    }

    #[test]
    fn completion_that_redis_lost_does_not_excuse_the_loss_of_its_job() {
        let mut ledger = ledger(&["a"], &[&["SELECT", "3"], &submitted("job.a")]);
        ledger.undone = history(&[&["SELECT", "3"], COMPLETE_A]);
        assert_eq!(ledger.counts().lost.len(), 1);
    }

    #[test]
    fn job_completed_twice_is_found_whether_acknowledged_or_not() {
        let twice = [&["SELECT", "3"], BEGIN, COMPLETE_A, END, BEGIN, COMPLETE_A, END];
        assert_eq!(ledger(&[], &twice).counts().completed_twice, ["a"]);
    }

    #[test]
    fn write_that_a_foreign_client_repeats_is_one_completion_but_two_executions_are_two() {
        let mut ledger = ledger(&["a"], &[&["SELECT", "3"], COMPLETE_A, COMPLETE_A]);
        let done = Execution {
            began_ms: 0,
            ended: Some((End::Done, 1)),
            foreign: true,
        };
        ledger.executions.insert("a".to_owned(), vec![done.clone()]);
        assert_eq!(ledger.counts().completed_twice, [""; 0]);
        ledger.executions.insert("a".to_owned(), vec![done.clone(), done]);
        assert_eq!(ledger.counts().completed_twice, ["a"]);
        let taken: &[&[&str]] = &[
            &["SELECT", "2"],
            &["RPUSH", "hotqueue:queue", "a"],
            &["LPOP", "hotqueue:queue"],
        ];
        ledger.undone = history(taken);
        let counts = ledger.counts();
        assert_eq!((counts.completed_twice.len(), counts.foreign_twice), (0, 1));
    }

    #[test]
    fn job_that_a_foreign_worker_and_ours_completed_is_found() {
        let both = [&["SELECT", "3"], BEGIN, COMPLETE_A, END, COMPLETE_A];
        let mut ledger = ledger(&["a"], &both);
        for foreign in [false, true] {
            let ended = Some((End::Done, 1));
            let execution = Execution {
                began_ms: 0,
                ended,
                foreign,
            };
            ledger
                .executions
                .entry("a".to_owned())
                .or_default()
                .push(execution);
        }
        assert_eq!(ledger.counts().completed_twice, ["a"]);
    }

    #[test]
    fn two_workers_told_of_one_completion_are_found_unless_redis_lost_the_first() {
        let mut ledger = ledger(&["a"], &[&["SELECT", "3"], COMPLETE_A]);
        ledger.told.insert("a".to_owned(), 2);
        assert_eq!(ledger.counts().told_twice, ["a"]);
        ledger.undone = history(&[&["SELECT", "3"], BEGIN, COMPLETE_A, END]);
        assert_eq!(ledger.counts().told_twice, [""; 0]);
    }

    #[test]
    fn dead_and_cancelled_jobs_are_not_lost() {
        let failed: &[&str] = &["HSET", "job.a", "status", "failed"];
        let cancelled: &[&str] = &["HSET", "job.b", "status", "cancelled"];
        let counts = ledger(&["a", "b"], &[&["SELECT", "3"], failed, cancelled]).counts();
        assert_eq!((counts.dead, counts.cancelled, counts.lost.len()), (1, 1, 0));
    }

    #[test]
    fn dead_job_whose_work_would_have_succeeded_is_counted_apart() {
        let poison: &[&str] = &["HSET", "job.a", "start", "poison", "end", "1", "status", "failed"];
        let sleep: &[&str] = &[
            "HSET", "job.b", "start", "sleep 5", "end", "2", "status", "failed",
        ];
        let counts = ledger(&["a", "b"], &[&["SELECT", "3"], poison, sleep]).counts();
        assert_eq!((counts.dead, counts.dead_by_faults), (2, 1));
    }

    #[test]
    fn job_that_was_run_to_its_end_after_its_cancellation_is_found_unless_a_foreign_worker_ran_it() {
        let mut ledger = ledger(&["a"], &[&["SELECT", "3"], COMPLETE_A]);
        ledger.cancelled.insert("a".to_owned(), 200);
        let execution = |foreign| Execution {
            began_ms: 0,
            ended: Some((End::Done, 1)),
            foreign,
        };
        ledger.executions.insert("a".to_owned(), vec![execution(false)]);
        assert_eq!(ledger.counts().not_cancelled, ["a"]);
        ledger.executions.insert("a".to_owned(), vec![execution(true)]);
        assert_eq!(ledger.counts().not_cancelled, [""; 0]);
    }

    #[test]
    fn job_that_a_foreign_worker_took_is_counted_apart() {
        let commands: &[&[&str]] = &[
            &["SELECT", "3"],
            &submitted("job.a"),
            &["SELECT", "2"],
            &["RPUSH", "hotqueue:queue", "a"],
            &["LPOP", "hotqueue:queue"],
        ];
        let counts = ledger(&["a"], commands).counts();
        assert_eq!((counts.foreign_taken, counts.lost.len()), (1, 0));
    }

    #[test]
    fn request_with_two_jobs_is_found() {
        let first: &[&str] = &["HSET", "job.a", "status", "submitted", "end", "request"];
        let second: &[&str] = &["HSET", "job.b", "status", "submitted", "end", "request"];
        let counts = ledger(&[], &[&["SELECT", "3"], first, second]).counts();
        assert_eq!(counts.doubled_requests, ["request"]);
        let gone: &[&str] = &["DEL", "job.b"];
        let counts = ledger(&[], &[&["SELECT", "3"], first, second, gone]).counts();
        assert_eq!(counts.doubled_requests, [""; 0]);
    }

    #[test]
    fn executions_are_counted_and_explained() {
        let mut ledger = ledger(&["a"], &[]);
        let file = "start 0 a 1 7 100 0\nstart 1 b 1 7 100 0\nshutdown 1 b 1 7 150 0\nstart 2 b 2 7 160 0\ndone 2 b 2 7 170 0\nsta";
        for (job, execution) in executions(file, false) {
            ledger.executions.entry(job).or_default().push(execution);
        }
        for (job, execution) in executions("start 0 a 2 8 300 0\ndone 0 a 2 8 400 0\n", false) {
            ledger.executions.entry(job).or_default().push(execution);
        }
        let counts = ledger.counts();
        assert_eq!((counts.executions, counts.executed), ((4, 2), 2));
        assert_eq!(counts.cut_and_rerun, 1);
        assert_eq!(
            counts.again,
            BTreeMap::from([(Again::Cut, 1), (Again::After(End::Shutdown), 1)])
        );
        assert_eq!(
            counts.stall,
            Duration::from_millis(200),
            "from 200, when a was there, to its end at 400"
        );
    }

    #[test]
    fn execution_that_outlived_the_start_of_the_next_is_told_from_one_that_was_only_late() {
        let done = |began_ms, at| Execution {
            began_ms,
            ended: Some((End::Done, at)),
            foreign: false,
        };
        assert_eq!(why(&done(0, 50), &done(20, 60)), Again::Beside);
        assert_eq!(why(&done(0, 10), &done(20, 60)), Again::After(End::Done));
    }
}
