//! Which faults there are, and when each strikes: a schedule that the seed fixes.

use std::time::Duration;

/// How long Redis stays up at least before it is hit again, in leases.
const REDIS_WORKS_LEASES: f64 = 2.0;

/// What can be done to a run. Each is a flag of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Kind {
    /// kill -9 of one worker
    Kill,
    /// kill -9 of all workers at once
    KillAll,
    /// SIGSTOP of a worker beyond its lease, then SIGCONT
    Freeze,
    /// SIGTERM of many workers, with a grace time shorter than some jobs
    Terminate,
    /// kill -9 of the API
    KillApi,
    /// kill -9 of Redis
    KillRedis,
    /// kill -9 of Redis, and its log cut back to what was surely on the disk
    CutPower,
    /// an orderly restart of Redis
    RestartRedis,
    /// SIGSTOP of Redis, often beyond a lease, then SIGCONT
    FreezeRedis,
    /// all packets between a worker and Redis dropped, one way or both
    Partition,
    /// some packets between a worker and Redis dropped
    Loss,
    /// a long way between a worker and Redis
    Latency,
    /// clients that hang up before they have their answer
    HangUp,
    /// some workers' clocks hours off (libfaketime)
    Clock,
    /// HotQueue programs in Python: producers and workers, killed too
    Python,
    /// items of jobs that run, wait for their time or have ended are pushed once more
    PushAgain,
    /// a worker is marked as the operator does it, and killed once it holds nothing
    TakeAway,
}

impl Kind {
    /// How often it strikes among the others. What stops everything is rarer, so that there is something to stop.
    fn weight(self) -> u32 {
        match self {
            Self::Kill | Self::Freeze => 6,
            Self::Partition => 4,
            Self::Terminate
            | Self::KillApi
            | Self::Loss
            | Self::Latency
            | Self::Python
            | Self::PushAgain
            | Self::TakeAway => 3,
            Self::KillAll | Self::KillRedis | Self::CutPower => 2,
            Self::RestartRedis | Self::FreezeRedis => 1,
            // These are so from the start to the end.
            Self::HangUp | Self::Clock => 0,
        }
    }

    /// Whether it costs no job a chance: every worker goes on, though perhaps without Redis, or ends in order.
    pub fn spares_jobs(self) -> bool {
        self.stops_redis() || self.cuts_nothing() || matches!(self, Self::Terminate)
    }

    /// Whether every run of a job comes to its end, and Redis hears of it.
    pub fn cuts_nothing(self) -> bool {
        matches!(
            self,
            Self::KillApi | Self::HangUp | Self::Clock | Self::PushAgain | Self::TakeAway
        )
    }

    /// Whether Redis is away for a while.
    fn stops_redis(self) -> bool {
        matches!(
            self,
            Self::KillRedis | Self::CutPower | Self::RestartRedis | Self::FreezeRedis
        )
    }
}

/// One blow, with all that is drawn about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// kill -9 of this worker.
    Kill(usize),
    /// kill -9 of every worker.
    KillAll,
    /// SIGSTOP of this worker, SIGCONT after this time.
    Freeze(usize, Duration),
    /// SIGTERM of these workers.
    Terminate(Vec<usize>),
    /// kill -9 of the API.
    KillApi,
    /// kill -9 of Redis, and a start after this time.
    KillRedis(Duration),
    /// As [`Fault::KillRedis`], and what Redis had not forced to the disk is gone.
    CutPower(Duration),
    /// SHUTDOWN of Redis, and a start after this time.
    RestartRedis(Duration),
    /// SIGSTOP of Redis, SIGCONT after this time.
    FreezeRedis(Duration),
    /// Between this worker and Redis nothing goes through this way, for this time.
    Partition(usize, Way, Duration),
    /// Between this worker and Redis so many packets in a hundred are lost, for this time.
    Loss(usize, u8, Duration),
    /// Between this worker and Redis everything takes so much longer each way, for this time.
    Latency(usize, Duration, Duration),
    /// kill -9 of this one of the Python programs.
    KillPython(usize),
    /// Items of some jobs once more.
    PushAgain,
    /// This worker is marked, and killed once it holds nothing.
    TakeAway(usize),
}

