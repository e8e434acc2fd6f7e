//! When jobs come, and how long each takes. The same seed makes the same trace.

use std::f64::consts::TAU;

use fastrand::Rng;

/// Jobs in the order in which they come.
#[derive(Clone, Debug)]
pub struct Trace {
    /// What it is like, in a word or two.
    pub name: &'static str,
    /// The jobs.
    pub jobs: Vec<Job>,
    /// Seconds until the trace ends; jobs that are there then are still worked off.
    pub seconds: f64,
}

/// One job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Job {
    /// Seconds since the trace began.
    pub at: f64,
    /// Seconds it takes.
    pub takes: f64,
}

/// How jobs come.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Independently of each other, so many a second.
    Poisson {
        /// Jobs a second.
        rate: f64,
    },
    /// Nothing for long, then many at once.
    Bursty {
        /// Seconds from one burst to the next, on average.
        apart: f64,
        /// Jobs in a burst: from half to one and a half times as many.
        jobs: u32,
        /// Seconds in which the jobs of a burst come.
        within: f64,
    },
    /// As by day and by night: a rate that swings once in 24 hours.
    Daily {
        /// Jobs a second at the quietest.
        night: f64,
        /// Jobs a second at the busiest.
        day: f64,
    },
}

/// Seconds of a day.
const DAY: f64 = 86_400.0;

impl Shape {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Poisson { .. } => "Poisson",
            Self::Bursty { .. } => "bursty",
            Self::Daily { .. } => "daily",
        }
    }

    /// A trace of so many seconds; a job takes `takes` seconds on average, exponentially distributed.
    #[must_use]
    pub fn trace(self, seed: u64, seconds: f64, takes: f64) -> Trace {
        let mut rng = Rng::with_seed(seed);
        let arrivals = match self {
            Self::Poisson { rate } => thinned(&mut rng, seconds, rate, |_| rate),
            Self::Daily { night, day } => thinned(&mut rng, seconds, day, |at| {
                night + (day - night) * (1.0 - (TAU * at / DAY).cos()) / 2.0
            }),
            Self::Bursty { apart, jobs, within } => bursts(&mut rng, seconds, apart, jobs, within),
        };
        let jobs = arrivals.into_iter().map(|at| Job {
            at,
            takes: exponential(&mut rng, takes),
        });
        Trace {
            name: self.name(),
            jobs: jobs.collect(),
            seconds,
        }
    }
}

/// A Poisson process whose rate changes: one of the highest rate, from which jobs are taken out (Lewis and Shedler).
fn thinned(rng: &mut Rng, seconds: f64, highest: f64, rate: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut arrivals = Vec::new();
    let mut at = exponential(rng, 1.0 / highest);
    while at < seconds {
        if rng.f64() * highest < rate(at) {
            arrivals.push(at);
        }
        at += exponential(rng, 1.0 / highest);
    }
    arrivals
}

fn bursts(rng: &mut Rng, seconds: f64, apart: f64, jobs: u32, within: f64) -> Vec<f64> {
    let mut arrivals = Vec::new();
    let mut at = exponential(rng, apart);
    while at < seconds {
        for _ in 0..rng.u32(jobs / 2..=jobs + jobs / 2) {
            arrivals.push(at + rng.f64() * within);
        }
        at += exponential(rng, apart);
    }
    arrivals.sort_by(f64::total_cmp);
    arrivals
}

fn exponential(rng: &mut Rng, mean: f64) -> f64 {
    // 1 − u is never 0.
    -(1.0 - rng.f64()).ln() * mean
}
