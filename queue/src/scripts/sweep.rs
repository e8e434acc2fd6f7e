use std::time::Duration;

use redis::{Cmd, Value};

use super::{Script, Step, claim::millis, script};
use crate::{
    Error, Result,
    foreign::{Connections, INTERVAL, MISSING_TIME, Missing, Suspect},
    keys::Keys,
    reply,
};

script!(
    SWEEP = "prelude.lua",
    "settings.lua",
    "types.lua",
    "words.lua",
    "anew.lua",
    "forget.lua",
    "item.lua",
    "line.lua",
    "sweep.lua"
);
script!(SIGHT = "prelude.lua", "settings.lua", "types.lua", "sight.lua");

/// What one look handles of each kind, so that it never holds the server for long (about a millisecond).
pub(super) const LIMIT: usize = 1_000;

/// A status that is not ours has ended its job when it stands there for so long and nobody of ours has the job.
const WORD_TIME: Duration = Duration::from_secs(600);

/// Looks for jobs that foreign workers have: see `sweep.lua`.
pub(crate) struct FindForeign {
    /// Not the first look of a sweep.
    pub(crate) more: bool,
}

/// What was found.
pub(crate) struct Found {
    /// Somebody else swept just before.
    pub(crate) skipped: bool,
    /// There is more to look at.
    pub(crate) more: bool,
    /// Jobs that wait nowhere and that nobody has said to have taken.
    pub(crate) missing: Vec<Missing>,
    /// Jobs that a foreign worker has.
    pub(crate) suspects: Vec<Suspect>,
}

impl Step for FindForeign {
    type Answer = Found;

    fn script(&self) -> &'static Script {
        &SWEEP
    }

    fn write_keys(&self, keys: &Keys, cmd: &mut Cmd) {
        keys.write_with_suspects_and_settings_to(cmd);
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(if self.more { "more" } else { "first" })
            .arg(millis(INTERVAL))
            .arg(LIMIT)
            .arg(millis(WORD_TIME))
            .arg(millis(MISSING_TIME));
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        let mut values = reply::array(answer)?.into_iter();
        let (Some(skipped), Some(more), Some(missing)) = (values.next(), values.next(), values.next()) else {
            return Err(Error::Unexpected("a sweep without its head".to_owned()));
        };
        let mut suspects = Vec::with_capacity(values.len() / 2);
        while let Some(id) = values.next() {
            let worker = values
                .next()
                .ok_or_else(|| Error::Unexpected("a suspect without its worker".to_owned()))?;
            suspects.push(Suspect {
                id: reply::text(id)?,
                worker: reply::text(worker)?,
            });
        }
        Ok(Found {
            skipped: reply::flag(&skipped)?,
            more: reply::flag(&more)?,
            missing: read_missing(missing)?,
            suspects,
        })
    }
}

fn read_missing(answer: Value) -> Result<Vec<Missing>> {
    let mut values = reply::array(answer)?.into_iter();
    let mut missing = Vec::with_capacity(values.len() / 2);
    while let (Some(id), Some(time)) = (values.next(), values.next()) {
        missing.push(Missing {
            id: reply::text(id)?,
            time: Duration::from_millis(reply::count(&time)?),
        });
    }
    Ok(missing)
}

/// Judges them by their workers' connections: see `sight.lua`.
pub(crate) struct Sight<'a> {
    pub(crate) suspects: &'a [Suspect],
    pub(crate) connections: &'a Connections,
    pub(crate) recover: bool,
    pub(crate) max_lost: u32,
}

/// What came of them.
pub(crate) struct Sighted {
    pub(crate) lost: u64,
    pub(crate) recovered: u64,
    pub(crate) dead: u64,
}

impl Step for Sight<'_> {
    type Answer = Sighted;

    fn script(&self) -> &'static Script {
        &SIGHT
    }

    fn write_keys(&self, keys: &Keys, cmd: &mut Cmd) {
        keys.write_with_suspects_and_settings_to(cmd);
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(&self.connections.run_id)
            .arg(u8::from(self.connections.lasting))
            .arg(u8::from(self.recover))
            .arg(self.max_lost)
            .arg(millis(INTERVAL));
        for Suspect { id, worker } in self.suspects {
            let (oldest, newest) = self.connections.of(worker);
            cmd.arg(id).arg(worker).arg(oldest).arg(newest);
        }
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        let [lost, recovered, dead] = reply::fields(answer)?;
        Ok(Sighted {
            lost: reply::count(&lost)?,
            recovered: reply::count(&recovered)?,
            dead: reply::count(&dead)?,
        })
    }
}
