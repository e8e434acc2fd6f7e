//! Scaling down without cutting a job.
//!
//! Kubernetes chooses which pods go, and knows nothing of jobs. So before the count of a ReplicaSet, or of the Deployment above
//! it, is lowered:
//!
//! 1. *Ask.* Pods that hold nothing are marked in Redis, atomically: a marked pod claims nothing more.
//! 2. *Prefer.* They, and only they, get a negative deletion cost. Where all pods go there is nothing to prefer.
//! 3. *Settle.* The ReplicaSet controller sees the costs by a watch of its own, that lags behind our patch: a second is
//!    waited, and then, where its status can tell, until it has seen them (`pods::Found::costs_seen`).
//! 4. *Look again*, and lower the count by exactly those, if Kubernetes would take exactly those. The version of the
//!    Deployment goes with the patch, so that nobody else's change is acted on unseen.
//!
//! The pods of a StatefulSet go by their ordinals, the highest first, and no cost helps: the highest are
//! marked, busy or not, and the count falls as far as they have become idle.
//!
//! In the middle of a Deployment's roll-out, which may be stuck forever, the count falls to 0 or not at all: the pods of all
//! its ReplicaSets are marked, busy or not, and it falls once all of them hold nothing.
//!
//! A worker that is not ours knows no marks. Redis knows whether it works (`queue::ForeignWorkers`), which is asked once more
//! right before the count falls; when its pod is to end and it waits for a job, it is told so (`queues::foreign`).
//!
//! The pods keep their marks until they have ended (`going`).
//!
//! Each step is one call of [`ScaleDown::step`]; nothing here waits. A scale-down that is no longer wanted is
//! [abandoned](ScaleDown::abandon): marks lifted, costs cleared.

mod going;
pub mod order;
pub mod patience;
mod pods;
pub mod victims;

use std::time::{Duration, Instant};

use kube::{Client, ResourceExt};
use queue::Mark;

pub(crate) use self::pods::{LEAVING, STAYING};
use self::{
    going::{Going, Recall},
    pods::Found,
    victims::{Victim, plan_marks, plan_second_look, plan_victims, would_go},
};
pub use self::{order::Order, pods::clear_leftovers};
use crate::{
    PoolRef,
    error::Error,
    objects::Pod,
    queues::{Errand, Marks, Queues, View},
    targets::{Kind, Workload},
};

/// The ReplicaSet controller's cache lags a patch by milliseconds at rest; it took the wrong pod in 5 of 100 cases at once
/// after the patch, under 700 patches a second, and in none after a second.
const SETTLE: Duration = Duration::from_secs(1);
/// Until the controller has seen the costs, its status is read again after so long.
const SEEN_APART: Duration = Duration::from_millis(200);
/// A controller whose status has not told by then is taken to have seen them: somebody else may change the pods' labels.
const SEEN_PATIENCE: Duration = Duration::from_secs(10);
/// Pods that are all busy are asked again after so long.
const ASK_APART: Duration = Duration::from_secs(1);
/// An answer that has not come by then is asked for again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Marks older than this may end before the pods have gone.
const MARKS_USABLE: Duration = Duration::from_secs(20);
/// No mark keeps a worker that is not ours from taking a job. Its pod goes only if it was seen to be idle within this time.
const FOREIGN_LOOK_USABLE: Duration = Duration::from_secs(2);
/// In the middle of a roll-out nothing is lowered in part; its end wakes us, this is only in case.
const ROLL_OUT_RETRY: Duration = Duration::from_secs(10);

/// A scale-down under way.
#[derive(Debug, Default)]
pub struct ScaleDown {
    step: Step,
    /// UIDs that bear a mark of ours.
    marked: Vec<String>,
    asked_at: Option<Instant>,
    /// Fewer pods are there than asked for: so many, since then.
    incomplete: Option<(u32, Instant)>,
    /// It was given up before the answer came, which may tell of marks.
    answer_unheard: bool,
    /// Pods that the count was lowered by.
    going: Option<Going>,
}

