//! Samples in, the figures of a row out.

use std::fmt;
use std::time::Duration;

/// The spread of some samples.
pub(crate) struct Spread {
    sorted: Vec<f64>,
    unit: &'static str,
}

impl Spread {
    /// The spread of durations, shown in milliseconds.
    pub(crate) fn of_durations(samples: &[Duration]) -> Self {
        Self::new(samples.iter().map(|d| d.as_secs_f64() * 1e3).collect(), "ms")
    }

    /// The spread of plain numbers, shown with `unit` behind them.
    pub(crate) fn new(mut samples: Vec<f64>, unit: &'static str) -> Self {
        samples.sort_by(f64::total_cmp);
        Self {
            sorted: samples,
            unit,
        }
    }

    /// The sample at or above which `100 - p` percent lie (nearest rank); 0 of no samples.
    pub(crate) fn percentile(&self, p: f64) -> f64 {
        let rank = (p / 100.0 * self.sorted.len() as f64).ceil() as usize;
        self.sorted
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }

    /// "min / median / max", for a few runs.
    pub(crate) fn extremes(&self) -> String {
        let digits = if self.median() >= 100.0 { 0 } else { 2 };
        let [min, median, max] = [0.0, 50.0, 100.0].map(|p| self.percentile(p));
        format!("{min:.digits$} / {median:.digits$} / {max:.digits$}")
    }

    /// How many samples there are.
    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The middle sample.
    pub(crate) fn median(&self) -> f64 {
        self.percentile(50.0)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, n) = (self.unit, self.sorted.len());
        let digits = if self.median() >= 100.0 { 0 } else { 2 };
        let [min, p50, p99, max] = [0.0, 50.0, 99.0, 100.0].map(|p| self.percentile(p));
        write!(
            f,
            "min {min:.digits$}  p50 {p50:.digits$}  p99 {p99:.digits$}  max {max:.digits$} {unit}  (n = {n})"
        )
    }
}
