//! The times of looks at the pods of a workload, and the findings of the last one. Pure.

use std::time::{Duration, Instant};

use tokio::sync::oneshot::{self, error::TryRecvError};

use super::{LookPacer, Report, TemplateReport, Trouble, pacer::Slot};

/// Fewer pods have been ready than asked for, for so long: worth a look.
const FIRST_LOOK_AFTER: Duration = Duration::from_secs(15);
/// The longest interval between two looks; it doubles from [`FIRST_LOOK_AFTER`].
const LAST_INTERVAL: Duration = Duration::from_secs(300);
/// Looks at a pool that has just become unready; later ones are those of a known trouble.
const NEW_LOOKS: u32 = 2;
/// Pods that have been starting for longer are not ready, whatever the cause.
const START_LIMIT: Duration = Duration::from_secs(60);
/// A container that ends again and again is ready for a moment in between: pods are ready when they have been for so long.
const CURED_AFTER: Duration = Duration::from_secs(10);
/// Interval at which the result of a look is asked for while it is under way.
pub(super) const RESULT_INTERVAL: Duration = Duration::from_millis(100);

/// The counts that the watch on a workload shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodCounts {
    /// The count that the workload asks for.
    pub asked: u32,
    /// Its pods that are ready.
    pub ready: u32,
}

impl PodCounts {
    fn all_ready(self) -> bool {
        self.ready >= self.asked
    }
}

/// The statement of an earlier status, made before this operator was started or began to lead.
#[derive(Clone, Copy, Debug)]
pub struct Earlier {
    /// The reason, where the pods were not ready.
    pub trouble: Option<Trouble>,
    /// For how long it has been made.
    pub lasted: Duration,
}

/// Readiness of the pods of a workload, as a status reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness<'a> {
    /// All pods are ready that are asked for, or none is asked for.
    AllReady,
    /// Some pods are not ready, and nothing is wrong yet. The report of the last look, if there was one.
    Starting(Option<&'a Report>),
    /// Some pods are not ready, and the reason is known, or they have been starting for too long.
    Failing {
        /// The reason.
        trouble: Trouble,
        /// The last look, if there was one.
        report: Option<&'a Report>,
        /// Time from their becoming unready to that look.
        lasted: Duration,
        /// No pod is ready, or one has been for a moment only.
        none_ready: bool,
    },
    /// The last status holds: there was no look since a restart, or all pods have been ready for a moment only, after a trouble.
    AsBefore {
        /// No pod is ready, or one has been for a moment only.
        none_ready: bool,
    },
}

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Look at the pods now.
    Look,
    /// Something is due after this.
    Wait(Duration),
    /// Nothing, until the watch shows a change.
    Rest,
}

/// The pods of one pool that are not ready, or have not been for long. Without an allocation while all are.
#[derive(Debug, Default)]
pub struct PodsTracker {
    episode: Option<Box<Episode>>,
    /// The counts were seen before: the status is this operator's own.
    is_begun: bool,
}

/// A time in which fewer pods are ready than the workload asks for.
#[derive(Debug)]
struct Episode {
    /// The generation of the pool's spec that it is about.
    generation: Option<i64>,
    since: Instant,
    /// The end of the last moment in which all were ready; `since` without one.
    unready_since: Instant,
    /// The time since which all are ready: the episode may be over.
    all_ready_since: Option<Instant>,
    none_ready: bool,
    /// The time since which some are ready, while `none_ready` still holds.
    some_ready_since: Option<Instant>,
    /// The last look, and how long the episode had lasted.
    report: Option<(Report, Duration)>,
    /// The reason of an earlier status, until the first look.
    earlier: Option<Trouble>,
    looks: u32,
    next_look: Instant,
    slot: Option<Slot>,
    /// The look that is under way.
    under_way: Option<oneshot::Receiver<Looked>>,
    /// The page with which the next look goes on, if the last one listed a part of the pods and found nothing.
    next_page: Option<String>,
}

/// The result of a look; `None` where it failed.
pub(super) type Looked = Option<(Report, Option<String>)>;

impl PodsTracker {
    /// Takes in the counts that the watch shows. `earlier` is read with the first counts alone, where not all pods are ready.
    pub fn observe(
        &mut self,
        counts: PodCounts,
        generation: Option<i64>,
        now: Instant,
        earlier: impl FnOnce() -> Option<Earlier>,
    ) {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        if counts.asked == 0 || (self.episode.is_none() && counts.all_ready()) {
            self.episode = None;
            return;
        }
        let episode = self.episode.get_or_insert_with(|| {
            let earlier = if is_first { earlier() } else { None };
            Box::new(Episode::new(counts, generation, now, earlier))
        });
        if episode.generation != generation {
            episode.edited(generation, now);
        }
        episode.observe(counts, now);
        if episode.is_over(now) {
            self.episode = None;
        }
    }

