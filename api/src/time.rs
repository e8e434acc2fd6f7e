//! Times, for people and programs: RFC 3339 in UTC, with milliseconds.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// A time in Unix milliseconds, printed as `2026-11-24T12:33:32.123Z`; `null` for one beyond the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) u64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = i64::try_from(self.0)
            .ok()
            .and_then(|ms| Timestamp::from_millisecond(ms).ok());
        match time {
            Some(time) => serializer.collect_str(&format_args!("{time:.3}")),
            None => serializer.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_printed_to_the_millisecond_and_an_impossible_one_is_null() {
        let print = |ms| serde_json::to_string(&Time(ms)).unwrap();
        assert_eq!(print(0), "\"1970-01-01T00:00:00.000Z\"");
        assert_eq!(print(1_795_523_612_120), "\"2026-11-24T12:33:32.120Z\"");
        assert_eq!(print(u64::MAX), "null");
    }
}