impl Fault {
    /// Its name in the list of what has struck.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kill(_) => "kill",
            Self::KillAll => "kill-all",
            Self::Freeze(..) => "freeze",
            Self::Terminate(_) => "terminate",
            Self::KillApi => "kill-api",
            Self::KillRedis(_) => "kill-redis",
            Self::CutPower(_) => "cut-power",
            Self::RestartRedis(_) => "restart-redis",
            Self::FreezeRedis(_) => "freeze-redis",
            Self::Partition(_, Way::Both, _) => "partition",
            Self::Partition(..) => "partition (one way)",
            Self::Loss(..) => "loss",
            Self::Latency(..) => "latency",
            Self::KillPython(_) => "kill-python",
            Self::PushAgain => "push-again",
            Self::TakeAway(_) => "take-away",
        }
    }
}

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Both.
    Both,
    /// From the worker to Redis.
    ToRedis,
    /// From Redis to the worker.
    FromRedis,
}

/// How many Python programs there are: workers, and one producer.
pub const PYTHON_PROGRAMS: usize = 3;

/// Whether the worker of this number reaches Redis through a proxy, which can be slow: every other one does.
pub fn has_proxy(worker: usize) -> bool {
    worker % 2 == 1
}

/// What a schedule is drawn from.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Fixes everything.
    pub seed: u64,
    /// Which kinds may come.
    pub kinds: Vec<Kind>,
    /// The mean time from one blow to the next.
    pub every: Duration,
    /// How many workers there are to hit.
    pub workers: usize,
    /// Their lease: pauses are drawn around it.
    pub lease: Duration,
}

/// An endless schedule: when, from the start, which blow.
pub struct Schedule {
    terms: Terms,
    rng: fastrand::Rng,
    at: Duration,
    /// When Redis has been back for long enough that work was taken up again: before, nothing hits it anew.
    redis_works: Duration,
}

impl Schedule {
    /// The schedule that these terms fix.
    pub fn new(terms: Terms) -> Self {
        let rng = fastrand::Rng::with_seed(terms.seed);
        Self {
            terms,
            rng,
            at: Duration::ZERO,
            redis_works: Duration::ZERO,
        }
    }

    fn kind(&mut self) -> Option<Kind> {
        let redis_works = self.at >= self.redis_works;
        let kinds = self
            .terms
            .kinds
            .iter()
            .filter(|kind| redis_works || !kind.stops_redis());
        let kinds: Vec<Kind> = kinds.copied().collect();
        let total: u32 = kinds.iter().map(|kind| kind.weight()).sum();
        let mut rest = if total == 0 { 0 } else { self.rng.u32(0..total) };
        for kind in kinds {
            if rest < kind.weight() {
                return Some(kind);
            }
            rest -= kind.weight();
        }
        None
    }

    fn fault(&mut self, kind: Kind) -> Option<Fault> {
        Some(match kind {
            Kind::Kill => Fault::Kill(self.worker()),
            Kind::KillAll => Fault::KillAll,
            Kind::Freeze => {
                let worker = self.worker();
                Fault::Freeze(worker, self.leases(1.2, 3.0))
            }
            Kind::Terminate => {
                let count = self.rng.usize(1..=self.terms.workers);
                let all = 0..self.terms.workers;
                Fault::Terminate(self.rng.choose_multiple(all, count))
            }
            Kind::KillApi => Fault::KillApi,
            Kind::KillRedis => Fault::KillRedis(self.redis_away(0.0, 1.5)),
            Kind::CutPower => Fault::CutPower(self.redis_away(0.0, 1.5)),
            Kind::RestartRedis => Fault::RestartRedis(self.redis_away(0.0, 1.5)),
            Kind::FreezeRedis => Fault::FreezeRedis(self.redis_away(0.2, 2.0)),
            Kind::Partition => {
                let ways = [Way::Both, Way::ToRedis, Way::FromRedis];
                let way = self.rng.choice(ways).unwrap_or(Way::Both);
                Fault::Partition(self.worker(), way, self.leases(0.5, 3.0))
            }
            Kind::Loss => Fault::Loss(self.worker(), self.rng.u8(5..60), self.leases(0.5, 3.0)),
            Kind::Latency => {
                let delay = self.leases(0.0, 0.3);
                Fault::Latency(self.worker() | 1, delay, self.leases(0.5, 3.0))
            }
            Kind::Python => Fault::KillPython(self.rng.usize(0..PYTHON_PROGRAMS)),
            Kind::PushAgain => Fault::PushAgain,
            Kind::TakeAway => Fault::TakeAway(self.worker()),
            Kind::HangUp | Kind::Clock => return None,
        })
    }

