//! Says what a run's counts mean: the table, and what in it breaks a promise.

use std::fmt;

use crate::ledger::Counts;

/// How many ids are named of each kind of broken promise.
const SHOWN: usize = 10;

/// The table of a run, as Markdown.
pub struct Table<'a>(pub &'a Counts);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0;
        let (executions, most) = counts.executions;
        // Counts of jobs are far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        let mean = executions as f64 / counts.executed.max(1) as f64;
        writeln!(
            f,
            "| acknowledged | completed | completed twice | lost | requests with two jobs | executions per job (mean / max) \
             | jobs cut and re-run | longest stall | foreign-taken | dead (of them by faults alone) | cancelled | lost by Redis itself |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|---|---|---|")?;
        writeln!(
            f,
            "| {} | {} | {} | {} | {} | {mean:.3} / {most} | {} | {:.1} s | {} | {} ({}) | {} | {} |",
            counts.acknowledged,
            counts.completed,
            counts.completed_twice.len().max(counts.told_twice.len()),
            counts.lost.len(),
            counts.doubled_requests.len(),
            counts.cut_and_rerun,
            counts.stall.as_secs_f64(),
            counts.foreign_taken,
            counts.dead,
            counts.dead_by_faults,
            counts.cancelled,
            counts.lost_by_redis,
        )?;
        for (reason, times) in &counts.again {
            writeln!(f, "executed again {times} times: {reason}")?;
        }
        if counts.foreign_twice > 0 {
            let jobs = counts.foreign_twice;
            writeln!(
                f,
                "completed besides by a foreign worker, whose item was there twice: {jobs}"
            )?;
        }
        Ok(())
    }
}

/// What nothing in a run may do to a job, as mild as its faults are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mild {
    /// Cost it one of its chances.
    pub spares_jobs: bool,
    /// Have it executed again.
    pub executes_once: bool,
}

/// The promises that a run broke, each in a sentence; none if all were kept.
pub fn broken(counts: &Counts, mild: Mild) -> Vec<String> {
    let spent = if mild.spares_jobs {
        counts.dead_by_faults
    } else {
        0
    };
    let again: usize = if mild.executes_once {
        counts.again.values().sum()
    } else {
        0
    };
    let lost: Vec<String> = counts
        .lost
        .iter()
        .map(|lost| format!("{} ({:?})", lost.id, lost.status))
        .collect();
    [
        ("acknowledged and lost", &lost),
        ("completed twice, by Redis' log", &counts.completed_twice),
        ("completed twice, by the workers' logs", &counts.told_twice),
        ("requests with more than one job", &counts.doubled_requests),
        ("cancelled, and not so at the end", &counts.not_cancelled),
        ("processes of jobs left behind", &counts.left_behind),
    ]
    .into_iter()
    .filter(|(_, jobs)| !jobs.is_empty())
    .map(|(what, jobs)| {
        let named = &jobs[..jobs.len().min(SHOWN)];
        format!("{}: {what}: {}", jobs.len(), named.join(", "))
    })
    .chain((spent > 0).then(|| format!("{spent}: dead for lost workers, and none was lost")))
    .chain((again > 0).then(|| format!("{again}: executed again, and no run was cut off")))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Again, Lost};

    const MILD: Mild = Mild {
        spares_jobs: true,
        executes_once: true,
    };

    #[test]
    fn run_without_loss_or_double_breaks_nothing() {
        let counts = Counts {
            acknowledged: 5,
            completed: 4,
            dead: 1,
            ..Counts::default()
        };
        assert_eq!(broken(&counts, MILD), [""; 0]);
    }

    #[test]
    fn each_broken_promise_is_named_with_its_jobs() {
        let counts = Counts {
            lost: vec![Lost {
                id: "a".into(),
                status: "submitted".into(),
            }],
            completed_twice: vec!["b".into()],
            told_twice: vec!["c".into()],
            doubled_requests: vec!["d".into()],
            not_cancelled: vec!["e".into()],
            left_behind: vec!["f".into()],
            ..Counts::default()
        };
        let broken = broken(&counts, Mild::default());
        assert_eq!(broken.len(), 6);
        for (sentence, id) in broken.iter().zip(["a", "b", "c", "d", "e", "f"]) {
            assert!(sentence.starts_with("1: ") && sentence.contains(id), "{sentence}");
        }
    }

    #[test]
    fn job_may_die_of_lost_workers_only_where_workers_are_lost() {
        let counts = Counts {
            dead_by_faults: 1,
            ..Counts::default()
        };
        assert_eq!(broken(&counts, Mild::default()), [""; 0]);
        assert_eq!(broken(&counts, MILD).len(), 1);
    }

    #[test]
    fn job_may_be_executed_again_only_where_runs_are_cut_off() {
        let counts = Counts {
            again: [(Again::Beside, 2)].into(),
            ..Counts::default()
        };
        assert_eq!(broken(&counts, Mild::default()), [""; 0]);
        assert_eq!(
            broken(&counts, MILD),
            ["2: executed again, and no run was cut off"]
        );
    }

    #[test]
    fn table_has_the_counts_in_their_columns() {
        let counts = Counts {
            acknowledged: 5,
            completed: 4,
            executed: 4,
            executions: (6, 2),
            ..Counts::default()
        };
        let table = Table(&counts).to_string();
        assert!(table.contains("| 5 | 4 | 0 | 0 | 0 | 1.500 / 2 |"), "{table}");
    }
}