    /// Ends the episode: nothing is known of the target's pods.
    pub fn reset(&mut self) {
        self.episode = None;
    }

    /// The reason for which pods are not ready, as of the last look, or of the status before a restart. `None` once all are ready, and
    /// before the first look. For 15 s after an edit of the pool, until the next look, it is that of the pods before the edit.
    #[cfg(test)]
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let episode = self.episode.as_deref()?;
        let found = episode.report.as_ref().map(|(report, _)| report.trouble);
        found.or(episode.earlier)
    }

    /// What the last look found of the template of the Deployment that was applied with this hash.
    #[must_use]
    pub fn template(&self, applied: Option<&str>) -> Option<&TemplateReport> {
        let (report, _) = self.episode.as_deref()?.report.as_ref()?;
        let template = report.template.as_ref()?;
        (Some(template.applied.as_str()) == applied).then_some(template)
    }

    /// Readiness of the pods at this time.
    #[must_use]
    pub fn readiness(&self, now: Instant) -> Readiness<'_> {
        self.episode
            .as_deref()
            .map_or(Readiness::AllReady, |episode| episode.readiness(now))
    }

    /// The next thing to do. Answers [`Step::Look`] once for each look.
    pub(super) fn step(&mut self, pacer: &LookPacer, now: Instant) -> Step {
        let Some(episode) = &mut self.episode else {
            return Step::Rest;
        };
        episode.receive(now);
        let until_look = match episode.look_step(pacer, now) {
            Step::Look => return Step::Look,
            Step::Wait(wait) => Some(wait),
            Step::Rest => None,
        };
        let others = episode.changes_at(now).into_iter().flatten();
        let others = others.map(|at| at.saturating_duration_since(now));
        others.chain(until_look).min().map_or(Step::Rest, Step::Wait)
    }

    /// The page of pods that the next look lists: a workload may have more than one look lists.
    pub(super) fn next_page(&self) -> Option<String> {
        self.episode.as_deref()?.next_page.clone()
    }

    /// A look was begun, whose result comes by this channel.
    pub(super) fn begun(&mut self, result: oneshot::Receiver<Looked>) {
        if let Some(episode) = &mut self.episode {
            episode.under_way = Some(result);
        }
    }
}

impl Episode {
    fn new(counts: PodCounts, generation: Option<i64>, now: Instant, earlier: Option<Earlier>) -> Self {
        let lasted = earlier.map_or(Duration::ZERO, |earlier| earlier.lasted);
        let since = now.checked_sub(lasted).unwrap_or(now);
        let trouble = earlier.and_then(|earlier| earlier.trouble);
        Self {
            generation,
            since,
            unready_since: since,
            all_ready_since: None,
            none_ready: counts.ready == 0,
            some_ready_since: None,
            report: None,
            earlier: trouble,
            looks: trouble.map_or(0, |_| NEW_LOOKS),
            next_look: now + FIRST_LOOK_AFTER.saturating_sub(lasted),
            slot: None,
            under_way: None,
            next_page: None,
        }
    }

    fn trouble(&self) -> Option<Trouble> {
        let found = self.report.as_ref().map(|(report, _)| report.trouble);
        found
            .or(self.earlier)
            .filter(|trouble| *trouble != Trouble::Starting)
    }

    /// An edit may have removed the cause, or have nothing to do with it: the trouble stays until a look that comes soon.
    fn edited(&mut self, generation: Option<i64>, now: Instant) {
        self.generation = generation;
        self.looks = 0;
        self.slot = None;
        self.next_look = now + FIRST_LOOK_AFTER;
    }

