use redis::{Cmd, Value};

use super::{Script, Step, script};
use crate::{NewJob, Result, keys::Keys};

script!(SCRATCH = "prelude.lua", "scratch.lua");

/// Removes what the check made: see `scratch.lua`.
pub(crate) struct Scratch<'a>(pub(crate) &'a [NewJob]);

impl Step for Scratch<'_> {
    type Answer = ();

    fn script(&self) -> &'static Script {
        &SCRATCH
    }

    fn write_keys(&self, keys: &Keys, cmd: &mut Cmd) {
        keys.write_with_suspects_to(cmd);
    }

    fn write_args(&self, cmd: &mut Cmd) {
        for job in self.0 {
            cmd.arg(job.id.as_str());
        }
    }

    fn read(&self, _answer: Value) -> Result<Self::Answer> {
        Ok(())
    }
}
