//! Whom the sentinels call the master, when they do not agree.
//!
//! Each failover has an epoch, higher than the one before, which more than half of the sentinels have voted for. A
//! sentinel that was cut off meanwhile goes on naming the old master, with the old epoch; the one that carries a failover
//! out names the new master some moments before its epoch counts.

use crate::Address;

/// What some of the sentinels say.
#[derive(Debug)]
struct Opinion {
    address: Address,
    /// The highest that any of them told.
    epoch: u64,
    /// How many they are.
    votes: usize,
}

/// What all that were heard say.
#[derive(Debug, Default)]
pub(super) struct Opinions(Vec<Opinion>);

impl Opinions {
    /// Hears one more. Answers how many now name this address.
    pub(super) fn hear(&mut self, address: Address, epoch: u64) -> usize {
        match self.0.iter_mut().find(|opinion| opinion.address == address) {
            Some(opinion) => {
                opinion.epoch = opinion.epoch.max(epoch);
                opinion.votes += 1;
                opinion.votes
            }
            None => {
                let votes = 1;
                self.0.push(Opinion {
                    address,
                    epoch,
                    votes,
                });
                votes
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In which order to try: the latest epoch first, then whom most name.
    pub(super) fn ranked(mut self) -> Vec<Address> {
        self.0
            .sort_by_key(|opinion| std::cmp::Reverse((opinion.epoch, opinion.votes)));
        self.0.into_iter().map(|opinion| opinion.address).collect()
    }

    /// Whether another master has taken the place of `current`, for good: in a later epoch, or nobody names it any more.
    pub(super) fn replace(&self, current: &Address) -> bool {
        let epoch = |named: bool| {
            let opinions = self.0.iter();
            let those = opinions.filter(|opinion| (opinion.address == *current) == named);
            those.map(|opinion| opinion.epoch).max()
        };
        // An epoch is more than none.
        epoch(false) > epoch(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(name: &str) -> Address {
        name.parse().unwrap()
    }

    fn heard(opinions: &[(&str, u64)]) -> Opinions {
        let mut heard = Opinions::default();
        for (name, epoch) in opinions {
            heard.hear(address(name), *epoch);
        }
        heard
    }

    #[test]
    fn a_master_is_replaced_in_a_later_epoch_or_when_nobody_names_it() {
        for (opinions, replaced) in [
            (&[][..], false),
            (&[("current", 1), ("current", 1)], false),
            // The new master was reached before all sentinels know of it: it is not left for the old one.
            (&[("old", 1), ("old", 1), ("current", 1)], false),
            (&[("old", 1), ("old", 1), ("current", 2)], false),
            // It is cut off together with one sentinel.
            (&[("current", 1), ("new", 2), ("new", 2)], true),
            (&[("current", 1), ("current", 1), ("new", 2)], true),
            (&[("new", 0)], true),
        ] {
            assert_eq!(
                heard(opinions).replace(&address("current")),
                replaced,
                "{opinions:?}"
            );
        }
    }

    #[test]
    fn the_latest_epoch_is_tried_first_and_then_whom_most_name() {
        for (opinions, first) in [
            (&[("a", 1), ("b", 1), ("b", 1)][..], "b"),
            (&[("a", 2), ("b", 1), ("b", 1)], "a"),
        ] {
            assert_eq!(heard(opinions).ranked()[0], address(first), "{opinions:?}");
        }
    }
}
