//! What is due when.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    time::Instant,
};

/// Keys in the order of their times; each at most once.
#[derive(Debug)]
pub(crate) struct Schedule<K> {
    order: BTreeSet<(Instant, K)>,
    times: HashMap<K, Instant>,
}

impl<K> Default for Schedule<K> {
    fn default() -> Self {
        Self {
            order: BTreeSet::new(),
            times: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Schedule<K> {
    /// Makes the key due at `at`, or earlier if it already is.
    pub(crate) fn no_later(&mut self, key: &K, at: Instant) {
        match self.times.get(key) {
            Some(&known) if known <= at => {}
            _ => {
                self.remove(key);
                self.times.insert(key.clone(), at);
                self.order.insert((at, key.clone()));
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(at) = self.times.remove(key) {
            self.order.remove(&(at, key.clone()));
        }
    }

    /// When the first is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out what is due, the longest due first, at most `most`.
    pub(crate) fn take_due(&mut self, now: Instant, most: usize) -> Vec<K> {
        let mut due = Vec::new();
        while due.len() < most && self.next().is_some_and(|at| at <= now) {
            if let Some((_, key)) = self.order.pop_first() {
                self.times.remove(&key);
                due.push(key);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn key_that_is_due_twice_comes_once_and_at_the_earlier_time() {
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let mut schedule = Schedule::default();
        schedule.no_later(&"a", later);
        schedule.no_later(&"a", now);
        schedule.no_later(&"a", later);
        assert_eq!(schedule.next(), Some(now));
        assert_eq!(schedule.take_due(later, 10), ["a"]);
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn what_has_been_due_longest_goes_first_and_the_rest_waits() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        for (name, seconds) in [("c", 3), ("a", 1), ("b", 2), ("z", 60)] {
            schedule.no_later(&name, now + Duration::from_secs(seconds));
        }
        let later = now + Duration::from_secs(10);
        assert_eq!(schedule.take_due(later, 2), ["a", "b"]);
        assert_eq!(schedule.take_due(later, 2), ["c"]);
        assert_eq!(schedule.next(), Some(now + Duration::from_secs(60)));
    }
}