#[derive(Debug, Default)]
enum Step {
    #[default]
    Idle,
    Asked,
    Settling {
        victims: Vec<Victim>,
        marks_at: Instant,
        until: Instant,
        second_look: SecondLook,
    },
    /// They go with the count, without a preference.
    Leaving {
        victims: Vec<Victim>,
    },
}

/// Whether it is looked once more, at the last moment, who is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SecondLook {
    /// Marks keep the victims idle.
    Needless,
    /// Some have workers that are not ours, and no mark keeps those from taking a job.
    Due,
    /// It was asked for.
    Asked,
}

/// What is to be lowered.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// To Kubernetes.
    pub client: &'a Client,
    /// To Redis.
    pub queues: &'a Queues,
    /// Whose.
    pub pool: &'a PoolRef,
    /// Its kind.
    pub kind: Kind,
    /// What has the pods.
    pub workload: &'a Workload,
    /// The term of leadership.
    pub epoch: u64,
    /// By what they go.
    pub order: Order,
    /// Its count now.
    pub current: u32,
    /// The count wanted.
    pub to: u32,
    /// Whether busy pods are marked too, to become idle: where pods run several jobs at once, they seldom are.
    pub mark: Mark,
}

impl Target<'_> {
    async fn pods(&self) -> Result<Option<Found>, Error> {
        pods::of(self.client, self.kind, self.workload, self.order).await
    }

    /// Whether the count may be lowered at all. In the middle of a roll-out only where all pods go: by a count above 0 the
    /// Deployment controller would shrink old and new ReplicaSets alike, and take pods that nobody chose.
    fn may_shrink(&self, found: &Found) -> bool {
        found.rolling_out.is_none() || self.to == 0
    }

    /// `None` in the middle of a roll-out.
    async fn pods_unless_rolling_out(&self) -> Result<Option<Found>, Error> {
        Ok(self.pods().await?.filter(|found| found.rolling_out.is_none()))
    }
}

/// How a scale-down goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Lower the count to this, now.
    Lower(u32),
    /// Under way; look again after this time.
    Waiting(Duration),
    /// Not possible now; look again after this time.
    HeldBack(HeldBack, Duration),
}

/// Why a count cannot be lowered now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldBack {
    /// All pods that would have to go hold a job.
    BusyWorkers,
    /// A roll-out is under way, and Kubernetes would shrink old and new pods alike. Does not keep a count from falling to 0.
    RollingOut,
    /// Redis could not be asked who is idle.
    CannotAsk(String),
}

impl ScaleDown {
    /// Does what is next.
    ///
    /// # Errors
    /// What the API server answers. The step is tried again.
    pub async fn step(&mut self, target: Target<'_>, view: &View, now: Instant) -> Result<Progress, Error> {
        self.lift_unheard(target.queues, target.pool, view);
        match &self.step {
            Step::Idle => self.ask(target, now).await,
            Step::Asked | Step::Leaving { .. } => self.hear(target, view, now).await,
            Step::Settling { until, .. } if now < *until => Ok(Progress::Waiting(*until - now)),
            Step::Settling {
                second_look: SecondLook::Due,
                ..
            } => Ok(self.ask_once_more(target, now)),
            Step::Settling { .. } => self.look_again(target, view, now).await,
        }
    }

    /// Gives up what is under way, if anything is: the pods work on.
    ///
    /// # Errors
    /// What the API server answers to clearing the costs; it is tried again with the next call.
    pub async fn abandon(
        &mut self,
        client: &Client,
        queues: &Queues,
        pool: &PoolRef,
        view: &View,
    ) -> Result<(), Error> {
        self.answer_unheard |= matches!(
            self.step,
            Step::Asked
                | Step::Settling {
                    second_look: SecondLook::Asked,
                    ..
                }
        );
        self.lift_unheard(queues, pool, view);
        if !self.marked.is_empty() {
            queues.send(pool, Errand::Unmark(std::mem::take(&mut self.marked)));
        }
        if let Step::Settling { victims, .. } = &self.step {
            pods::clear_costs(client, pool, names(victims)).await?;
        }
        self.step = Step::Idle;
        self.incomplete = None;
        Ok(())
    }

