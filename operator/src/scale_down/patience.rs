//! How long a count waits for busy workers before it falls.

use std::time::{Duration, Instant};

/// Since when a count has waited to fall. Lost with a restart: then it waits anew.
#[derive(Debug, Default)]
pub struct Patience {
    since: Option<Instant>,
}

impl Patience {
    /// How much longer a count may wait that is to fall, if it is; `None` if that is as long as it takes.
    pub fn left(&mut self, falls: bool, limit: Option<Duration>, now: Instant) -> Option<Duration> {
        if !falls {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(now);
        Some((since + limit?).saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_once_for_each_time_that_the_count_is_to_fall() {
        let (start, limit) = (Instant::now(), Some(Duration::from_secs(60)));
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut patience = Patience::default();
        assert_eq!(patience.left(true, limit, at(0)), limit);
        assert_eq!(patience.left(true, limit, at(45)), Some(Duration::from_secs(15)));
        assert_eq!(patience.left(true, limit, at(61)), Some(Duration::ZERO));
        assert_eq!(patience.left(false, limit, at(62)), None);
        assert_eq!(patience.left(true, limit, at(63)), limit);
        assert_eq!(patience.left(true, None, at(1000)), None);
    }
}
