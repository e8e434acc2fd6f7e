use redis::{Cmd, Value};

use super::{Script, Step, script};
use crate::{JobId, Progress, Result, Token};

script!(REPORT = "prelude.lua", "report.lua");

/// What is kept of a message.
const MAX_MESSAGE_BYTES: usize = 1_024;

/// Keeps how far runs are: see `report.lua`.
pub(crate) struct Report<'a>(pub(crate) &'a [(JobId, Token, Progress)]);

impl Step for Report<'_> {
    type Answer = ();

    fn script(&self) -> &'static Script {
        &REPORT
    }

    fn write_args(&self, cmd: &mut Cmd) {
        for (id, token, progress) in self.0 {
            let message = &progress.message;
            let message = &message[..message.floor_char_boundary(MAX_MESSAGE_BYTES)];
            cmd.arg(id.as_str()).arg(token.as_str());
            match progress.percent {
                Some(percent) => cmd.arg(percent.min(100)),
                None => cmd.arg(""),
            };
            cmd.arg(message);
        }
    }

    fn read(&self, _answer: Value) -> Result<Self::Answer> {
        Ok(())
    }
}
