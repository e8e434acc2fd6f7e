//! The law of this repository, told of every change as the operator is.

use std::time::{Duration, Instant};

use scaling::{Counted, History, Observation, Policy, QueueState, Rates, Reading, Startup, decide};

use crate::{
    fleet::Removal,
    scaler::{Scaler, Seen},
};

/// Jobs that were completed before the trace begins.
const JOBS_BEFORE: u64 = 1000;
/// Older than any cooldown.
const AGE: Duration = Duration::from_secs(604_800);

/// A pool under the law.
#[derive(Debug)]
pub struct Law {
    policy: Policy,
    start: Instant,
    history: History,
    rates: Rates,
    next_look: Option<f64>,
    start_seconds: f64,
    before: Duration,
}

impl Law {
    /// A pool with this policy, at zero, that has seen a thousand jobs of this many seconds long ago.
    #[must_use]
    pub fn new(policy: Policy, seconds_per_job: f64, start_seconds: f64) -> Self {
        let start = Instant::now();
        let mut rates = Rates::default();
        rates.take_in(Counted {
            at: start,
            completed: JOBS_BEFORE,
            busy: Duration::from_secs_f64(seconds_per_job * JOBS_BEFORE as f64),
            unfinished: 0,
        });
        Self {
            policy,
            start,
            history: History::starting_at(0),
            rates,
            next_look: None,
            start_seconds,
            before: Duration::from_secs_f64(seconds_per_job * JOBS_BEFORE as f64),
        }
    }
}

impl Scaler for Law {
    fn removal(&self) -> Removal {
        Removal::OnlyIdle
    }

    fn is_told(&self) -> bool {
        true
    }

    fn next_look(&self) -> Option<f64> {
        self.next_look
    }

    fn decide(&mut self, seen: &Seen) -> u32 {
        let now = self.start + Duration::from_secs_f64(seen.now);
        self.rates.take_in(Counted {
            at: now,
            completed: JOBS_BEFORE + seen.completed,
            busy: self.before + Duration::from_secs_f64(seen.busy_seconds),
            unfinished: seen.waiting + seen.running,
        });
        let reading = Reading {
            waiting: seen.waiting,
            running: seen.running,
            busy_replicas: u32::try_from(seen.running).unwrap_or(u32::MAX),
            seconds_per_job: self.rates.seconds_per_job(),
            arrivals_per_second: self.rates.arrivals_per_second(),
            seconds_to_start: self.start_seconds,
            ..Reading::default()
        };
        let observation = Observation {
            current: seen.count,
            age: AGE,
            queue: QueueState::Read(reading),
            startup: Startup::Possible,
        };
        let decision = decide(&self.policy, &observation, &self.history, now);
        self.history.record(&decision, now);
        if decision.replicas != seen.count {
            self.history.scaled(seen.count, decision.replicas, now);
        }
        self.next_look = decision
            .not_before
            .map(|at| at.saturating_duration_since(self.start).as_secs_f64());
        decision.replicas
    }
}
