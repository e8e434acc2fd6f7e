//! One trace under one scaler, event by event.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use crate::{
    fleet::Fleet,
    scaler::{Scaler, Seen},
    trace::{Job, Trace},
};

/// How long a pool may take to work off what is left when the trace has ended, before that counts as never.
const OVERTIME: f64 = 86_400.0;

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Seconds that each job waited, in ascending order.
    pub waits: Vec<f64>,
    /// Replicas times the seconds that they existed, starting and leaving ones included, until the last job was done.
    pub replica_seconds: f64,
    /// Seconds of work in the trace: no system does it with fewer replica-seconds.
    pub work_seconds: f64,
    /// How often a replica that held a job was told to go.
    pub interrupted: u64,
    /// The count over time: each change of it.
    pub counts: Vec<(f64, u32)>,
}

impl Outcome {
    /// The share of jobs that waited no longer than `target` seconds.
    #[must_use]
    pub fn within(&self, target: f64) -> f64 {
        let on_time = self.waits.partition_point(|wait| *wait <= target);
        on_time as f64 / self.waits.len().max(1) as f64
    }

    /// The wait that this share of the jobs did not exceed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        let index = (self.waits.len() as f64 * share).ceil() as usize;
        self.waits
            .get(index.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }
}

/// What happens next, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Ready(usize),
    Done(usize, f64),
}

/// A time that orders.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Time(f64);

impl Eq for Time {}

impl PartialOrd for Time {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Time {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

struct World<'a> {
    now: f64,
    jobs: std::iter::Peekable<std::slice::Iter<'a, Job>>,
    waiting: VecDeque<Job>,
    fleet: Fleet,
    /// By number, as events have no order of their own.
    agenda: BinaryHeap<Reverse<(Time, usize)>>,
    events: Vec<Event>,
    completed: u64,
    busy_seconds: f64,
    start_seconds: f64,
    outcome: Outcome,
}

/// Lets a scaler see the trace through; a replica takes `start_seconds` from being asked for to its first job.
#[must_use]
pub fn run(trace: &Trace, scaler: &mut dyn Scaler, start_seconds: f64) -> Outcome {
    let mut world = World {
        now: 0.0,
        jobs: trace.jobs.iter().peekable(),
        waiting: VecDeque::new(),
        fleet: Fleet::default(),
        agenda: BinaryHeap::new(),
        events: Vec::new(),
        completed: 0,
        busy_seconds: 0.0,
        start_seconds,
        outcome: Outcome::default(),
    };
    world.decide(scaler);
    while !world.is_over() && world.now < trace.seconds + OVERTIME {
        let look = scaler.next_look().unwrap_or(f64::INFINITY);
        let told = world.advance(look);
        world.assign();
        if (told && scaler.is_told()) || world.now >= look {
            world.decide(scaler);
        }
    }
    world.finish(trace)
}

impl World<'_> {
    fn is_over(&mut self) -> bool {
        self.jobs.peek().is_none() && self.waiting.is_empty() && self.fleet.busy() == 0
    }

    /// Goes on to the next event, but not beyond `look`. Answers whether something happened.
    fn advance(&mut self, look: f64) -> bool {
        let arrival = self.jobs.peek().map_or(f64::INFINITY, |job| job.at);
        let event = self
            .agenda
            .peek()
            .map_or(f64::INFINITY, |Reverse((time, _))| time.0);
        let next = arrival.min(event);
        let until = next.min(look).max(self.now);
        self.outcome.replica_seconds += f64::from(self.fleet.alive()) * (until - self.now);
        self.now = until;
        if next > until {
            return false;
        }
        if arrival <= event {
            self.waiting.extend(self.jobs.next());
        } else if let Some(Reverse((_, number))) = self.agenda.pop() {
            match self.events[number] {
                Event::Ready(replica) => self.fleet.ready(replica),
                Event::Done(replica, seconds) => {
                    self.fleet.finished(replica);
                    self.completed += 1;
                    self.busy_seconds += seconds;
                }
            }
        }
        true
    }

    fn assign(&mut self) {
        while let Some(job) = self.waiting.front().copied()
            && let Some(replica) = self.fleet.take()
        {
            self.waiting.pop_front();
            self.outcome.waits.push(self.now - job.at);
            self.schedule(self.now + job.takes, Event::Done(replica, job.takes));
        }
    }

    fn schedule(&mut self, at: f64, event: Event) {
        self.agenda.push(Reverse((Time(at), self.events.len())));
        self.events.push(event);
    }

    fn decide(&mut self, scaler: &mut dyn Scaler) {
        let before = self.fleet.count();
        let count = scaler.decide(&Seen {
            now: self.now,
            waiting: self.waiting.len() as u64,
            running: self.fleet.busy().into(),
            completed: self.completed,
            busy_seconds: self.busy_seconds,
            count: before,
        });
        for _ in before..count {
            let replica = self.fleet.add();
            self.schedule(self.now + self.start_seconds, Event::Ready(replica));
        }
        while self.fleet.count() > count && self.fleet.remove(scaler.removal()) {}
        if self.fleet.count() != before {
            self.outcome.counts.push((self.now, self.fleet.count()));
        }
    }

    fn finish(mut self, trace: &Trace) -> Outcome {
        // What never started has waited until the end.
        self.waiting.extend(self.jobs.by_ref());
        let never = self.waiting.iter().map(|job| self.now - job.at);
        self.outcome.waits.extend(never);
        self.outcome.waits.sort_by(f64::total_cmp);
        self.outcome.work_seconds = trace.jobs.iter().map(|job| job.takes).sum();
        self.outcome.interrupted = self.fleet.interrupted();
        self.outcome
    }
}
