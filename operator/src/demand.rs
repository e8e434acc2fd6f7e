//! From what is known of a pool's queues to what the law is asked.

use std::num::NonZeroU32;

use crds::WorkerPoolSpec;
use scaling::{Load, QueueState, Reading, Share};

use crate::{
    policy::{at_least_one, combine},
    queues::{QueueView, View},
};

/// What the queues ask for.
#[derive(Clone, Debug)]
pub struct Demand<'a> {
    /// All of them, as the law wants it.
    pub queue: QueueState,
    /// The name of the one that decides, where it is one of several.
    pub decided_by: Option<&'a str>,
}

/// Takes together what is known of the queues of a pool whose replicas take so long to start.
#[must_use]
pub fn demand<'a>(spec: &'a WorkerPoolSpec, view: &View, seconds_to_start: f64) -> Demand<'a> {
    let failures = view.failures;
    let queues: Vec<_> = spec.queues.iter().zip(&view.queues).collect();
    let fresh = || {
        let fresh = queues.iter();
        fresh.filter_map(|(spec, view)| Some((*spec, *view, view.fresh()?)))
    };
    if fresh().next().is_none() || view.is_unread() {
        return Demand {
            queue: QueueState::Unreadable { failures },
            decided_by: None,
        };
    }
    let shares: Vec<_> = fresh()
        .map(|(spec, _, reading)| share(at_least_one(spec.weight), reading))
        .collect();
    let (load, place) = combine(spec.scaling.combine).of(&shares);
    let running = fresh().map(|(_, _, reading)| reading.running).sum();
    let (seconds_per_job, arrivals_per_second) = measured(&queues);
    let reading = Reading {
        waiting: load.waiting,
        // Of which queue such a job is, nobody knows.
        running: load.running + view.foreign.jobs,
        due_retries: load.due_retries,
        busy_replicas: busy_replicas(running, at_least_one(spec.worker.concurrency))
            .saturating_add(u32::try_from(view.foreign.pods).unwrap_or(u32::MAX)),
        seconds_per_job,
        arrivals_per_second,
        seconds_to_start,
    };
    let all = fresh().count() == queues.len();
    let decided_by = place.and_then(|place| fresh().nth(place));
    Demand {
        queue: if all {
            QueueState::Read(reading)
        } else {
            QueueState::Partly { reading, failures }
        },
        decided_by: decided_by
            .filter(|_| queues.len() > 1)
            .map(|(spec, ..)| spec.name.as_str()),
    }
}

fn share(weight: NonZeroU32, reading: &queue::Reading) -> Share {
    Share {
        weight,
        load: Load {
            waiting: reading.waiting + reading.arrivals,
            running: reading.running,
            due_retries: reading.due,
        },
    }
}

/// How long a job takes and how many arrive: known of a queue of our own alone, and said of none but an only one.
fn measured<S>(queues: &[(S, &QueueView)]) -> (Option<f64>, f64) {
    match queues {
        [(_, view)] if view.subject.own().is_some() => {
            (view.rates.seconds_per_job(), view.rates.arrivals_per_second())
        }
        _ => (None, 0.0),
    }
}

