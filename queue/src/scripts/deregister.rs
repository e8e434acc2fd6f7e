use redis::{Cmd, Value};

use super::{Script, Step, script};
use crate::{Nonce, Result};

script!(DEREGISTER = "prelude.lua", "deregister.lua");

/// Strikes a worker off the registry: see `deregister.lua`.
pub(crate) struct Deregister<'a>(pub(crate) &'a Nonce);

impl Step for Deregister<'_> {
    type Answer = ();

    fn script(&self) -> &'static Script {
        &DEREGISTER
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(self.0.as_str());
    }

    fn read(&self, _answer: Value) -> Result<Self::Answer> {
        Ok(())
    }
}
