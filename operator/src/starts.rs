//! How long a replica takes to start, from counts that were asked for and replicas that became ready.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What a new measurement weighs beside all before it.
const WEIGHT: f64 = 0.2;
/// Who is not ready after so long waits for a node or an image that does not exist: no measure of how long a start takes.
const LONGEST: Duration = Duration::from_secs(300);
/// More counts than this are not waited for at once.
const MOST_ASKED: usize = 64;

/// What was asked for and is not there yet, and how long it took before.
#[derive(Clone, Debug, Default)]
pub struct Starts {
    /// Rising counts, each with when it was asked for.
    asked: VecDeque<(u32, Instant)>,
    seconds: Option<f64>,
}

impl Starts {
    /// Seconds from asking for a replica until it is ready; 0 until that was seen once.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.seconds.unwrap_or_default()
    }

    /// A count was written. With a falling one, what was asked for before may never come.
    pub fn asked(&mut self, from: u32, to: u32, now: Instant) {
        if to < from {
            self.asked.clear();
        } else if to > from && self.asked.len() < MOST_ASKED {
            self.asked.push_back((to, now));
        }
    }

    /// So many are ready.
    pub fn ready(&mut self, ready: u32, now: Instant) {
        while let Some((count, at)) = self.asked.front().copied() {
            let took = now.saturating_duration_since(at);
            if took > LONGEST {
                self.asked.pop_front();
                continue;
            }
            if ready < count {
                return;
            }
            self.asked.pop_front();
            let took = took.as_secs_f64();
            let known = self.seconds.unwrap_or(took);
            self.seconds = Some(known + WEIGHT * (took - known));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(start: Instant, number: u64) -> Instant {
        start + Duration::from_secs(number)
    }

    #[test]
    fn start_lasts_from_asking_until_all_that_were_asked_for_are_ready() {
        let (mut starts, start) = (Starts::default(), Instant::now());
        assert_eq!(starts.seconds(), 0.0);
        starts.asked(0, 3, start);
        starts.ready(2, second(start, 2));
        assert_eq!(starts.seconds(), 0.0);
        starts.ready(3, second(start, 4));
        assert_eq!(starts.seconds(), 4.0);
        starts.asked(3, 5, second(start, 10));
        starts.ready(5, second(start, 19));
        assert_eq!(starts.seconds(), 5.0, "a fifth of the way from 4 to 9");
    }

    #[test]
    fn what_is_no_longer_asked_for_is_not_measured() {
        let (mut starts, start) = (Starts::default(), Instant::now());
        starts.asked(0, 3, start);
        starts.asked(3, 1, second(start, 1));
        starts.ready(3, second(start, 60));
        assert_eq!(starts.seconds(), 0.0);
    }

    #[test]
    fn replica_that_finds_no_node_for_an_hour_is_no_measure() {
        let (mut starts, start) = (Starts::default(), Instant::now());
        starts.asked(0, 3, start);
        starts.asked(3, 4, second(start, 3590));
        starts.ready(4, second(start, 3600));
        assert_eq!(starts.seconds(), 10.0);
    }

    #[test]
    fn memory_is_bounded_however_often_the_count_rises() {
        let (mut starts, start) = (Starts::default(), Instant::now());
        for count in 0..1000 {
            starts.asked(count, count + 1, start);
        }
        assert_eq!(starts.asked.len(), MOST_ASKED);
    }
}
