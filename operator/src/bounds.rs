//! The bounds in force: a pool's own, or those of the schedules that are open. Pure; the caller brings the time.

use std::time::Duration;

use crds::scaling::{ScalingSpec, Schedule};
use croner::{
    Cron, Direction,
    parser::{CronParser, Seconds, Year},
};
use jiff::{Timestamp, Zoned, tz::TimeZone};

use crate::{policy::count, refusal::Refusal};

/// Somebody may set the clock: what is in force is looked up again after so long, even if no schedule opens or closes.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

/// The schedules of a pool, read from its spec once.
#[derive(Clone, Debug, Default)]
pub struct Schedules {
    windows: Vec<Window>,
}

/// What bounds hold now, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// Never fewer replicas than this.
    pub min_replicas: u32,
    /// Never more than this.
    pub max_replicas: u32,
    /// The count while there is nothing to do; none where an open schedule says how many are to be there.
    pub idle_replicas: Option<u32>,
    /// The schedules that are open, by name.
    pub open: Vec<String>,
    /// When another of them opens or closes; `None` where there are none.
    pub until: Option<Timestamp>,
}

/// One schedule: open from each `start` until the next `end`.
#[derive(Clone, Debug)]
struct Window {
    name: String,
    start: Cron,
    end: Cron,
    zone: TimeZone,
    min_replicas: Option<u32>,
    max_replicas: Option<u32>,
}

impl Schedules {
    /// Reads them.
    ///
    /// # Errors
    /// [`Refusal::Schedule`] for what is no cron pattern, never comes, or is no time zone.
    pub fn parse(spec: &ScalingSpec, now: Timestamp) -> Result<Self, Refusal> {
        let windows = spec.schedules.iter().map(|schedule| Window::parse(schedule, now));
        Ok(Self {
            windows: windows.collect::<Result<_, _>>()?,
        })
    }

    /// The bounds that hold at `now`. All open schedules hold: the highest minimum and the lowest maximum.
    #[must_use]
    pub fn in_force(&self, spec: &ScalingSpec, now: Timestamp) -> InForce {
        let open: Vec<_> = self.windows.iter().filter(|window| window.is_open(now)).collect();
        let min = open.iter().filter_map(|window| window.min_replicas).max();
        let max = open.iter().filter_map(|window| window.max_replicas).min();
        let idle = spec.idle_replicas.filter(|_| min.is_none());
        InForce {
            min_replicas: min.unwrap_or_else(|| count(spec.min_replicas)),
            max_replicas: max.unwrap_or_else(|| count(spec.max_replicas)),
            idle_replicas: idle.map(count),
            open: open.iter().map(|window| window.name.clone()).collect(),
            until: self
                .windows
                .iter()
                .filter_map(|window| window.changes_after(now))
                .min(),
        }
    }
}

impl InForce {
    /// How long after `now` this may be taken to hold without another look.
    #[must_use]
    pub fn holds_for(&self, now: Timestamp) -> Option<Duration> {
        let until = self.until?;
        let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
        Some(left.min(LOOK_AGAIN))
    }
}

impl Window {
    fn parse(schedule: &Schedule, now: Timestamp) -> Result<Self, Refusal> {
        let refused = |why: String| Refusal::Schedule {
            name: schedule.name.clone(),
            why,
        };
        let zone = TimeZone::get(&schedule.time_zone)
            .map_err(|_| refused(format!("{:?} is no time zone", schedule.time_zone)))?;
        let pattern = |field: &str, text: &str| {
            let cron = CronParser::builder()
                .seconds(Seconds::Disallowed)
                .year(Year::Disallowed)
                .build()
                .parse(text)
                .map_err(|error| refused(format!("{field} {text:?} is no cron pattern: {error}")))?;
            occurrence(&cron, &zone, now, Direction::Forward)
                .map(|_| cron)
                .ok_or_else(|| refused(format!("{field} {text:?} never comes")))
        };
        Ok(Self {
            name: schedule.name.clone(),
            start: pattern("start", &schedule.start)?,
            end: pattern("end", &schedule.end)?,
            min_replicas: schedule.min_replicas.map(count),
            max_replicas: schedule.max_replicas.map(count),
            zone: zone.clone(),
        })
    }

    /// Whether it was last opened rather than closed. What comes next would not tell: a schedule that opens on weekdays and
    /// closes every evening is closed on a Saturday, though its next event is to close.
    fn is_open(&self, now: Timestamp) -> bool {
        let last = |cron| occurrence(cron, &self.zone, now, Direction::Backward);
        last(&self.start) > last(&self.end)
    }

