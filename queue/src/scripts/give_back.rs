use redis::{Cmd, Value};

use super::{Script, Step, script};
use crate::{JobId, Result, Token, keys::Keys, reply};

script!(
    GIVE_BACK = "prelude.lua",
    "settings.lua",
    "delaying.lua",
    "endings.lua",
    "give_back.lua"
);

/// Puts jobs back: see `give_back.lua`.
pub(crate) struct GiveBack<'a>(pub(crate) &'a [(JobId, Token)]);

impl Step for GiveBack<'_> {
    type Answer = u64;

    fn script(&self) -> &'static Script {
        &GIVE_BACK
    }

    fn write_keys(&self, keys: &Keys, cmd: &mut Cmd) {
        keys.write_with_settings_to(cmd);
    }

    fn write_args(&self, cmd: &mut Cmd) {
        for (id, token) in self.0 {
            cmd.arg(id.as_str()).arg(token.as_str());
        }
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        reply::count(&answer)
    }
}
