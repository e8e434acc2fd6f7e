//! How long a job takes and how many arrive, from what was counted; what is older weighs less.

use std::time::{Duration, Instant};

/// Over how long the time that a job takes is averaged: a job that ended so long ago weighs e times less than one that
/// ended now.
const SERVICE_MEMORY: Duration = Duration::from_secs(300);
/// The past never weighs less than so many jobs: after a long rest the jobs that end first are the short ones, and would else
/// pass for all.
const LEAST_WEIGHT: f64 = 50.0;
/// Over how long the rate of arrivals is averaged. Shorter: it is to follow the hour of the day, and bursts.
const ARRIVALS_MEMORY: Duration = Duration::from_secs(30);

/// What was counted up to a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counted {
    /// The moment.
    pub at: Instant,
    /// Jobs completed ever.
    pub completed: u64,
    /// How long those jobs took, added up.
    pub busy: Duration,
    /// Jobs that are there: in line, running, or waiting for their time.
    pub unfinished: u64,
}

/// Means over time, weighted exponentially by age.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    seconds_per_job: Option<f64>,
    /// How many jobs that mean stands for, by their weights now.
    weight: f64,
    arrivals_per_second: f64,
    last: Option<Counted>,
}

impl Rates {
    /// Seconds that a job takes; `None` until one was completed.
    #[must_use]
    pub fn seconds_per_job(&self) -> Option<f64> {
        self.seconds_per_job
    }

    /// Jobs that arrive a second. Begins at 0 and is right after a minute or so.
    #[must_use]
    pub fn arrivals_per_second(&self) -> f64 {
        self.arrivals_per_second
    }

    /// Takes in what was counted until now.
    pub fn take_in(&mut self, new: Counted) {
        match self.last.replace(new) {
            Some(last) if last.completed <= new.completed && last.busy <= new.busy => {
                self.measure(&last, &new);
            }
            // The first counts, or those of another server: only what they say of its past.
            _ if self.seconds_per_job.is_none() && new.completed > 0 => {
                self.seconds_per_job = Some(new.busy.as_secs_f64() / new.completed as f64);
                self.weight = new.completed as f64;
            }
            _ => {}
        }
    }

    /// What is counted next begins at another point: nothing is concluded from the difference.
    pub fn interrupt(&mut self) {
        self.last = None;
    }