    /// To be called when the count has been lowered to this: the victims keep their marks until they end.
    pub fn done(&mut self, queues: &Queues, pool: &PoolRef, left: u32) {
        if let Step::Settling { victims, .. } | Step::Leaving { victims } = std::mem::take(&mut self.step) {
            self.marked
                .retain(|uid| victims.iter().all(|victim| victim.uid != *uid));
            let keep = Going::add(&mut self.going, &victims, left, Instant::now());
            queues.send(pool, keep);
        } else {
            self.marked.clear();
        }
        self.asked_at = None;
        self.incomplete = None;
    }

    /// Lifts the marks of pods that the count was lowered by and that stay, as it was raised again; answers when to look for them.
    ///
    /// # Errors
    /// What the API server answers; it is tried again with the next call.
    pub async fn recall(&mut self, target: Target<'_>, now: Instant) -> Result<Option<Duration>, Error> {
        let Some(going) = &mut self.going else {
            return Ok(None);
        };
        match going.recall(target.current, now) {
            Recall::No => return Ok(None),
            Recall::In(wait) => return Ok(Some(wait)),
            Recall::Now => {}
        }
        let Some(Found { pods, .. }) = target.pods_unless_rolling_out().await? else {
            return Ok(Some(ROLL_OUT_RETRY));
        };
        let staying = self
            .going
            .take()
            .map_or_else(Vec::new, |going| going.staying(&pods));
        if !staying.is_empty() {
            target.queues.send(target.pool, Errand::Unmark(staying));
        }
        Ok(None)
    }

    /// Lifts the marks of which an answer tells that nobody waits for any more.
    fn lift_unheard(&mut self, queues: &Queues, pool: &PoolRef, view: &View) {
        if !self.answer_unheard {
            return;
        }
        if let Some(answer) = &view.marks {
            self.answer_unheard = false;
            if let Ok(marks) = answer {
                queues.send(pool, Errand::Unmark(marks.marked.iter().cloned().collect()));
            }
        }
    }

    async fn ask(&mut self, target: Target<'_>, now: Instant) -> Result<Progress, Error> {
        if let Some(again) = self
            .asked_at
            .map(|at| at + ASK_APART)
            .filter(|again| now < *again)
        {
            return Ok(Progress::HeldBack(HeldBack::BusyWorkers, again - now));
        }
        let Some(found) = target.pods().await?.filter(|found| target.may_shrink(found)) else {
            self.lift_all_but(|_| false, target);
            return Ok(Progress::HeldBack(HeldBack::RollingOut, ROLL_OUT_RETRY));
        };
        if let Some(progress) = self.await_count(&found, target, now) {
            return Ok(progress);
        }
        let pods = found.pods;
        let count = target.order.excess(&pods, target.to);
        self.asked_at = Some(now);
        self.step = Step::Asked;
        let errand = Errand::Mark(plan_marks(&pods, count, target.order, target.mark));
        target.queues.send(target.pool, errand);
        Ok(Progress::Waiting(ANSWER_TIMEOUT))
    }

    /// Pods may be missing, or one too many: what to do before any is marked. `None` to go on.
    fn await_count(&mut self, found: &Found, target: Target<'_>, now: Instant) -> Option<Progress> {
        let there = target.order.count(&found.pods);
        if let Some(wanted) = found.rolling_out {
            // All pods go. A pod that is just being made bears no mark yet and would go with them.
            let wait = match there {
                0 => return Some(Progress::Lower(target.to)),
                _ if there < wanted => self.wait_for_more(there, now),
                _ => Duration::ZERO,
            };
            return (!wait.is_zero()).then_some(Progress::Waiting(wait));
        }
        if there < target.current {
            return Some(self.lower_to_those_there(there, target.to, now));
        }
        self.incomplete = None;
        // The last change is still being carried out.
        (there > target.current).then_some(Progress::Waiting(ASK_APART))
    }

