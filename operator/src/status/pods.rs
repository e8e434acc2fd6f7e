//! Readiness of a pool's pods, and the reason of those that are not ready.

use std::time::Duration;

use crds::{conditions as kinds, status::WorkerPoolStatus};
use scaling::Mode;

use super::{Findings, conditions::Verdict};
use crate::pods::{Readiness, Report, Trouble};

/// The counts of a pool's pods.
#[derive(Clone, Copy, Debug)]
pub(super) struct PodNumbers {
    /// Pods that are ready.
    pub ready: u32,
    /// The count that the workload asks for, or that a Deployment will ask for that is not there yet.
    pub asked: u32,
    /// The count that is decided; the workload's where none is, or where the count is nobody's.
    pub desired: u32,
}

impl PodNumbers {
    pub(super) fn of(findings: &Findings<'_>) -> Self {
        let decision = findings.decision.map(|(decision, _)| decision);
        let decision = decision.filter(|decision| decision.mode != Mode::Paused);
        let workload = findings.deployment;
        let asked = workload.map(|workload| workload.replicas());
        let ready = workload.map_or(0, |workload| workload.status.ready_replicas);
        let asked = asked.or(decision.map(|decision| decision.replicas)).unwrap_or(0);
        Self {
            ready: u32::try_from(ready).unwrap_or(0),
            asked,
            desired: decision.map_or(asked, |decision| decision.desired),
        }
    }

    /// The first words of a message: the counts.
    fn in_words(self) -> String {
        let (ready, asked) = (self.ready, self.asked);
        format!("{ready} of {asked} pods are ready")
    }
}

pub(super) fn pods_ready(findings: &Findings<'_>, last: &WorkerPoolStatus) -> Verdict {
    let verdict =
        |status, reason: &str, message: String| Verdict::new(kinds::PODS_READY, status, reason, message);
    let numbers = PodNumbers::of(findings);
    let Some(readiness) = findings.readiness else {
        return verdict(
            "Unknown",
            "ScaleOnly",
            "the target is known by its /scale alone, which does not say how many of its pods are ready"
                .to_owned(),
        );
    };
    let starting = |report: Option<&Report>| {
        let detail = report.map_or_else(String::new, |report| format!(": {}", detail(report)));
        let message = format!("{}, the others are starting{detail}", numbers.in_words());
        verdict("Unknown", Trouble::Starting.as_str(), message)
    };
    match readiness {
        Readiness::AllReady if numbers.ready < numbers.asked => starting(None),
        Readiness::AllReady => verdict("True", "AllReady", all_ready(numbers.asked)),
        Readiness::Starting(report) => starting(report),
        Readiness::Failing {
            trouble,
            report,
            lasted,
            ..
        } => {
            let detail = report.map_or_else(String::new, |report| format!(": {}", detail(report)));
            let message = format!(
                "{} for {}: {}{detail}",
                numbers.in_words(),
                in_words(lasted),
                trouble.as_str()
            );
            verdict("False", trouble.as_str(), message)
        }
        Readiness::AsBefore { .. } => {
            let said = last.conditions.iter();
            let said = said
                .filter(|said| said.status == "False")
                .find(|said| said.type_ == kinds::PODS_READY);
            said.map_or_else(
                || starting(None),
                |said| verdict("False", &said.reason, said.message.clone()),
            )
        }
    }
}

/// No pod is ready though some are asked for.
pub(super) fn none_ready(findings: &Findings<'_>) -> bool {
    matches!(
        findings.readiness,
        Some(Readiness::Failing { none_ready: true, .. } | Readiness::AsBefore { none_ready: true })
    )
}

pub(super) fn available(findings: &Findings<'_>) -> Verdict {
    let numbers = PodNumbers::of(findings);
    let may_miss = findings.deployment.map_or(0, |workload| {
        workload.spec.strategy.max_unavailable(numbers.desired)
    });
    let least = numbers.desired.saturating_sub(may_miss);
    let message = format!(
        "{} of {} desired pods are ready; at least {least} must be",
        numbers.ready, numbers.desired
    );
    if numbers.ready >= least {
        Verdict::new(kinds::AVAILABLE, "True", "EnoughReady", message)
    } else {
        Verdict::new(kinds::AVAILABLE, "False", "TooFewReady", message)
    }
}

/// The reason for which pods are not ready, and how many are not; `None` if all are.
pub(crate) fn not_ready(findings: &Findings<'_>, status: &WorkerPoolStatus) -> Option<(Trouble, u32)> {
    let numbers = PodNumbers::of(findings);
    let missing = numbers
        .asked
        .checked_sub(numbers.ready)
        .filter(|missing| *missing > 0)?;
    let mut conditions = status.conditions.iter();
    let said = conditions.find(|condition| condition.type_ == kinds::PODS_READY)?;
    Some((Trouble::of_reason(&said.reason)?, missing))
}

fn all_ready(asked: u32) -> String {
    match asked {
        0 => "no pods are asked for".to_owned(),
        1 => "the pod is ready".to_owned(),
        _ => format!("all {asked} pods are ready"),
    }
}

fn detail(report: &Report) -> String {
    match &report.pod {
        Some(pod) => format!("{}, pod {pod}", report.message),
        None => report.message.clone(),
    }
}

/// In the two largest units: `45s`, `2m`, `2h10m`, `3d4h`.
fn in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let with = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{small_unit}"),
    };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m"),
        3600..86400 => with(hours, "h", minutes % 60, "m"),
        _ => with(days, "d", hours % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_written_in_two_units() {
        let written = [0, 59, 60, 119, 3600, 7800, 86_400, 273_600]
            .map(Duration::from_secs)
            .map(in_words);
        assert_eq!(written, ["0s", "59s", "1m", "1m", "1h", "2h10m", "1d", "3d4h"]);
    }
}
