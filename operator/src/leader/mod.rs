//! Which of several operators acts: the one that holds a Lease.
//!
//! All of them watch, list and read; one writes. Times are of each one's own clock, and no two clocks are ever compared:
//!
//! - The leader renews the Lease every quarter of its duration, and trusts in a renewal for three quarters of it, counted
//!   from before the renewal was *sent*. After that it starts no write, whatever has become of it meanwhile.
//! - A standby takes the Lease over when it has not *seen* it change for the whole duration. It sees a renewal later than it
//!   was sent, so the leader has stopped by then, with a quarter of the duration to spare.
//! - Every write of the Lease carries the version that it follows upon, so of two that try one succeeds.
//! - A Lease that somebody deleted is made anew by its leader, in the same term. Others leave it to that one for as long as it
//!   may trust in its last renewal.
//!
//! Where to look:
//!
//! - `evaluate`: pure; what to do about the Lease as it was seen.
//! - `lease`: the Lease to write.
//! - [`Election`]: looks, writes, and tells the outcome by a [`Leadership`].
//! - [`Leadership`]: whether this operator leads, and which term it is; [`Guard`]: no write gets past it without.

mod election;
mod evaluate;
mod guard;
mod leadership;
mod lease;

use k8s_openapi::jiff::Timestamp;

pub use self::{
    election::{Election, Timing},
    guard::{Guard, NotLeading},
    leadership::{Leadership, Term},
};

/// The term of an operator that starts now, where there is no election: of two, the one that started later may mark pods.
#[must_use]
pub fn term_by_clock() -> u64 {
    u64::try_from(lease::by_clock(Timestamp::now())).unwrap_or(0)
}
