use std::time::Duration;

use redis::{Cmd, Value};

use super::{Script, Step, claim::millis, script};
use crate::{Result, Retention, reply};

script!(
    PURGE = "prelude.lua",
    "types.lua",
    "words.lua",
    "anew.lua",
    "forget.lua",
    "purge.lua"
);

/// Forgets jobs that ended long ago: see `purge.lua`.
pub(crate) struct Purge {
    pub(crate) retention: Retention,
    pub(crate) limit: usize,
}

/// What a purge did.
pub(crate) struct Purged {
    /// How many had been there for long enough.
    pub(crate) found: u64,
    /// How many of those were forgotten.
    pub(crate) forgotten: u64,
}

impl Step for Purge {
    type Answer = Purged;

    fn script(&self) -> &'static Script {
        &PURGE
    }

    fn write_args(&self, cmd: &mut Cmd) {
        // Zero is for ever, so what is to be kept for no time at all is kept for the shortest.
        let keep = |time: Option<Duration>| time.map_or(0, |time| millis(time).max(1));
        cmd.arg(keep(self.retention.finished))
            .arg(keep(self.retention.dead))
            .arg(self.limit);
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        let [found, forgotten] = reply::fields(answer)?;
        Ok(Purged {
            found: reply::count(&found)?,
            forgotten: reply::count(&forgotten)?,
        })
    }
}
