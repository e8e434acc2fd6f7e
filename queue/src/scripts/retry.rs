use redis::{Cmd, Value};

use super::{Script, Step, script};
use crate::{Result, Retried, Status, keys::Keys, reply};

script!(RETRY = "prelude.lua", "settings.lua", "types.lua", "retry.lua");

/// Puts dead jobs back: see `retry.lua`.
pub(crate) struct RetryDead<'a>(pub(crate) &'a [String]);

impl Step for RetryDead<'_> {
    type Answer = Vec<Retried>;

    fn script(&self) -> &'static Script {
        &RETRY
    }

    fn write_keys(&self, keys: &Keys, cmd: &mut Cmd) {
        keys.write_with_settings_to(cmd);
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(self.0);
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        reply::array(answer)?.into_iter().map(read_one).collect()
    }
}

fn read_one(answer: Value) -> Result<Retried> {
    Ok(match answer {
        Value::Int(1) => Retried::Yes,
        Value::Nil => Retried::NotFound,
        status => Retried::NotDead(Status::from(reply::text(status)?.as_str())),
    })
}
