use std::time::Instant;

use redis::{Cmd, Value};

use super::script;
use crate::{Counts, ForeignQueue, Reading, Result, connect::check_role, reply};

script!(LENGTHS = "lengths.lua");

/// The whole of a call of `lengths.lua`.
pub(crate) fn write_lengths_to(cmd: &mut Cmd, queue: &ForeignQueue) {
    cmd.arg(queue.waiting.len() + queue.running.len());
    for key in queue.keys() {
        cmd.arg(&key.name);
    }
    cmd.arg(queue.db).arg(queue.waiting.len());
    for key in queue.keys() {
        cmd.arg(key.kind.as_redis())
            .arg(key.group.as_deref().unwrap_or_default());
    }
}

/// Understands what `lengths.lua` answers. A server that is not the master may answer with what was long ago.
pub(crate) fn read_lengths(answer: Value, address: &str, tracked: bool) -> Result<Reading> {
    let [waiting, running, now, role, run_id] = reply::fields(answer)?;
    let role = reply::text(role)?;
    check_role(Some(&role), address)?;
    Ok(Reading {
        waiting: reply::count(&waiting)?,
        arrivals: 0,
        running: reply::count(&running)?,
        delayed: 0,
        due: 0,
        dead: 0,
        changed: 0,
        next_due_ms: None,
        oldest_submitted_ms: None,
        completed: 0,
        completed_busy_ms: 0,
        counts: Counts::default(),
        server_time_ms: reply::count(&now)?,
        run_id: reply::text(run_id)?,
        tracked,
        read_at: Instant::now(),
    })
}
