use redis::{Cmd, Value};

use super::{Script, Step, script, sweep::LIMIT};
use crate::{Result, keys::Keys, reply};

script!(
    MISSING = "prelude.lua",
    "settings.lua",
    "types.lua",
    "item.lua",
    "line.lua",
    "missing.lua"
);

/// Ends jobs that are missing: see `missing.lua`. Answers how many.
pub(crate) struct EndMissing<'a>(pub(crate) &'a [String]);

impl Step for EndMissing<'_> {
    type Answer = u64;

    fn script(&self) -> &'static Script {
        &MISSING
    }

    fn write_keys(&self, keys: &Keys, cmd: &mut Cmd) {
        keys.write_with_suspects_and_settings_to(cmd);
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(LIMIT).arg(self.0);
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        reply::count(&answer)
    }
}
