//! What holds of `targetWaitSeconds` on traces of every shape.

use std::time::Duration;

use proptest::prelude::*;
use scaling::Policy;
use simulation::{
    contest::{CASES, Conditions, System},
    law::Law,
    run::{Outcome, run},
    trace::Shape,
};

/// The share of jobs that is to start in time.
const SHARE: f64 = 0.95;

/// So many jobs make a share of 95 % mean something.
const ENOUGH_JOBS: usize = 300;

/// A target in seconds, and all else as shares of it.
#[derive(Clone, Copy, Debug)]
struct Pool {
    target: f64,
    takes: f64,
    start: f64,
    load: f64,
    seed: u64,
}

impl Pool {
    fn rate(&self) -> f64 {
        self.load / self.takes
    }

    fn outcome(&self, shape: Shape, seconds: f64) -> Option<Outcome> {
        let trace = shape.trace(self.seed, seconds, self.takes);
        let policy = Policy {
            max_replicas: 100_000,
            target_wait: Some(Duration::from_secs_f64(self.target)),
            ..Policy::default()
        };
        let mut law = Law::new(policy, self.takes, self.start);
        (trace.jobs.len() >= ENOUGH_JOBS).then(|| run(&trace, &mut law, self.start))
    }
}

prop_compose! {
    /// Jobs of a fiftieth to three times the target, 0.3 to 20 of them in work on average, replicas that start within half of it.
    fn pool()(
        target in 5.0_f64..300.0, takes in 0.02_f64..3.0, start in 0.0_f64..0.5, load in 0.3_f64..20.0, seed in any::<u64>(),
    ) -> Pool {
        Pool { target, takes: takes * target, start: start * target, load, seed }
    }
}

fn in_time(outcome: Option<Outcome>, target: f64) -> Result<(), TestCaseError> {
    if let Some(outcome) = outcome {
        let share = outcome.within(target);
        prop_assert!(
            share >= SHARE,
            "only {share} of {} jobs start in time",
            outcome.waits.len()
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn of_jobs_that_come_independently_95_percent_start_in_time(pool in pool()) {
        let rate = pool.rate();
        in_time(pool.outcome(Shape::Poisson { rate }, 1500.0 / rate), pool.target)?;
    }

    #[test]
    fn of_jobs_that_come_in_bursts_95_percent_start_in_time(pool in pool(), jobs in 10_u32..200) {
        let shape = Shape::Bursty { apart: 20.0 * pool.target, jobs, within: pool.target / 10.0 };
        in_time(pool.outcome(shape, 300.0 * pool.target), pool.target)?;
    }

    #[test]
    fn of_a_days_jobs_95_percent_start_in_time(pool in pool()) {
        // A day of 86,400 s must hold no more jobs than a test has time for.
        let day = pool.rate().min(0.1);
        in_time(pool.outcome(Shape::Daily { night: day * 0.02, day }, 86_400.0), pool.target)?;
    }
}

#[test]
fn no_system_that_keeps_the_target_on_every_trace_needs_5_percent_fewer_replica_seconds() {
    let (target, start) = (10.0, 2.0);
    let costs = |system: System| {
        let outcomes = CASES.map(|case| {
            let takes = case.takes;
            system.run(&case.trace(1), Conditions { target, start, takes })
        });
        let keeps = outcomes.iter().all(|outcome| outcome.within(target) >= SHARE);
        let of_work = outcomes
            .iter()
            .map(|outcome| outcome.replica_seconds / outcome.work_seconds);
        keeps.then(|| of_work.sum::<f64>())
    };
    let ours = costs(System::TargetWait);
    assert!(ours.is_some(), "targetWaitSeconds keeps its own target");
    for other in System::all().into_iter().skip(1) {
        if let Some(theirs) = costs(other) {
            assert!(
                ours < Some(theirs * 1.05),
                "{other} costs {theirs}, targetWaitSeconds {ours:?}"
            );
        }
    }
}

#[test]
fn same_seed_makes_the_same_trace_and_another_seed_another() {
    for case in CASES {
        assert_eq!(case.trace(5).jobs, case.trace(5).jobs);
        assert_ne!(case.trace(5).jobs, case.trace(6).jobs);
    }
}