    fn worker(&mut self) -> usize {
        self.rng.usize(0..self.terms.workers)
    }

    fn redis_away(&mut self, from: f64, to: f64) -> Duration {
        let away = self.leases(from, to);
        self.redis_works = self.at + away + self.terms.lease.mul_f64(REDIS_WORKS_LEASES);
        away
    }

    /// A time between so many leases and so many.
    fn leases(&mut self, from: f64, to: f64) -> Duration {
        self.terms.lease.mul_f64(from + (to - from) * self.rng.f64())
    }
}

impl Iterator for Schedule {
    type Item = (Duration, Fault);

    fn next(&mut self) -> Option<Self::Item> {
        if self.terms.kinds.iter().all(|kind| kind.weight() == 0) {
            return None;
        }
        loop {
            // Uniform around the mean: exponential gaps would leave long stretches without any in a short run.
            self.at += self.terms.every.mul_f64(0.25 + 1.5 * self.rng.f64());
            if let Some(fault) = self.kind().and_then(|kind| self.fault(kind)) {
                return Some((self.at, fault));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use clap::ValueEnum;

    use super::*;

    fn terms(seed: u64) -> Terms {
        Terms {
            seed,
            kinds: Kind::value_variants().to_vec(),
            every: Duration::from_millis(500),
            workers: 8,
            lease: Duration::from_secs(2),
        }
    }

    #[test]
    fn schedule_is_fixed_by_its_seed() {
        let first = |seed| Schedule::new(terms(seed)).take(100).collect::<Vec<_>>();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }

    #[test]
    fn every_kind_comes_and_about_as_often_as_asked() {
        let blows: Vec<_> = Schedule::new(terms(1)).take(400).collect();
        let kinds: HashSet<_> = blows
            .iter()
            .map(|(_, fault)| std::mem::discriminant(fault))
            .collect();
        let scheduled = Kind::value_variants().iter().filter(|kind| kind.weight() > 0);
        assert_eq!(kinds.len(), scheduled.count());
        let mean = blows.last().unwrap().0 / 400;
        assert!((400..600).contains(&mean.as_millis()), "{mean:?}");
    }

    #[test]
    fn frozen_worker_sleeps_past_its_lease() {
        let terms = terms(3);
        for (_, fault) in Schedule::new(terms.clone()).take(400) {
            if let Fault::Freeze(_, time) = fault {
                assert!(time > terms.lease, "{time:?}");
            }
        }
    }

    #[test]
    fn redis_is_up_for_some_leases_between_two_blows() {
        let terms = Terms {
            kinds: vec![Kind::KillRedis],
            ..terms(5)
        };
        let blows: Vec<_> = Schedule::new(terms.clone()).take(100).collect();
        for pair in blows.windows(2) {
            let (Fault::KillRedis(away), since) = (&pair[0].1, pair[1].0 - pair[0].0) else {
                panic!("{pair:?}");
            };
            assert!(since >= *away + terms.lease * 2, "{pair:?}");
        }
    }

    #[test]
    fn without_faults_nothing_is_scheduled() {
        for kinds in [vec![], vec![Kind::HangUp, Kind::Clock]] {
            let none = Terms { kinds, ..terms(1) };
            assert_eq!(Schedule::new(none).next(), None);
        }
    }
}