/// The least number of replicas that can hold so many jobs. Which ones do is asked before any of them goes.
fn busy_replicas(running: u64, concurrency: NonZeroU32) -> u32 {
    u32::try_from(running.div_ceil(concurrency.get().into())).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use queue::Subject;
    use scaling::Combine;
    use serde_json::json;

    use super::*;
    use crate::{
        queues::{ForeignAtWork, tests},
        source,
    };

    fn spec(spec: serde_json::Value) -> WorkerPoolSpec {
        serde_json::from_value(spec).unwrap()
    }

    /// Two foreign queues, the second of weight 2.
    fn two(combine: &str) -> WorkerPoolSpec {
        spec(json!({
            "queues": [
                {"name": "mails", "source": {"waiting": [{"key": "mails"}]}},
                {"name": "thumbs", "weight": 2, "source": {"waiting": [{"key": "thumbs"}]}},
            ],
            "scaling": {"combine": combine},
            "worker": {"concurrency": 2},
            "scaleTargetRef": {"name": "web"},
        }))
    }

    /// Waiting and running, or why it cannot be read.
    type Seen = Result<(u64, u64), u32>;

    fn view(spec: &WorkerPoolSpec, seen: &[Seen]) -> View {
        let subjects: Vec<Subject> = source::subjects(spec).unwrap();
        let queues = subjects.iter().zip(seen).map(|(subject, seen)| QueueView {
            reading: seen
                .ok()
                .map(|(waiting, running)| tests::reading(waiting, running)),
            failures: seen.err().unwrap_or(0),
            error: seen.err().map(|_| queue::Error::Loading),
            ..QueueView::of(subject)
        });
        View::of(queues.collect())
    }

    fn read(demand: &Demand<'_>) -> (u64, u64, u32) {
        match demand.queue {
            QueueState::Read(reading) => (reading.waiting, reading.running, reading.busy_replicas),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn weights_count_in_demand_and_not_in_the_replicas_that_are_busy() {
        let sum = two("Sum");
        let seen = [Ok((3, 1)), Ok((4, 3))];
        let summed = demand(&sum, &view(&sum, &seen), 0.0);
        assert_eq!(read(&summed), (3 + 2 * 4, 1 + 2 * 3, 2));
        assert_eq!(summed.decided_by, None);

        let max = two("Max");
        let highest = demand(&max, &view(&max, &seen), 0.0);
        assert_eq!(read(&highest), (8, 6, 2));
        assert_eq!(highest.decided_by, Some("thumbs"));
    }

    #[test]
    fn jobs_of_foreign_workers_run_and_keep_their_pods() {
        let spec = two("Max");
        let foreign = ForeignAtWork { jobs: 5, pods: 3 };
        let view = view(&spec, &[Ok((3, 1)), Ok((4, 3))]).with(foreign);
        // Weights are of queues.
        assert_eq!(read(&demand(&spec, &view, 0.0)), (8, 6 + 5, 2 + 3));
        assert_eq!(view.reading.unwrap().running, 1 + 3 + 5, "and are shown");
    }

    #[test]
    fn queues_that_can_be_read_are_told_with_the_failures_of_the_others() {
        let spec = two("Max");
        let early = demand(&spec, &view(&spec, &[Ok((3, 0)), Err(4)]), 0.0);
        let QueueState::Partly { reading, failures } = early.queue else {
            panic!("{early:?}")
        };
        assert_eq!(
            (reading.waiting, failures, early.decided_by),
            (3, 4, Some("mails"))
        );
        let blind = demand(&spec, &view(&spec, &[Err(2), Err(4)]), 0.0);
        assert_eq!(blind.queue, QueueState::Unreadable { failures: 4 });
    }

    #[test]
    fn nothing_is_decided_before_each_queue_was_tried() {
        let spec = two("Sum");
        let mut view = view(&spec, &[Ok((3, 0)), Ok((3, 0))]);
        view.queues[1].reading = None;
        let early = demand(&spec, &view, 0.0);
        assert_eq!(early.queue, QueueState::Unreadable { failures: 0 });
    }

    #[test]
    fn busy_replicas_are_as_few_as_can_hold_the_running_jobs() {
        let number = |n| NonZeroU32::new(n).unwrap();
        assert_eq!(busy_replicas(0, number(1)), 0);
        assert_eq!(busy_replicas(7, number(1)), 7);
        assert_eq!(busy_replicas(7, number(4)), 2);
    }

    #[test]
    fn combine_of_the_spec_is_that_of_the_law() {
        assert_eq!(combine(crds::scaling::Combine::Sum), Combine::Sum);
        assert_eq!(combine(crds::scaling::Combine::Max), Combine::Max);
    }
}
