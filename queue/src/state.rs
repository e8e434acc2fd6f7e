//! How far a job is, for who mirrors it elsewhere.

use crate::{ResultHead, Status};

/// How far a run is, as its handler says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// How much is done, of a hundred; more than that counts as a hundred. `None`: nobody can say.
    pub percent: Option<u8>,
    /// What is being done; the first KiB is kept.
    pub message: String,
}

/// All that is known of a job at one moment, besides what was submitted. Times are Unix milliseconds of the server's
/// clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobState {
    /// How far it is.
    pub status: Status,
    /// Runs begun.
    pub attempts: u64,
    /// Runs that failed or timed out, since it was last retried.
    pub failures: u64,
    /// Runs whose worker was lost, since it was last retried.
    pub lost: u64,
    /// The IP of the pod that has it, or had it last when it ended.
    pub worker_ip: Option<String>,
    /// The name of that pod, if its worker was told it; of watched jobs only.
    pub worker_pod: Option<String>,
    /// When it was submitted; `None` for jobs of foreign producers.
    pub submitted_ms: Option<u64>,
    /// When its last run began. Of jobs that are not watched it is forgotten when the run is over.
    pub started_ms: Option<u64>,
    /// When it was complete, cancelled or given up.
    pub finished_ms: Option<u64>,
    /// When it runs again, if it waits for a time.
    pub due_ms: Option<u64>,
    /// What its last run said last.
    pub progress: Option<Progress>,
    /// Why it was given up.
    pub reason: Option<String>,
    /// The last error; at most 1 KiB.
    pub error: Option<String>,
    /// What it gave, once it is complete.
    pub result: Option<ResultHead>,
}
