//! Counts over time as SVG, by hand: step lines, two axes, a legend.

use std::fmt::Write;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 320.0;
/// What axes, title and legend take.
const LEFT: f64 = 50.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 40.0;
const RIGHT: f64 = 15.0;
/// Lines on each axis.
const TICKS: u32 = 6;
/// A time axis that is shorter than this, in seconds, is in seconds.
const SECONDS_BELOW: f64 = 600.0;
/// Told apart by those who see no red or green too (Okabe and Ito).
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#e69f00", "#009e73"];

/// Each change of a count, with its second.
pub type Counts = Vec<(f64, u32)>;

/// Draws the counts of several systems in the seconds `from` to `to`.
#[must_use]
pub fn counts(title: &str, (from, to): (f64, f64), systems: &[(String, Counts)]) -> String {
    let all = systems.iter().flat_map(|(_, counts)| counts);
    let seen = all
        .filter(|(at, _)| (from..=to).contains(at))
        .map(|(_, count)| *count);
    let highest = f64::from(seen.max().unwrap_or(1).max(1));
    let x = |at: f64| LEFT + (at.clamp(from, to) - from) / (to - from) * (WIDTH - LEFT - RIGHT);
    let y = |count: f64| HEIGHT - BOTTOM - count / highest * (HEIGHT - TOP - BOTTOM);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"18\" font-size=\"14\">{title}</text>\n"
    );
    for tick in 0..=TICKS {
        let share = f64::from(tick) / f64::from(TICKS);
        let (count, at) = ((highest * share).round(), from + (to - from) * share);
        let (across, up) = (y(count), x(at));
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {across:.1}H{}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{count}</text>\
             <text x=\"{up:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            across + 4.0,
            HEIGHT - BOTTOM + 18.0,
            if to - from < SECONDS_BELOW {
                format!("{at:.0} s")
            } else {
                clock(at)
            }
        );
    }
    for (number, (name, counts)) in systems.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let before = counts.iter().rev().find(|(at, _)| *at <= from);
        let mut line = format!(
            "M{:.1} {:.1}",
            x(from),
            y(before.map_or(0.0, |(_, count)| f64::from(*count)))
        );
        for (at, count) in counts.iter().filter(|(at, _)| *at > from && *at <= to) {
            let _ = write!(line, "H{:.1}V{:.1}", x(*at), y(f64::from(*count)));
        }
        let legend = LEFT + 280.0 * number as f64;
        let _ = writeln!(
            svg,
            "<path d=\"{line}H{:.1}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n\
             <path d=\"M{legend} 36h24\" stroke=\"{colour}\" stroke-width=\"3\"/><text x=\"{}\" y=\"40\">{name}</text>",
            x(to),
            legend + 30.0
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Hours and minutes.
fn clock(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    format!("{}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_times_are_in_seconds_and_long_ones_by_the_clock() {
        let ticks = |to| counts("t", (0.0, to), &[]);
        assert!(ticks(120.0).contains(">60 s</text>"));
        assert!(ticks(7200.0).contains(">1:00</text>"));
    }

    #[test]
    fn count_is_a_line_of_steps_within_the_frame() {
        let svg = counts(
            "t",
            (0.0, 100.0),
            &[("law".to_owned(), vec![(0.0, 1), (50.0, 4), (200.0, 9)])],
        );
        assert!(svg.contains("d=\"M50.0 222.5H467.5V50.0H885.0\""), "{svg}");
        assert!(svg.contains(">law</text>"));
    }
}
