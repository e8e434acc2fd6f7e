//! A witness beside the queue: every status that any program gives a job, as Redis executes it (MONITOR shows what scripts do, too).
//! It counts how often a job was started without asking the programs under test.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use tokio::task::JoinHandle;

use crate::Data;

/// Within this time a worker gives back what it has no time to run. It takes two calls; the jobs of these tests take ten times
/// as long.
const AT_ONCE: Duration = Duration::from_millis(100);

/// A status that was written into a job's hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The job.
    pub id: String,
    /// Its new status.
    pub status: String,
    /// Where it is run, if that was written with it.
    pub worker: Option<String>,
    /// When Redis executed it, on its clock.
    pub at: Duration,
}

/// Records transitions from its start until it is dropped.
#[derive(Debug)]
pub struct Witness {
    seen: Arc<Mutex<Vec<Transition>>>,
    task: JoinHandle<()>,
}

impl Witness {
    /// Starts to watch; what is written after this returns is seen.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn of(data: &Data) -> Result<Self> {
        let monitor = data.client(0)?.get_async_monitor().await?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut lines = std::pin::pin!(monitor.into_on_message::<String>());
            while let Some(line) = lines.next().await {
                if let Some(transition) = transition(&line) {
                    sink.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(transition);
                }
            }
        });
        Ok(Self { seen, task })
    }

    /// What was seen of one job, in order.
    #[must_use]
    pub fn transitions(&self, id: &str) -> Vec<Transition> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter()
            .filter(|transition| transition.id == id)
            .cloned()
            .collect()
    }

    /// How often a job was given this status.
    #[must_use]
    pub fn count(&self, id: &str, status: &str) -> usize {
        self.transitions(id)
            .iter()
            .filter(|transition| transition.status == status)
            .count()
    }

    /// Checks that each of these jobs was taken once at most.
    ///
    /// # Errors
    /// With all that was seen of the others.
    pub fn each_taken_once(&self, ids: &[String]) -> Result<()> {
        self.none(ids, "taken more than once", |seen| {
            seen.iter()
                .filter(|transition| transition.status == "in progress")
                .count()
                > 1
        })
    }

    /// Checks that no run of these jobs was cut, where workers are told to end at any time: what one of them takes by a call
    /// that was under way then, it gives back at once, and has not run.
    ///
    /// # Errors
    /// With all that was seen of those that were cut.
    pub fn none_cut(&self, ids: &[String]) -> Result<()> {
        self.none(ids, "cut", |seen| {
            seen.array_windows().any(|[begun, then]| {
                begun.status == "in progress" && then.status != "complete" && then.at - begun.at >= AT_ONCE
            })
        })
    }

    fn none(&self, ids: &[String], are: &str, so: impl Fn(&[Transition]) -> bool) -> Result<()> {
        let stories: Vec<_> = ids
            .iter()
            .map(|id| self.transitions(id))
            .filter(|seen| so(seen))
            .collect();
        ensure!(
            stories.is_empty(),
            "{} jobs were {are}: {}",
            stories.len(),
            stories
                .iter()
                .map(|seen| story(seen))
                .collect::<Vec<_>>()
                .join("; ")
        );
        Ok(())
    }

    /// Checks that each of these jobs was taken and completed once, and ran for as long as its work takes.
    ///
    /// # Errors
    /// With all that was seen of the first one of which that is not so.
    pub fn each_ran_once_for(&self, work: Duration, ids: &[String]) -> Result<()> {
        for id in ids {
            let history = self.transitions(id);
            ensure!(
                self.count(id, "in progress") == 1,
                "job {id} was started more than once: {history:?}"
            );
            ensure!(
                self.count(id, "complete") == 1,
                "job {id} was completed more than once: {history:?}"
            );
            let ran = self
                .ran(id)
                .with_context(|| format!("job {id} was not seen to run: {history:?}"))?;
            ensure!(ran >= work, "job {id} was cut after {ran:?}");
        }
        Ok(())
    }

    /// How long a job was in progress, last start to completion; nothing if it was not seen to run to its end.
    #[must_use]
    pub fn ran(&self, id: &str) -> Option<Duration> {
        let transitions = self.transitions(id);
        let last = |status: &str| transitions.iter().rfind(|transition| transition.status == status);
        Some(last("complete")?.at - last("in progress")?.at)
    }
}

