use std::time::{Duration, Instant};

use redis::{Cmd, Value};

use super::{Guard, Purge, Script, Step, claim::millis, jitter_seed, script};
use crate::{Result, Retry, Terms, Tick, connect::Link, keys::Keys, reply};

script!(
    TICK = "prelude.lua",
    "settings.lua",
    "types.lua",
    "delaying.lua",
    "endings.lua",
    "order.lua",
    "guarding.lua",
    "tick.lua"
);

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
    /// And whether there is more to guard.
    type Answer = (Tick, bool);

    fn script(&self) -> &'static Script {
        &TICK
    }

    fn write_keys(&self, keys: &Keys, cmd: &mut Cmd) {
        keys.write_with_settings_to(cmd);
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
            more_to_guard,
        ] = reply::fields(answer)?;
        let tick = Tick {
            skipped: reply::flag(&skipped)?,
            guarded: reply::flag(&guarded)?,
            reaped: reply::count(&reaped)?,
            promoted: reply::count(&promoted)?,
            returned: reply::count(&returned)?,
            expired_workers: reply::count(&expired)?,
            dead: reply::count(&dead)?,
            cancelled: reply::count(&cancelled)?,
            purged: 0,
        };
        Ok((tick, reply::flag(&more_to_guard)?))
    }
}

/// A tick, and after one that was not skipped what is left to guard, and the purge.
pub(crate) async fn tick(link: &Link, keys: &Keys, terms: &Terms) -> Result<Tick> {
    let step = TickQueue {
        lease: terms.lease.duration,
        retry: terms.retry,
    };
    let (mut tick, more_to_guard) = link.run(keys, &step).await?;
    if tick.skipped {
        return Ok(tick);
    }
    if more_to_guard {
        guard(link, keys, step.lease).await?;
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

/// Guards as long as one tick may take; the next tick goes on. It must not take so long that this looks like an outage.
async fn guard(link: &Link, keys: &Keys, lease: Duration) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < lease / 8 && link.run(keys, &Guard { lease }).await? {}
    Ok(())
}
