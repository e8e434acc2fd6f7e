//! Who decides how many replicas there should be.

use crate::fleet::Removal;

/// What a scaler may look at.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Seconds since the trace began.
    pub now: f64,
    /// Jobs in line.
    pub waiting: u64,
    /// Jobs that a replica holds.
    pub running: u64,
    /// Jobs completed ever.
    pub completed: u64,
    /// Seconds that those took, added up.
    pub busy_seconds: f64,
    /// Replicas that are asked for.
    pub count: u32,
}

/// Decides.
pub trait Scaler {
    /// Which replicas go first.
    fn removal(&self) -> Removal;

    /// Whether it is told of every change, rather than looking by the clock.
    fn is_told(&self) -> bool;

    /// When to ask it again though nothing changed.
    fn next_look(&self) -> Option<f64>;

    /// The count from now on.
    fn decide(&mut self, seen: &Seen) -> u32;
}