    /// Some pods will never be, and nobody goes for these. Or they are just being made: the controller would then have as
    /// many too many, and take whichever is not ready yet, busy or not. So only if none has come for a while; where there is none
    /// at all, none can be busy by the time that the count is written.
    fn lower_to_those_there(&mut self, there: u32, to: u32, now: Instant) -> Progress {
        if there == 0 {
            return Progress::Lower(to);
        }
        match self.wait_for_more(there, now) {
            Duration::ZERO => Progress::Lower(to.max(there)),
            wait => Progress::Waiting(wait),
        }
    }

    /// How long no pod must come any more before the missing ones count as such that will never be.
    fn wait_for_more(&mut self, there: u32, now: Instant) -> Duration {
        let since = match self.incomplete {
            Some((as_many, since)) if as_many == there => since,
            _ => now,
        };
        self.incomplete = Some((there, since));
        (since + SETTLE).saturating_duration_since(now)
    }

    async fn hear(&mut self, target: Target<'_>, view: &View, now: Instant) -> Result<Progress, Error> {
        let asked_at = self.asked_at.unwrap_or(now);
        match &view.marks {
            Some(Ok(marks)) if now < marks.at + MARKS_USABLE => self.choose(target, view, marks, now).await,
            Some(Ok(_)) => {
                self.step = Step::Idle;
                self.ask(target, now).await
            }
            Some(Err(error)) => {
                self.step = Step::Idle;
                Ok(Progress::HeldBack(
                    HeldBack::CannotAsk(error.to_string()),
                    ANSWER_TIMEOUT,
                ))
            }
            _ if now >= asked_at + ANSWER_TIMEOUT => {
                self.step = Step::Idle;
                self.ask(target, now).await
            }
            _ => Ok(Progress::Waiting(asked_at + ANSWER_TIMEOUT - now)),
        }
    }

    async fn choose(
        &mut self,
        target: Target<'_>,
        view: &View,
        marks: &Marks,
        now: Instant,
    ) -> Result<Progress, Error> {
        self.lift_all_but(|uid| marks.marked.contains(uid), target);
        self.marked = marks.marked.iter().cloned().collect();
        let Some(found) = target.pods().await?.filter(|found| target.may_shrink(found)) else {
            self.abandon(target.client, target.queues, target.pool, view)
                .await?;
            return Ok(Progress::HeldBack(HeldBack::RollingOut, ROLL_OUT_RETRY));
        };
        let Found {
            pods, rolling_out, ..
        } = found;
        let count = target.order.excess(&pods, target.to);
        let mut victims = plan_victims(&pods, count, target.order, marks);
        let all = victims.len() == pods.len();
        if rolling_out.is_some() && !all {
            victims.clear();
        }
        // Marked pods that do not go now work on, unless they are to become idle.
        if target.mark != Mark::Drain {
            self.lift_all_but(|uid| victims.iter().any(|victim| victim.uid == uid), target);
        }
        if victims.is_empty() {
            self.step = Step::Idle;
            return Ok(Progress::HeldBack(HeldBack::BusyWorkers, ASK_APART));
        }
        if all || target.order != Order::Costs {
            if marks.foreign && now >= marks.at + FOREIGN_LOOK_USABLE {
                self.step = Step::Idle;
                return self.ask(target, now).await;
            }
            let left = target.order.left(&pods, victims.len());
            self.step = Step::Leaving { victims };
            return Ok(Progress::Lower(left));
        }
        let until = now + SETTLE;
        self.step = Step::Settling {
            victims: victims.clone(),
            marks_at: marks.at,
            until,
            second_look: if marks.foreign {
                SecondLook::Due
            } else {
                SecondLook::Needless
            },
        };
        prefer(&pods, &victims, target).await?;
        if let Step::Settling { until, .. } = &mut self.step {
            *until = Instant::now() + SETTLE;
        }
        Ok(Progress::Waiting(SETTLE))
    }

