use std::time::Instant;

use queue::Reading;

/// A reading of a queue with so many jobs, and nothing else.
pub(crate) fn reading(waiting: u64, running: u64) -> Reading {
    Reading {
        waiting,
        arrivals: 0,
        running,
        delayed: 0,
        due: 0,
        dead: 0,
        changed: 0,
        next_due_ms: None,
        oldest_submitted_ms: None,
        completed: 0,
        completed_busy_ms: 0,
        counts: queue::Counts::default(),
        server_time_ms: 0,
        run_id: "a".to_owned(),
        tracked: true,
        read_at: Instant::now(),
    }
}
