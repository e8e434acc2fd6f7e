//! Whether this operator leads.

use std::{sync::Arc, time::Instant};

use tokio::{sync::watch, time::sleep_until};

/// Whether this operator leads, and may write. Clones share it.
#[derive(Clone, Debug)]
pub struct Leadership(Arc<watch::Sender<Standing>>);

/// A time in which this operator leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Higher than in every term before, of whichever operator. The same again if a term that had lapsed goes on, because
    /// nobody else led in between.
    pub epoch: u64,
    /// No write is started from then on, unless it is prolonged; `None` where there is no election.
    until: Option<Instant>,
}

#[derive(Clone, Debug, Default)]
struct Standing {
    term: Option<Term>,
    /// Who leads instead.
    leader: Option<String>,
    /// Why it is not known who leads.
    trouble: Option<String>,
}

impl Term {
    fn holds(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl Leadership {
    /// That of the only operator: for ever.
    #[must_use]
    pub fn permanent(epoch: u64) -> Self {
        let term = Some(Term { epoch, until: None });
        Self::of(Standing {
            term,
            ..Standing::default()
        })
    }

    /// That of one which does not lead yet.
    #[must_use]
    pub fn candidate() -> Self {
        Self::of(Standing {
            trouble: Some("the Lease has not been looked at yet".to_owned()),
            ..Standing::default()
        })
    }

    fn of(standing: Standing) -> Self {
        Self(Arc::new(watch::Sender::new(standing)))
    }

    /// The present term; `None` while this operator does not lead.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        self.term_at(Instant::now())
    }

    fn term_at(&self, now: Instant) -> Option<Term> {
        self.0.borrow().term.filter(|term| term.holds(now))
    }

    /// The epoch of the present term.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.term().map(|term| term.epoch)
    }

    /// Returns once the epoch is another than `last`: a term began, or ended, or both.
    pub async fn changed_from(&self, last: Option<u64>) -> Option<u64> {
        let mut standing = self.0.subscribe();
        loop {
            let term = standing.borrow_and_update().term;
            let epoch = self.epoch();
            if epoch != last {
                return epoch;
            }
            let until = term.and_then(|term| term.until).filter(|_| epoch.is_some());
            tokio::select! {
                // The sender lives as long as this.
                _ = standing.changed() => {}
                () = async {
                    match until {
                        Some(until) => sleep_until(until.into()).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
    }

    /// Passes unless it cannot be found out who leads; for [`telemetry::Health::ready`].
    pub fn check(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let leadership = self.clone();
        move || {
            let leads = leadership.term().is_some();
            let standing = leadership.0.borrow();
            standing.trouble.clone().filter(|_| !leads).map_or(Ok(()), Err)
        }
    }

    /// Says so while another leads; for [`telemetry::Health::warns`].
    pub fn note(&self) -> impl Fn() -> Vec<String> + Send + Sync + 'static {
        let leadership = self.clone();
        move || {
            let standing = leadership.0.borrow();
            let leader = standing.leader.as_ref();
            leader
                .map(|leader| format!("standing by: {leader} leads"))
                .into_iter()
                .collect()
        }
    }

    /// This operator leads, until then.
    pub(super) fn lead(&self, epoch: u64, until: Instant) {
        self.0.send_if_modified(|standing| {
            let goes_on = standing
                .term
                .is_some_and(|term| term.epoch == epoch && term.holds(Instant::now()));
            *standing = Standing {
                term: Some(Term {
                    epoch,
                    until: Some(until),
                }),
                ..Standing::default()
            };
            // Who waits for the end of a term looks again at the end that it knows of.
            !goes_on
        });
    }

    /// Another leads; answers whether that is news.
    pub(super) fn stand_by(&self, leader: &str) -> bool {
        self.0.send_if_modified(|standing| {
            let news = standing.leader.as_deref() != Some(leader);
            *standing = Standing {
                leader: Some(leader.to_owned()),
                ..Standing::default()
            };
            news
        })
    }

    /// Nobody leads that we know of: this one stops.
    pub(super) fn resign(&self) {
        self.0.send_replace(Standing::default());
    }

    /// It cannot be found out who leads; a term goes on until it ends. Answers whether that is news.
    pub(super) fn troubled(&self, why: String) -> bool {
        self.0.send_if_modified(|standing| {
            let news = standing.trouble.as_ref() != Some(&why);
            standing.trouble = Some(why);
            news
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn term_ends_by_the_clock_alone() {
        let leadership = Leadership::candidate();
        let now = Instant::now();
        leadership.lead(7, now + Duration::from_secs(1));
        let epoch = |at| leadership.term_at(at).map(|term| term.epoch);
        assert_eq!(epoch(now), Some(7));
        assert_eq!(epoch(now + Duration::from_millis(999)), Some(7));
        assert_eq!(epoch(now + Duration::from_secs(1)), None);
    }

    #[test]
    fn not_knowing_who_leads_is_told_unless_this_one_leads() {
        let leadership = Leadership::candidate();
        assert!(leadership.check()().is_err(), "not looked yet");
        leadership.stand_by("other");
        assert_eq!(leadership.check()(), Ok(()));
        assert_eq!(leadership.note()(), ["standing by: other leads"]);
        leadership.troubled("forbidden".to_owned());
        assert_eq!(leadership.check()(), Err("forbidden".to_owned()));
        leadership.lead(1, Instant::now() + Duration::from_secs(60));
        assert_eq!(leadership.check()(), Ok(()));
        leadership.troubled("away".to_owned());
        assert_eq!(leadership.check()(), Ok(()), "still leading");
        assert!(leadership.note()().is_empty());
    }

    #[tokio::test]
    async fn who_follows_it_hears_of_a_term_of_its_lapse_and_of_the_next() {
        let leadership = Leadership::candidate();
        let soon = |millis| Instant::now() + Duration::from_millis(millis);
        leadership.lead(3, soon(60_000));
        assert_eq!(leadership.changed_from(None).await, Some(3));
        leadership.stand_by("other");
        assert_eq!(leadership.changed_from(Some(3)).await, None);
        leadership.lead(5, soon(60_000));
        assert_eq!(leadership.changed_from(None).await, Some(5));
        // Between two looks another led, and this one again.
        assert_eq!(leadership.changed_from(Some(3)).await, Some(5));
    }

    #[tokio::test]
    async fn lapse_is_heard_of_though_nobody_says_so() {
        let leadership = Leadership::candidate();
        leadership.lead(3, Instant::now() + Duration::from_millis(20));
        leadership.lead(3, Instant::now() + Duration::from_millis(50));
        assert_eq!(leadership.changed_from(Some(3)).await, None);
    }
}
