//! How long a pod may take to end, and what its worker may do meanwhile.

use crds::worker::WorkerSpec;

/// What the API server makes of a template that says nothing, in seconds.
const GRACE_DEFAULT: i32 = 30;
/// A pod gets no longer than this to end, whatever its jobs take: a node that is drained waits for it. In seconds.
pub const GRACE_MAX: i32 = 3600;
/// What a worker needs, of the pod's grace period, to give its jobs back and end. In seconds.
const MARGIN: i32 = 5;

/// The end of a pod, in seconds from SIGTERM on: jobs may run for `drain`, then their commands have `kill` to stop, and the
/// margin is left of the pod's grace period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) drain: i64,
    pub(super) kill: i64,
}

impl Ending {
    /// Within a grace period that the template may have set, shorter than the pool's settings would have it.
    pub(super) fn within(grace: i64, worker: &WorkerSpec) -> Self {
        let usable = grace - i64::from(MARGIN);
        let kill = i64::from(kill_seconds(worker)).clamp(0, (usable - 1).max(0));
        let drain = (usable - kill).max(1);
        Self { drain, kill }
    }
}

/// How long a pod may take to end, in seconds: a job's time, that of a command to stop, and a little more; within bounds.
#[must_use]
pub fn grace_seconds(worker: &WorkerSpec) -> i32 {
    worker
        .job_timeout_seconds
        .unwrap_or_default()
        .saturating_add(kill_seconds(worker))
        .saturating_add(MARGIN)
        .clamp(GRACE_DEFAULT, GRACE_MAX)
}

/// Only a command is killed.
fn kill_seconds(worker: &WorkerSpec) -> i32 {
    let command = worker
        .handler
        .as_ref()
        .and_then(|handler| handler.command.as_ref());
    command.map_or(0, |_| worker.kill_grace_seconds)
}

#[cfg(test)]
mod tests {
    use crds::handler::Handler;

    use super::*;

    fn worker(timeout: Option<i32>, command: bool, kill: i32) -> WorkerSpec {
        WorkerSpec {
            job_timeout_seconds: timeout,
            kill_grace_seconds: kill,
            handler: command.then(|| Handler {
                command: Some(vec!["true".to_owned()]),
                ..Handler::default()
            }),
            ..WorkerSpec::default()
        }
    }

    #[test]
    fn grace_period_follows_the_job_timeout_within_bounds() {
        for (timeout, grace) in [(None, 30), (Some(1), 30), (Some(100), 105), (Some(90_000), 3600)] {
            assert_eq!(grace_seconds(&worker(timeout, false, 10)), grace, "{timeout:?}");
        }
    }

    #[test]
    fn grace_period_has_room_for_a_command_that_is_slow_to_stop() {
        for (timeout, kill, grace) in [(None, 10, 30), (Some(100), 10, 115), (None, 600, 605)] {
            assert_eq!(
                grace_seconds(&worker(timeout, true, kill)),
                grace,
                "{timeout:?} {kill}"
            );
        }
    }

    #[test]
    fn job_of_the_longest_time_ends_within_the_drain() {
        let worker = worker(Some(100), true, 10);
        let ending = Ending::within(grace_seconds(&worker).into(), &worker);
        assert_eq!(ending, Ending { drain: 100, kill: 10 });
    }

    #[test]
    fn short_grace_period_of_the_template_cuts_the_drain_first_and_the_time_to_stop_last() {
        let within = |grace| Ending::within(grace, &worker(Some(100), true, 10));
        assert_eq!(within(30), Ending { drain: 15, kill: 10 });
        assert_eq!(within(12), Ending { drain: 1, kill: 6 });
        assert_eq!(within(0), Ending { drain: 1, kill: 0 });
    }
}
