//! A HorizontalPodAutoscaler on the length of the list, alone or with KEDA in front of it for zero.
//!
//! The algorithm of `GetExternalPerPodMetricReplicas`, `stabilizeRecommendation` and `calculateScaleUpLimit` in
//! kubernetes/pkg/controller/podautoscaler, with the defaults of its controller manager, as KEDA sets no `behavior` unless
//! asked to; KEDA's own part is the loop of pkg/scaling/executor.

use std::collections::VecDeque;

use crate::{
    fleet::Removal,
    scaler::{Scaler, Seen},
};

/// `--horizontal-pod-autoscaler-sync-period`.
const SYNC: f64 = 15.0;
/// `--horizontal-pod-autoscaler-downscale-stabilization`.
const STABILIZATION: f64 = 300.0;
/// `--horizontal-pod-autoscaler-tolerance`.
const TOLERANCE: f64 = 0.1;
/// `cooldownPeriod` of a ScaledObject.
const COOLDOWN: f64 = 300.0;

/// What its owner set.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Jobs in line for each replica: `averageValue`, or `listLength`.
    pub list_length: u32,
    /// The most replicas.
    pub max_replicas: u32,
    /// KEDA's `pollingInterval` in seconds; `None` without KEDA, which is never below one replica.
    pub polling_interval: Option<f64>,
}

/// A pool under it.
#[derive(Debug)]
pub struct Keda {
    settings: Settings,
    next_poll: f64,
    next_sync: f64,
    last_active: f64,
    /// Recommendations of the last [`STABILIZATION`] seconds.
    recommended: VecDeque<(f64, u32)>,
}

impl Keda {
    /// A pool with these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            next_poll: settings.polling_interval.map_or(f64::INFINITY, |_| 0.0),
            next_sync: 0.0,
            last_active: f64::NEG_INFINITY,
            recommended: VecDeque::new(),
        }
    }

    fn poll(&mut self, seen: &Seen) -> u32 {
        if seen.waiting > 0 {
            self.last_active = seen.now;
            return seen.count.max(1);
        }
        if seen.now - self.last_active > COOLDOWN {
            0
        } else {
            seen.count
        }
    }

    fn sync(&mut self, seen: &Seen, count: u32) -> u32 {
        if count == 0 && self.settings.polling_interval.is_some() {
            // Disabled for as long as somebody else has set it to zero.
            self.recommended.clear();
            return 0;
        }
        let count = count.max(1);
        let (waiting, each) = (seen.waiting as f64, f64::from(self.settings.list_length));
        let ratio = waiting / (each * f64::from(count));
        let wanted = if (ratio - 1.0).abs() <= TOLERANCE {
            count
        } else {
            (waiting / each).ceil() as u32
        };
        self.recommended.retain(|(at, _)| seen.now - at < STABILIZATION);
        self.recommended.push_back((seen.now, wanted));
        let stable = self
            .recommended
            .iter()
            .map(|(_, wanted)| *wanted)
            .max()
            .unwrap_or(wanted);
        stable
            .min((2 * count).max(4))
            .clamp(1, self.settings.max_replicas)
    }
}

impl Scaler for Keda {
    fn removal(&self) -> Removal {
        Removal::Youngest
    }

    fn is_told(&self) -> bool {
        false
    }

    fn next_look(&self) -> Option<f64> {
        Some(self.next_poll.min(self.next_sync))
    }

    fn decide(&mut self, seen: &Seen) -> u32 {
        let mut count = seen.count;
        if seen.now >= self.next_poll {
            count = self.poll(seen);
            self.next_poll += self.settings.polling_interval.unwrap_or(f64::INFINITY);
        }
        if seen.now >= self.next_sync {
            count = self.sync(seen, count);
            self.next_sync += SYNC;
        }
        count
    }
}
