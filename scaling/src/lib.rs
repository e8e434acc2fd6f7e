//! The law: how many replicas, from what was seen.
//!
//! Plain values in and out: no IO, no clock, no Kubernetes, no Redis. The caller observes, calls [`decide`], writes
//! [`Decision::replicas`] and keeps the [`History`]. Read in this order:
//!
//! - [`Policy`]: what the pool's owner asked for.
//! - [`Observation`]: what was seen just now.
//! - [`Combine`]: how several queues become one.
//! - [`Rates`]: how long a job takes and how many arrive, measured.
//! - [`History`]: what was recommended and done before; windows and rates need it.
//! - [`decide`]: the law itself, one step after another.
//! - [`Reason`]: why a number came out, one variant for each branch.
//!
//! `docs/scaling.md` has the same law in prose, with examples to check by hand.

mod combine;
mod decide;
mod decision;
mod demand;
mod history;
mod limits;
mod observation;
mod policy;
mod rates;

pub use combine::{Combine, Load, Share};
pub use decide::decide;
pub use decision::{Decision, Mode, Reason};
pub use history::{History, MAX_PERIOD, MAX_WINDOW};
pub use observation::{Observation, QueueState, Reading, Startup};
pub use policy::{
    Behavior, DEFAULT_FAILURE_THRESHOLD, Fallback, FallbackBehavior, Policy, RateLimit, Rules, SelectPolicy,
    UNPROVEN_REPLICAS,
};
pub use rates::{Counted, Rates};