    fn measure(&mut self, last: &Counted, new: &Counted) {
        let elapsed = new.at.saturating_duration_since(last.at).as_secs_f64();
        let completed = (new.completed - last.completed) as f64;
        let aged = self.weight * (-elapsed / SERVICE_MEMORY.as_secs_f64()).exp();
        self.weight = aged.max(self.weight.min(LEAST_WEIGHT));
        if completed > 0.0 {
            let mean = (new.busy - last.busy).as_secs_f64() / completed;
            self.weight += completed;
            let known = self.seconds_per_job.unwrap_or(mean);
            self.seconds_per_job = Some(known + completed / self.weight * (mean - known));
        }
        if elapsed > 0.0 {
            // What came is what was completed and what is there more than before.
            let came = (completed + new.unfinished as f64 - last.unfinished as f64).max(0.0);
            let share = 1.0 - (-elapsed / ARRIVALS_MEMORY.as_secs_f64()).exp();
            self.arrivals_per_second += share * (came / elapsed - self.arrivals_per_second);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(start: Instant, second: u64, completed: u64, busy: f64, unfinished: u64) -> Counted {
        Counted {
            at: start + Duration::from_secs(second),
            completed,
            busy: Duration::from_secs_f64(busy),
            unfinished,
        }
    }

    /// So many seconds of `rate` jobs a second, of `takes` seconds each, after `before` jobs in all.
    fn steady(
        rates: &mut Rates,
        start: Instant,
        from: Counted,
        seconds: u64,
        rate: u64,
        takes: f64,
    ) -> Counted {
        let mut last = from;
        let begin = from.at.duration_since(start).as_secs();
        for second in 1..=seconds {
            let busy = from.busy.as_secs_f64() + takes * (rate * second) as f64;
            last = counted(start, begin + second, from.completed + rate * second, busy, 10);
            rates.take_in(last);
        }
        last
    }

    #[test]
    fn steady_queue_is_measured_right() {
        let (start, mut rates) = (Instant::now(), Rates::default());
        let first = counted(start, 0, 0, 0.0, 10);
        rates.take_in(first);
        assert_eq!(rates.seconds_per_job(), None);
        steady(&mut rates, start, first, 300, 4, 0.25);
        let seconds = rates.seconds_per_job().unwrap();
        assert!((seconds - 0.25).abs() < 0.001, "{seconds}");
        assert!((rates.arrivals_per_second() - 4.0).abs() < 0.01, "{rates:?}");
    }

    #[test]
    fn jobs_that_take_longer_from_now_on_are_noticed_within_minutes() {
        let (start, mut rates) = (Instant::now(), Rates::default());
        let first = counted(start, 0, 0, 0.0, 10);
        rates.take_in(first);
        let short = steady(&mut rates, start, first, 3600, 4, 1.0);
        steady(&mut rates, start, short, 300, 4, 3.0);
        // After one memory the old jobs weigh 1/e of all: 3 − 2/e.
        let seconds = rates.seconds_per_job().unwrap();
        assert!((seconds - 2.264).abs() < 0.01, "{seconds}");
    }

    #[test]
    fn few_short_jobs_after_a_long_rest_do_not_pass_for_all() {
        let (start, mut rates) = (Instant::now(), Rates::default());
        rates.take_in(counted(start, 0, 1000, 60_000.0, 0));
        rates.take_in(counted(start, 100_000, 1010, 60_010.0, 90));
        // 50 of 60 s and 10 of 1 s.
        let seconds = rates.seconds_per_job().unwrap();
        assert!((seconds - 50.17).abs() < 0.01, "{seconds}");
    }

    #[test]
    fn first_counts_of_an_old_queue_tell_the_mean_of_its_past() {
        let mut rates = Rates::default();
        rates.take_in(counted(Instant::now(), 0, 10, 20.0, 0));
        assert_eq!(rates.seconds_per_job(), Some(2.0));
        assert_eq!(rates.arrivals_per_second(), 0.0);
    }

    #[test]
    fn what_came_in_one_step_weighs_as_much_as_the_step_is_long() {
        let (start, mut rates) = (Instant::now(), Rates::default());
        rates.take_in(counted(start, 0, 100, 100.0, 30));
        // 80 were completed and 10 are there more: 3 a second, of which 1 − 1/e after one memory.
        rates.take_in(counted(start, 30, 180, 180.0, 40));
        assert!((rates.arrivals_per_second() - 1.896).abs() < 0.001, "{rates:?}");
    }

    #[test]
    fn looks_at_which_nothing_was_completed_or_no_time_has_passed_keep_the_mean() {
        let (start, mut rates) = (Instant::now(), Rates::default());
        rates.take_in(counted(start, 0, 10, 20.0, 0));
        rates.take_in(counted(start, 600, 10, 20.0, 0));
        rates.take_in(counted(start, 600, 10, 20.0, 5));
        assert_eq!(rates.seconds_per_job(), Some(2.0));
        assert_eq!(rates.arrivals_per_second(), 0.0);
    }

    #[test]
    fn counts_of_which_one_began_anew_tell_nothing() {
        let (start, mut rates) = (Instant::now(), Rates::default());
        rates.take_in(counted(start, 0, 10, 20.0, 0));
        // More jobs in less time than before: another server's.
        rates.take_in(counted(start, 10, 20, 5.0, 0));
        assert_eq!(rates.seconds_per_job(), Some(2.0));
        assert_eq!(rates.arrivals_per_second(), 0.0);
    }

    #[test]
    fn counts_that_begin_anew_change_nothing_by_themselves() {
        let (start, mut rates) = (Instant::now(), Rates::default());
        let first = counted(start, 0, 0, 0.0, 10);
        rates.take_in(first);
        steady(&mut rates, start, first, 300, 4, 0.25);
        let before = (rates.seconds_per_job(), rates.arrivals_per_second());
        rates.take_in(counted(start, 301, 0, 0.0, 100_000));
        assert_eq!((rates.seconds_per_job(), rates.arrivals_per_second()), before);
        rates.interrupt();
        rates.take_in(counted(start, 302, 50, 1000.0, 0));
        assert_eq!((rates.seconds_per_job(), rates.arrivals_per_second()), before);
    }
}
