//! The types of the conditions in a Job's status.

/// It lies in its pool's queue, or did; when false, the reason says what it waits for.
pub const ACCEPTED: &str = "Accepted";
/// It was done. Only there once that is so, as in batch/v1.
pub const COMPLETE: &str = "Complete";
/// It will not be done: given up, cancelled, or refused. Only there once that is so, as in batch/v1.
pub const FAILED: &str = "Failed";
