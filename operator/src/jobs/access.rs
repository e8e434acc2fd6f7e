//! Whether a pool's queue can be reached.

/// Whether a pool's queue can be reached.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Access {
    /// It cannot be told yet: the pool was only just seen.
    Unknown,
    /// There is no such pool.
    Missing {
        /// There was one, and its queue can still be asked.
        was_served: bool,
    },
    /// There is one, and it is not served.
    NotServed {
        /// It was, and its queue can still be asked.
        was_served: bool,
    },
    /// Redis does not do what it should; this is what it said.
    Failing(queue::Error),
    /// It can.
    Open,
}

impl Access {
    /// Whether there is somebody to ask, who may answer or not.
    pub(super) fn is_known(&self) -> bool {
        matches!(self, Self::Open | Self::Failing(_))
    }

    /// Whether there is somebody who can be asked to cancel what was submitted, who may answer or not.
    pub(super) fn reaches_old_jobs(&self) -> bool {
        match self {
            Self::Open | Self::Failing(_) => true,
            Self::Missing { was_served } | Self::NotServed { was_served } => *was_served,
            Self::Unknown => false,
        }
    }
}