/// What became of a job, in a line: when, by seconds from its first status, and where.
fn story(seen: &[Transition]) -> String {
    let begun = seen.first().map_or(Duration::ZERO, |first| first.at);
    let told = seen.iter().map(|transition| {
        let after = transition.at.saturating_sub(begun).as_secs_f64();
        let worker = transition
            .worker
            .as_deref()
            .map_or_else(String::new, |worker| format!(" on {worker}"));
        format!("{after:.3} {}{worker}", transition.status)
    });
    told.collect::<Vec<_>>().join(", ")
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The transition in a line of MONITOR, `<time> [<db> <client>] "HSET" "job.<id>" <field> <value> …`, if it is one.
fn transition(line: &str) -> Option<Transition> {
    let (source, command) = line.split_once("] \"")?;
    let words: Vec<&str> = command.trim_end_matches('"').split("\" \"").collect();
    let [name, key, fields @ ..] = words.as_slice() else {
        return None;
    };
    if !name.eq_ignore_ascii_case("HSET") && !name.eq_ignore_ascii_case("HMSET") {
        return None;
    }
    let id = key.strip_prefix("job.")?.to_owned();
    let field = |name: &str| {
        let fields = fields.as_chunks::<2>().0.iter();
        fields
            .clone()
            .find(|[field, _]| *field == name)
            .map(|[_, value]| (*value).to_owned())
    };
    let seconds = source.split(' ').next()?.parse().ok()?;
    Some(Transition {
        id,
        status: field("status")?,
        worker: field("worker"),
        at: Duration::try_from_secs_f64(seconds).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(line: &str) -> Option<(String, String)> {
        transition(line).map(|transition| (transition.id, transition.status))
    }

    #[test]
    fn a_status_is_read_from_what_a_client_or_a_script_writes() {
        let started = Some(("7".to_owned(), "in progress".to_owned()));
        let client = r#"1763978.5 [3 10.0.0.9:4711] "HSET" "job.7" "status" "in progress""#;
        assert_eq!(status_of(client), started);
        let script = r#"1763978.5 [3 lua] "hset" "job.7" "worker" "10.0.0.9" "status" "in progress""#;
        assert_eq!(status_of(script), started);
        let transition = transition(script).unwrap();
        assert_eq!(transition.at, Duration::from_millis(1_763_978_500));
        assert_eq!(transition.worker.as_deref(), Some("10.0.0.9"));
    }

    #[test]
    fn what_gives_no_job_a_status_is_passed_over() {
        assert_eq!(status_of("OK"), None);
        assert_eq!(status_of(r#"1763978.5 [3 lua] "hget" "job.7" "status""#), None);
        assert_eq!(
            status_of(r#"1763978.5 [3 lua] "hset" "job.7" "worker" "10.0.0.9""#),
            None
        );
        assert_eq!(
            status_of(r#"1763978.5 [2 lua] "hset" "workerpool:queue:record" "status" "x""#),
            None
        );
    }

    #[test]
    fn run_is_cut_that_ends_otherwise_than_by_completion_and_not_at_once() {
        let told = |statuses: &[(&str, u64)]| {
            let seen = statuses.iter().map(|&(status, at)| Transition {
                id: "7".to_owned(),
                status: status.to_owned(),
                worker: None,
                at: Duration::from_millis(at),
            });
            Witness {
                seen: Arc::new(Mutex::new(seen.collect())),
                task: tokio::spawn(async {}),
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = runtime.enter();
        let ids = ["7".to_owned()];
        let crossed = told(&[
            ("in progress", 0),
            ("submitted", 2),
            ("in progress", 9),
            ("complete", 999),
        ]);
        assert!(crossed.none_cut(&ids).is_ok() && crossed.each_taken_once(&ids).is_err());
        let cut = told(&[
            ("in progress", 0),
            ("submitted", 100),
            ("in progress", 101),
            ("complete", 999),
        ]);
        assert!(cut.none_cut(&ids).is_err());
        let lost = told(&[("in progress", 0), ("in progress", 900), ("complete", 1900)]);
        assert!(lost.none_cut(&ids).is_err());
        let whole = told(&[("submitted", 0), ("in progress", 1), ("complete", 999)]);
        assert!(whole.none_cut(&ids).is_ok() && whole.each_taken_once(&ids).is_ok());
    }
}