    fn observe(&mut self, counts: PodCounts, now: Instant) {
        if counts.all_ready() {
            self.all_ready_since.get_or_insert(now);
            self.slot = None;
            if self.trouble().is_none() {
                // It said how pods were starting.
                self.report = None;
            }
        } else if self.all_ready_since.take().is_some() {
            self.unready_since = now;
        }
        if counts.ready == 0 {
            if !self.none_ready {
                // The last look, which may be minutes old, is about other pods.
                self.next_look = self.next_look.min(now + FIRST_LOOK_AFTER);
            }
            self.none_ready = true;
            self.some_ready_since = None;
        } else if self.none_ready {
            let since = *self.some_ready_since.get_or_insert(now);
            self.none_ready = self.trouble().is_some() && now < since + CURED_AFTER;
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.all_ready_since
            .is_some_and(|since| now >= since + CURED_AFTER)
    }

    fn readiness(&self, now: Instant) -> Readiness<'_> {
        let none_ready = self.none_ready;
        if self.all_ready_since.is_some() && self.trouble().is_none() {
            return Readiness::AllReady;
        }
        if self.all_ready_since.is_some() || (self.report.is_none() && self.earlier.is_some()) {
            return Readiness::AsBefore { none_ready };
        }
        let report = self.report.as_ref().map(|(report, _)| report);
        let lasted = self.report.as_ref().map_or(Duration::ZERO, |(_, lasted)| *lasted);
        match self.trouble() {
            Some(trouble) => Readiness::Failing {
                trouble,
                report,
                lasted,
                none_ready,
            },
            None if self.is_late(now) => Readiness::Failing {
                trouble: Trouble::Starting,
                report,
                lasted: lasted.max(START_LIMIT),
                none_ready,
            },
            None => Readiness::Starting(report),
        }
    }

    /// Pods have been starting for too long. Where there was a look, another one has to confirm it: in a pool that keeps growing some
    /// pod is always starting, but not the same.
    fn is_late(&self, now: Instant) -> bool {
        let late_at = self.late_at();
        let looked_at = self.report.as_ref().map(|(_, lasted)| self.since + *lasted);
        now >= late_at && looked_at.is_none_or(|looked_at| looked_at >= late_at)
    }

    /// The time from which the oldest pod that is starting has been doing so for too long.
    fn late_at(&self) -> Instant {
        let report = self.report.as_ref();
        let oldest = report.and_then(|(report, lasted)| {
            let seen_at = self.since.checked_add(*lasted)?;
            seen_at.checked_sub(report.starting_for?)
        });
        oldest.unwrap_or(self.since).max(self.unready_since) + START_LIMIT
    }

    /// The times at which the readiness may change though the watch shows nothing.
    fn changes_at(&self, now: Instant) -> [Option<Instant>; 3] {
        let late_at = self.late_at();
        let is_starting = self.all_ready_since.is_none() && self.trouble().is_none() && now < late_at;
        [
            self.all_ready_since.map(|since| since + CURED_AFTER),
            self.some_ready_since
                .filter(|_| self.none_ready)
                .map(|since| since + CURED_AFTER),
            is_starting.then_some(late_at),
        ]
    }

    /// The next thing to do for a look alone; nothing while all are ready.
    fn look_step(&mut self, pacer: &LookPacer, now: Instant) -> Step {
        if self.all_ready_since.is_some() {
            return Step::Rest;
        }
        if self.under_way.is_some() {
            return Step::Wait(RESULT_INTERVAL);
        }
        if now < self.next_look {
            return Step::Wait(self.next_look - now);
        }
        let slot = self.slot.take().unwrap_or_else(|| {
            if self.looks < NEW_LOOKS {
                pacer.reserve_new(now)
            } else {
                pacer.reserve_known(now)
            }
        });
        if now < slot.at() {
            let wait = slot.at() - now;
            self.slot = Some(slot);
            return Step::Wait(wait);
        }
        slot.use_up();
        let interval = FIRST_LOOK_AFTER.saturating_mul(2_u32.saturating_pow(self.looks));
        self.next_look = now + interval.min(LAST_INTERVAL);
        self.looks = self.looks.saturating_add(1);
        Step::Look
    }

    fn receive(&mut self, now: Instant) {
        let Some(result) = &mut self.under_way else {
            return;
        };
        let looked = match result.try_recv() {
            Ok(looked) => looked,
            Err(TryRecvError::Empty) => return,
            // It panicked.
            Err(TryRecvError::Closed) => None,
        };
        self.under_way = None;
        self.next_page = None;
        let Some((report, next_page)) = looked else {
            return;
        };
        let is_starting = report.trouble == Trouble::Starting;
        self.next_page = next_page.filter(|_| is_starting);
        if is_starting && self.trouble().is_some() {
            if report.is_partial {
                // The pods with the trouble may not have been listed this time.
                return;
            }
            // Pods that start after a trouble have as long as those of a new pool.
            self.since = now;
        }
        self.report = Some((report, now.saturating_duration_since(self.since)));
        let late_at = self.late_at();
        if is_starting && late_at > now {
            self.next_look = self.next_look.min(late_at);
        }
    }
}
