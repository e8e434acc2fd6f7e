use redis::{Cmd, Value};

use super::{Claim, FinishJobs, Script, Step, script};
use crate::{Claims, Finish, Result, keys::Keys, reply};

script!(
    TURN = "prelude.lua",
    "settings.lua",
    "anew.lua",
    "item.lua",
    "odd.lua",
    "look.lua",
    "delaying.lua",
    "claiming.lua",
    "endings.lua",
    "finishing.lua",
    "turn.lua"
);

/// Ends runs and takes jobs: see `turn.lua`.
pub(crate) struct TakeTurn<'a> {
    pub(crate) finish: FinishJobs<'a>,
    pub(crate) claim: Claim<'a>,
}

impl Step for TakeTurn<'_> {
    type Answer = (Vec<Finish>, Claims);

    fn script(&self) -> &'static Script {
        &TURN
    }

    fn write_keys(&self, keys: &Keys, cmd: &mut Cmd) {
        keys.write_with_settings_to(cmd);
    }

    fn write_args(&self, cmd: &mut Cmd) {
        self.claim.write_args(cmd);
        self.finish.write_args(cmd);
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        let [finish, claim] = reply::fields(answer)?;
        Ok((self.finish.read(finish)?, self.claim.read(claim)?))
    }
}
