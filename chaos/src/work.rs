//! What a job is told to do: a text in its field `start`, drawn from the seed.

use std::{fmt, str::FromStr, time::Duration};

/// What a job's handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Takes this long and succeeds.
    Sleep(Duration),
    /// Fails in its first so many attempts, each after this long, and succeeds then.
    Fail(u32, Duration),
    /// Never ends by itself: its time runs out.
    Hang,
    /// Takes its whole process with it, whichever that is.
    Poison,
}

/// The text is no work.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no work")]
pub struct NoWork(String);

impl Work {
    /// The work of the job numbered `index`: most are short, some take about a second, and one in a hundred
    /// longer than a lease, so that it lives by its renewals. A few fail, hang, or are poison.
    pub fn draw(seed: u64, index: u64, lease: Duration) -> Self {
        // Each job has a generator of its own, so that its work does not depend on who asks in which order.
        let mut rng = fastrand::Rng::with_seed(seed ^ index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX / 4);
        let ms = match rng.u32(0..100) {
            0 => rng.u64(lease_ms..lease_ms * 2),
            1..4 => rng.u64(200..1_000),
            4..20 => rng.u64(20..200),
            _ => rng.u64(0..20),
        };
        let time = Duration::from_millis(ms);
        match rng.u32(0..4_000) {
            0..2 => Self::Poison,
            2..6 => Self::Hang,
            6..86 => Self::Fail(rng.u32(1..5), time),
            _ => Self::Sleep(time),
        }
    }

    /// Work that takes as long and succeeds.
    pub fn plain(self) -> Self {
        match self {
            Self::Sleep(time) | Self::Fail(_, time) => Self::Sleep(time),
            Self::Hang | Self::Poison => Self::Sleep(Duration::ZERO),
        }
    }

    /// Whether it may be given up though nothing strikes it.
    pub fn may_die(self) -> bool {
        !matches!(self, Self::Sleep(_))
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sleep(time) => write!(f, "sleep {}", time.as_millis()),
            Self::Fail(times, time) => write!(f, "fail {times} {}", time.as_millis()),
            Self::Hang => f.write_str("hang"),
            Self::Poison => f.write_str("poison"),
        }
    }
}

impl FromStr for Work {
    type Err = NoWork;

    fn from_str(text: &str) -> Result<Self, NoWork> {
        parse(text).ok_or_else(|| NoWork(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Work> {
    let time = |ms: &str| ms.parse().map(Duration::from_millis).ok();
    match text.split(' ').collect::<Vec<_>>()[..] {
        ["sleep", ms] => Some(Work::Sleep(time(ms)?)),
        ["fail", times, ms] => Some(Work::Fail(times.parse().ok()?, time(ms)?)),
        ["hang"] => Some(Work::Hang),
        ["poison"] => Some(Work::Poison),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(2);

    #[test]
    fn work_is_the_same_for_the_same_seed_and_differs_between_jobs() {
        let draw = |seed| {
            (0..200)
                .map(|index| Work::draw(seed, index, LEASE))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let first = Work::draw(1, 0, LEASE);
        assert!(draw(1).iter().any(|work| *work != first));
    }

    #[test]
    fn work_is_read_as_it_was_written() {
        for index in 0..5_000 {
            let work = Work::draw(7, index, LEASE);
            assert_eq!(work.to_string().parse::<Work>().unwrap(), work);
        }
        assert!("sleep soon".parse::<Work>().is_err());
        assert!("go!".parse::<Work>().is_err());
    }
}
