//! Executions of jobs, as handlers wrote them down, and why there was more than one.

use std::{collections::BTreeMap, fmt};

use crate::effects::{End, Line};

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

/// Why `before` was not the last execution of its job.
pub(super) fn why(before: &Execution, after: &Execution) -> Again {
    match before.ended {
        None => Again::Cut,
        Some((_, at)) if at > after.began_ms => Again::Beside,
        Some((end, _)) => Again::After(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