    fn changes_after(&self, now: Timestamp) -> Option<Timestamp> {
        let next = |cron| occurrence(cron, &self.zone, now, Direction::Forward);
        next(&self.start).into_iter().chain(next(&self.end)).min()
    }
}

/// The last time not after `now` that fits the pattern, or the first one after it.
fn occurrence(cron: &Cron, zone: &TimeZone, now: Timestamp, direction: Direction) -> Option<Timestamp> {
    let now: Zoned = now.to_zoned(zone.clone());
    let found = match direction {
        Direction::Backward => cron.find_previous_occurrence(&now, true),
        Direction::Forward => cron.find_next_occurrence(&now, false),
    };
    found.ok().map(|time| time.timestamp())
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// 1 to 10 replicas (0 when idle), and these schedules.
    fn scaling(schedules: &serde_json::Value) -> ScalingSpec {
        let spec = json!({"minReplicas": 1, "idleReplicas": 0, "schedules": schedules});
        serde_json::from_value(spec).unwrap()
    }

    fn in_force(spec: &ScalingSpec, now: &str) -> InForce {
        let now = at(now);
        Schedules::parse(spec, now).unwrap().in_force(spec, now)
    }

    fn is_open(spec: &ScalingSpec, now: &str) -> bool {
        !in_force(spec, now).open.is_empty()
    }

    fn refusal(schedule: &serde_json::Value) -> String {
        let spec = scaling(&json!([schedule]));
        Schedules::parse(&spec, at("2026-11-24T12:00:00Z"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn without_schedules_the_bounds_are_the_pools_own() {
        let expected = InForce {
            min_replicas: 1,
            max_replicas: 10,
            idle_replicas: Some(0),
            open: Vec::new(),
            until: None,
        };
        assert_eq!(in_force(&scaling(&json!([])), "2026-11-24T12:00:00Z"), expected);
    }

    #[test]
    fn office_hours_are_those_of_the_clock_on_the_wall_there() {
        let spec = scaling(
            &json!([{"name": "office", "start": "0 8 * * 1-5", "end": "0 18 * * 1-5",
            "timeZone": "Europe/Berlin", "minReplicas": 4, "maxReplicas": 40}]),
        );
        // A Tuesday in winter: an hour ahead of UTC.
        assert!(!is_open(&spec, "2026-11-24T06:59:59Z"));
        assert!(is_open(&spec, "2026-11-24T07:00:00Z"));
        assert!(is_open(&spec, "2026-11-24T16:59:59Z"));
        assert!(!is_open(&spec, "2026-11-24T17:00:00Z"));
        // And in summer: two hours.
        assert!(is_open(&spec, "2026-07-21T06:00:00Z"));
        let open = in_force(&spec, "2026-11-24T12:00:00Z");
        let expected = InForce {
            min_replicas: 4,
            max_replicas: 40,
            // So many are there even if there is nothing to do.
            idle_replicas: None,
            open: vec!["office".to_owned()],
            until: Some(at("2026-11-24T17:00:00Z")),
        };
        assert_eq!(open, expected);
    }

    #[test]
    fn schedule_that_opens_on_weekdays_is_closed_on_a_saturday_though_it_closes_every_evening() {
        let spec = scaling(
            &json!([{"name": "office", "start": "0 8 * * 1-5", "end": "0 18 * * *", "minReplicas": 4}]),
        );
        assert!(is_open(&spec, "2026-11-27T12:00:00Z"));
        assert!(!is_open(&spec, "2026-11-28T12:00:00Z"));
    }

    #[test]
    fn night_in_which_clocks_are_put_forward_has_its_schedule_all_the_same() {
        // On 2026-03-29 there is no 02:30 in Berlin.
        let spec = scaling(
            &json!([{"name": "night", "start": "30 2 * * *", "end": "0 6 * * *",
            "timeZone": "Europe/Berlin", "maxReplicas": 2}]),
        );
        assert!(!is_open(&spec, "2026-03-29T00:59:00Z"));
        assert!(is_open(&spec, "2026-03-29T01:30:00Z"));
        assert!(is_open(&spec, "2026-03-29T03:59:00Z"));
        assert!(!is_open(&spec, "2026-03-29T04:00:00Z"));
    }

    #[test]
    fn hour_that_comes_twice_opens_and_closes_once() {
        // On 2026-10-25 Berlin has 02:30 and 02:45 at 00:30Z and 00:45Z, and again an hour later.
        let spec = scaling(&json!([{"name": "s", "start": "30 2 * * *", "end": "45 2 * * *",
            "timeZone": "Europe/Berlin", "maxReplicas": 2}]));
        assert!(is_open(&spec, "2026-10-25T00:35:00Z"));
        assert!(!is_open(&spec, "2026-10-25T00:45:00Z"));
        assert!(!is_open(&spec, "2026-10-25T01:35:00Z"));
    }

    #[test]
    fn where_several_are_open_all_hold() {
        let spec = scaling(&json!([
            {"name": "day", "start": "0 6 * * *", "end": "0 22 * * *", "minReplicas": 2, "maxReplicas": 50},
            {"name": "lunch", "start": "0 12 * * *", "end": "0 13 * * *", "minReplicas": 8},
            {"name": "quiet", "start": "30 12 * * *", "end": "0 14 * * *", "maxReplicas": 20},
        ]));
        let at_noon = in_force(&spec, "2026-11-24T12:45:00Z");
        assert_eq!((at_noon.min_replicas, at_noon.max_replicas), (8, 20));
        assert_eq!(at_noon.open, ["day", "lunch", "quiet"]);
        assert_eq!(at_noon.until, Some(at("2026-11-24T13:00:00Z")));
        let at_night = in_force(&spec, "2026-11-24T23:00:00Z");
        assert_eq!((at_night.min_replicas, at_night.max_replicas), (1, 10));
        assert_eq!(at_night.idle_replicas, Some(0));
    }

    #[test]
    fn every_daily_schedule_is_open_just_when_the_clock_says_so() {
        let midnight = at("2026-11-24T00:00:00Z");
        for (start, end) in (0..24).flat_map(|start| (0..24).map(move |end| (start, end))) {
            if start == end {
                continue;
            }
            let spec = scaling(&json!([{"name": "s", "start": format!("0 {start} * * *"),
                "end": format!("0 {end} * * *"), "minReplicas": 4}]));
            let schedules = Schedules::parse(&spec, midnight).unwrap();
            for hour in 0..24 {
                let open = if start < end {
                    (start..end).contains(&hour)
                } else {
                    hour >= start || hour < end
                };
                let now = midnight + hour.hours();
                assert_eq!(
                    !schedules.in_force(&spec, now).open.is_empty(),
                    open,
                    "{start}-{end} at {hour}"
                );
            }
        }
    }

    #[test]
    fn what_is_in_force_holds_until_the_time_that_is_told() {
        let spec = scaling(&json!([
            {"name": "a", "start": "30 2 * * *", "end": "0 6 * * 1,3", "timeZone": "Europe/Berlin", "minReplicas": 2},
            {"name": "b", "start": "0 0 L * *", "end": "15 4 1 * *", "timeZone": "America/New_York", "maxReplicas": 4},
            {"name": "c", "start": "0 22 * * FRI", "end": "0 5 * * MON", "timeZone": "Asia/Kolkata", "minReplicas": 3},
        ]));
        let mut now = at("2026-01-01T00:00:00Z");
        let schedules = Schedules::parse(&spec, now).unwrap();
        while now < at("2027-01-01T00:00:00Z") {
            let found = schedules.in_force(&spec, now);
            let until = found.until.unwrap();
            assert!(until > now);
            assert_eq!(schedules.in_force(&spec, until - 1.second()), found);
            now = until;
        }
    }

    #[test]
    fn clock_that_somebody_sets_is_noticed_within_ten_minutes() {
        let spec =
            scaling(&json!([{"name": "s", "start": "0 8 * * *", "end": "0 18 * * *", "minReplicas": 4}]));
        let found = in_force(&spec, "2026-11-24T07:00:00Z");
        assert_eq!(found.holds_for(at("2026-11-24T07:00:00Z")), Some(LOOK_AGAIN));
        assert_eq!(
            found.holds_for(at("2026-11-24T07:59:00Z")),
            Some(Duration::from_secs(60))
        );
        assert_eq!(found.holds_for(at("2026-11-24T09:00:00Z")), Some(Duration::ZERO));
    }

    #[test]
    fn schedule_that_cannot_be_is_refused_in_a_sentence() {
        let schedule = |start: &str, zone: &str| json!({"name": "s", "start": start, "end": "0 18 * * *", "timeZone": zone, "minReplicas": 4});
        assert_eq!(
            refusal(&schedule("0 8 30 2 *", "UTC")),
            "the schedule s: start \"0 8 30 2 *\" never comes"
        );
        assert_eq!(
            refusal(&schedule("0 8 * * *", "Mars/Olympus")),
            "the schedule s: \"Mars/Olympus\" is no time zone"
        );
        let minute = refusal(&schedule("61 8 * * *", "UTC"));
        assert!(
            minute.starts_with("the schedule s: start \"61 8 * * *\" is no cron pattern: "),
            "{minute}"
        );
    }
}
