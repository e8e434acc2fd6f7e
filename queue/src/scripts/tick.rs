use std::time::Duration;

use redis::{Cmd, Value};

use super::{Purge, Script, Step, claim::millis, jitter_seed, script};
use crate::{Result, Retry, Terms, Tick, connect::Link, keys::Keys, reply};

script!(TICK = "prelude.lua", "types.lua", "endings.lua", "tick.lua");

/// Two workers' ticks closer than this are one, or an eighth of a short lease.
const INTERVAL: Duration = Duration::from_millis(500);
/// An item that lay this long in arrivals has no worker of ours that claims.
const ARRIVALS_MAX: Duration = Duration::from_secs(5);
/// What one tick handles of each kind, so that it never holds the server for long.
const LIMIT: usize = 500;
/// What one purge forgets: some 3 ms of the server's time.
const PURGE_LIMIT: usize = 1_000;
/// The most purges after a tick. So a queue can forget as many jobs a second as Redis can finish.
const MAX_PURGES: usize = 100;

/// Ticks: see `tick.lua`.
pub(crate) struct TickQueue {
    pub(crate) lease: Duration,
    pub(crate) retry: Retry,
}

impl Step for TickQueue {
    type Answer = Tick;

    fn script(&self) -> &'static Script {
        &TICK
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(millis(INTERVAL.min(self.lease / 8)))
            .arg(millis(self.lease))
            .arg(millis(self.lease / 2));
        cmd.arg(millis(ARRIVALS_MAX))
            .arg(LIMIT)
            .arg(millis(super::beat::alive(self.lease)));
        cmd.arg(self.retry.max_lost)
            .arg(millis(self.retry.backoff.base))
            .arg(millis(self.retry.backoff.cap))
            .arg(jitter_seed());
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        let [
            skipped,
            guarded,
            reaped,
            promoted,
            returned,
            expired,
            dead,
            cancelled,
        ] = reply::fields(answer)?;
        Ok(Tick {
            skipped: reply::int(&skipped)? == 1,
            guarded: reply::int(&guarded)? == 1,
            reaped: reply::count(&reaped)?,
            promoted: reply::count(&promoted)?,
            returned: reply::count(&returned)?,
            expired_workers: reply::count(&expired)?,
            dead: reply::count(&dead)?,
            cancelled: reply::count(&cancelled)?,
            purged: 0,
        })
    }
}

/// A tick, and after one that was not skipped the purge.
pub(crate) async fn tick(link: &Link, keys: &Keys, terms: &Terms) -> Result<Tick> {
    let step = TickQueue {
        lease: terms.lease.duration,
        retry: terms.retry,
    };
    let mut tick = link.run(keys, &step).await?;
    if tick.skipped {
        return Ok(tick);
    }
    let purge = Purge {
        retention: terms.retention,
        limit: PURGE_LIMIT,
    };
    for _ in 0..MAX_PURGES {
        let purged = link.run(keys, &purge).await?;
        tick.purged += purged.forgotten;
        if purged.found < PURGE_LIMIT as u64 {
            break;
        }
    }
    Ok(tick)
}
