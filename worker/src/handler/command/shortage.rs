//! Jobs that are put off because the machine cannot start their programs now.

use std::{
    collections::HashMap,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use queue::JobId;
use telemetry::Warnings;

/// Pause of a job that is put off.
pub(super) const PAUSE: Duration = Duration::from_secs(5);

/// Limit of one attempt, a minute in all; then it has failed.
const MAX_PUT_OFF: u32 = 12;

/// Time after which another worker seems to have a job.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Shortage of the machine, as this worker's last start of a program showed it.
#[derive(Debug)]
pub(super) struct Shortage {
    state: Mutex<State>,
    pub(super) warnings: Warnings,
}

#[derive(Debug, Default)]
struct State {
    is_short: bool,
    /// By job: number of times since its last attempt, and the last time.
    jobs: HashMap<JobId, (u32, Instant)>,
}

impl Shortage {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            warnings: Warnings::about("handler"),
        }
    }

    /// Records a failed start. Returns whether the job may be put off once more.
    pub(super) fn put_off(&self, job: &JobId, error: &io::Error, now: Instant) -> bool {
        let mut state = self.state();
        state.is_short = true;
        self.warnings
            .set(vec![format!("programs cannot be started: {error}")]);
        let recent = |at: Instant| now.saturating_duration_since(at) < FORGET_AFTER;
        state.jobs.retain(|_, (_, at)| recent(*at));
        let (times, at) = state.jobs.entry(job.clone()).or_insert((0, now));
        (*times, *at) = (*times + 1, now);
        let may = *times <= MAX_PUT_OFF;
        if !may {
            state.jobs.remove(job);
        }
        may
    }

    /// Records a start, which ends the shortage.
    pub(super) fn started(&self, job: &JobId) {
        let mut state = self.state();
        if std::mem::take(&mut state.is_short) {
            self.warnings.set(Vec::new());
        }
        state.jobs.remove(job);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn job_is_put_off_so_often_and_warned_about_meanwhile() {
        let shortage = Shortage::new();
        let (job, other) = (JobId::new("a").unwrap(), JobId::new("b").unwrap());
        let now = Instant::now();
        let put_off = |job| shortage.put_off(job, &Errno::AGAIN.into(), now);
        for _ in 0..MAX_PUT_OFF {
            assert!(put_off(&job));
        }
        assert_eq!(shortage.warnings.check()().len(), 1);
        assert!(put_off(&other));
        assert!(!put_off(&job), "its attempt has failed");
        assert!(put_off(&job), "its next attempt has as much time");

        shortage.started(&other);
        assert_eq!(shortage.warnings.check()(), Vec::<String>::new());
    }

    #[test]
    fn job_that_another_worker_has_is_forgotten() {
        let shortage = Shortage::new();
        let now = Instant::now();
        shortage.put_off(&JobId::new("a").unwrap(), &Errno::AGAIN.into(), now);
        shortage.put_off(
            &JobId::new("b").unwrap(),
            &Errno::AGAIN.into(),
            now + FORGET_AFTER,
        );
        assert_eq!(shortage.state().jobs.len(), 1);
    }
}
