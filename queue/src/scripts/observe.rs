use std::time::Instant;

use redis::Value;

use super::script;
use crate::{Counts, Reading, Result, connect::check_role, reply};

script!(OBSERVE = "item.lua", "observe.lua");

/// Understands what `observe.lua` answers. A server that is not the master may answer with what was long ago.
pub(crate) fn read_observed(answer: Value, address: &str, tracked: bool) -> Result<Reading> {
    let [
        waiting,
        arrivals,
        running,
        delayed,
        due,
        dead,
        next_due,
        oldest,
        now,
        role,
        run_id,
        changed,
        counts,
    ] = reply::fields(answer)?;
    let role = reply::text(role)?;
    check_role(Some(&role), address)?;
    let counts = Counts::read(&reply::array(counts)?)?;
    Ok(Reading {
        waiting: reply::count(&waiting)?,
        arrivals: reply::count(&arrivals)?,
        running: reply::count(&running)?,
        delayed: reply::count(&delayed)?,
        due: reply::count(&due)?,
        dead: reply::count(&dead)?,
        changed: reply::count(&changed)?,
        next_due_ms: reply::score(next_due)?,
        oldest_submitted_ms: reply::score(oldest)?.map(|us| us / 1000),
        completed: counts.completed,
        completed_busy_ms: counts.completed_busy_ms,
        counts,
        server_time_ms: reply::count(&now)?,
        run_id: reply::text(run_id)?,
        tracked,
        read_at: Instant::now(),
    })
}
