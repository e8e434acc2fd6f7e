//! From several queues to one demand.

use std::num::NonZeroU32;

/// How the demand of several queues becomes that of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Combine {
    /// All of them together: each job needs a worker's time.
    #[default]
    Sum,
    /// That of the queue that has most: the same workers see to all queues at once.
    Max,
}

/// What one of several queues says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// As how many jobs each of its jobs counts.
    pub weight: NonZeroU32,
    /// Its jobs.
    pub load: Load,
}

/// Jobs, by what is the matter with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Jobs in line, those on their way to a worker included.
    pub waiting: u64,
    /// Jobs that a worker holds.
    pub running: u64,
    /// Retries whose time has come, not yet back in line.
    pub due_retries: u64,
}

impl Load {
    /// All of them.
    #[must_use]
    pub fn demand(&self) -> u64 {
        self.waiting
            .saturating_add(self.due_retries)
            .saturating_add(self.running)
    }

    fn with(self, other: Self, each: fn(u64, u64) -> u64) -> Self {
        Self {
            waiting: each(self.waiting, other.waiting),
            running: each(self.running, other.running),
            due_retries: each(self.due_retries, other.due_retries),
        }
    }
}

impl Share {
    fn weighted(&self) -> Load {
        let times = |jobs: u64| jobs.saturating_mul(self.weight.get().into());
        Load {
            waiting: times(self.load.waiting),
            running: times(self.load.running),
            due_retries: times(self.load.due_retries),
        }
    }
}

impl Combine {
    /// The load of all queues as of one, and with [`Combine::Max`] the place of the queue that has most. Monotone in each
    /// number of each queue; of one queue with weight 1 what that queue says.
    #[must_use]
    pub fn of(self, shares: &[Share]) -> (Load, Option<usize>) {
        match self {
            Self::Sum => {
                let loads = shares.iter().map(Share::weighted);
                (
                    loads.fold(Load::default(), |sum, load| sum.with(load, u64::saturating_add)),
                    None,
                )
            }
            Self::Max => highest(shares),
        }
    }
}

/// The demand is that of the queue with most. What of it runs and is due is as much as in any queue, and not what that one
/// queue says: else a queue that outgrows another could hide that something runs, and put a pool to rest by more demand.
fn highest(shares: &[Share]) -> (Load, Option<usize>) {
    let loads: Vec<_> = shares.iter().map(Share::weighted).collect();
    let demand = loads.iter().map(Load::demand).max().unwrap_or(0);
    let most = loads
        .iter()
        .fold(Load::default(), |most, load| most.with(*load, u64::max));
    let running = most.running;
    let due_retries = most.due_retries.min(demand - running);
    let load = Load {
        waiting: demand - running - due_retries,
        running,
        due_retries,
    };
    let decides = loads.iter().position(|load| load.demand() == demand);
    (load, decides.filter(|_| demand > 0))
}
