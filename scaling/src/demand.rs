//! From a reading to the count that demand alone asks for.

use crate::{Policy, Reading, Reason};

/// Of the target at least this share is left for the line to move, however long replicas take to start: a target that cannot
/// be kept is to be missed by little, not to ask for replicas without end.
const LEAST_SHARE: f64 = 0.25;

/// What demand asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Replicas. Monotone in each of waiting, running and due retries; never 0 while there is demand.
    pub(crate) replicas: u64,
    /// The same before it was rounded up: what a tolerance is a share of.
    pub(crate) exact: f64,
    /// By which rule.
    pub(crate) rule: Reason,
}

pub(crate) fn wanted(policy: &Policy, reading: &Reading) -> Wanted {
    match (policy.target_wait, service_time(reading)) {
        (Some(target), Some(seconds)) => {
            by_target_wait(reading, seconds, target.as_secs_f64(), policy.concurrency.get())
        }
        _ => by_jobs_per_replica(reading.demand(), policy.jobs_per_replica.get().into()),
    }
}

fn by_jobs_per_replica(demand: u64, jobs_per_replica: u64) -> Wanted {
    Wanted {
        replicas: demand.div_ceil(jobs_per_replica),
        exact: demand as f64 / jobs_per_replica as f64,
        rule: Reason::JobsPerReplica,
    }
}

fn service_time(reading: &Reading) -> Option<f64> {
    reading
        .seconds_per_job
        .filter(|seconds| seconds.is_finite() && *seconds > 0.0)
}

/// Enough that the last job in line starts within `target` seconds, of which new replicas first take some to start (the line
/// moves by `concurrency / seconds` jobs a second and replica), and enough to keep up with arrivals (Little's law); never
/// more slots than there are jobs. There is no spare for arrivals that come unevenly: then the line grows, and the first
/// part asks for more while jobs still start in time. docs/scaling.md shows that by simulation.
fn by_target_wait(reading: &Reading, seconds: f64, target: f64, concurrency: u32) -> Wanted {
    let slots = f64::from(concurrency);
    let left = (target - reading.seconds_to_start.max(0.0))
        .max(target * LEAST_SHARE)
        .max(f64::MIN_POSITIVE);
    let clear_backlog = reading.backlog() as f64 * seconds / (slots * left);
    let keep_up = reading.arrivals_per_second.max(0.0) * seconds / slots;
    let enough = clear_backlog.max(keep_up);
    let demand = reading.demand();
    Wanted {
        // `as` saturates, and makes 0 of a NaN.
        replicas: (enough.ceil() as u64)
            .max(1)
            .min(demand.div_ceil(u64::from(concurrency))),
        exact: enough.min(demand as f64 / slots),
        rule: Reason::TargetWait,
    }
}