    /// The wait for the answer is until the mark of the first look ends, at the longest.
    fn ask_once_more(&mut self, target: Target<'_>, now: Instant) -> Progress {
        let Step::Settling {
            victims, second_look, ..
        } = &mut self.step
        else {
            return Progress::Waiting(Duration::ZERO);
        };
        *second_look = SecondLook::Asked;
        self.asked_at = Some(now);
        let errand = Errand::Mark(plan_second_look(victims, target.mark));
        target.queues.send(target.pool, errand);
        Progress::Waiting(ANSWER_TIMEOUT)
    }

    /// Whether the victims of a second look are still idle; `None` until that is known.
    fn still_idle(&self, view: &View, now: Instant) -> Option<bool> {
        let Step::Settling {
            victims,
            second_look: SecondLook::Asked,
            ..
        } = &self.step
        else {
            return Some(true);
        };
        match &view.marks {
            Some(Ok(marks)) => Some(victims.iter().all(|victim| marks.idle.contains(&victim.uid))),
            Some(Err(_)) => Some(false),
            None => {
                let late = self.asked_at.is_none_or(|at| now >= at + ANSWER_TIMEOUT);
                late.then_some(false)
            }
        }
    }

    async fn look_again(&mut self, target: Target<'_>, view: &View, now: Instant) -> Result<Progress, Error> {
        let Some(still_idle) = self.still_idle(view, now) else {
            return Ok(Progress::Waiting(ANSWER_TIMEOUT));
        };
        let found = if still_idle {
            target.pods_unless_rolling_out().await?
        } else {
            None
        };
        if let (
            Step::Settling {
                victims,
                marks_at,
                until,
                ..
            },
            Some(found),
        ) = (&self.step, found)
        {
            if found.costs_seen() == Some(false) && now < *until + SEEN_PATIENCE {
                return Ok(Progress::Waiting(SEEN_APART));
            }
            let pods = found.pods;
            let left = target.order.left(&pods, victims.len());
            let fresh = now < *marks_at + MARKS_USABLE;
            let complete = pods.len() == target.current as usize;
            if fresh && complete && left >= target.to && would_go(&pods, victims) {
                return Ok(Progress::Lower(left));
            }
        }
        self.abandon(target.client, target.queues, target.pool, view)
            .await?;
        Ok(Progress::Waiting(Duration::ZERO))
    }

    /// Lifts the marks of pods that need none any more.
    fn lift_all_but(&mut self, keeps: impl Fn(&str) -> bool, target: Target<'_>) {
        let (kept, lifted) = self.marked.drain(..).partition(|uid| keeps(uid));
        self.marked = kept;
        if !Vec::is_empty(&lifted) {
            target.queues.send(target.pool, Errand::Unmark(lifted));
        }
    }
}

/// Gives the victims a cost, and takes that of others away, which an earlier term left.
async fn prefer(pods: &[Pod], victims: &[Victim], target: Target<'_>) -> Result<(), Error> {
    let goes = |pod: &&Pod| {
        victims
            .iter()
            .any(|victim| Some(&victim.uid) == pod.metadata.uid.as_ref())
    };
    let left_behind = pods.iter().filter(|pod| pods::is_leaving(pod) && !goes(pod));
    let left_behind = left_behind.map(ResourceExt::name_any).collect();
    pods::clear_costs(target.client, target.pool, left_behind).await?;
    pods::set_costs(target.client, target.pool, target.epoch, names(victims)).await
}

fn names(victims: &[Victim]) -> Vec<String> {
    victims.iter().map(|victim| victim.name.clone()).collect()
}

#[cfg(test)]
mod tests;
