use redis::{Cmd, Value};

use super::{Script, Step, script};
use crate::{JobId, JobResult, Result, ResultLook, Status, keys::Keys, reply};

script!(
    RESULT = "prelude.lua",
    "settings.lua",
    "words.lua",
    "head.lua",
    "result.lua"
);

/// Looks a job's result up: see `result.lua`.
pub(crate) struct GetResult<'a>(pub(crate) &'a JobId);

impl Step for GetResult<'_> {
    type Answer = ResultLook;

    fn script(&self) -> &'static Script {
        &RESULT
    }

    fn write_keys(&self, keys: &Keys, cmd: &mut Cmd) {
        keys.write_with_settings_to(cmd);
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(self.0.as_str());
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        if answer == Value::Nil {
            return Ok(ResultLook::NotFound);
        }
        let [status, has_ended, content_type, head, rest] = reply::fields(answer)?;
        let status = Status::from(reply::text(status)?.as_str());
        if status != Status::Complete {
            return Ok(match status {
                Status::Other(_) if reply::flag(&has_ended)? => ResultLook::EndedElsewhere(status),
                status => ResultLook::NotFinished(status),
            });
        }
        if content_type == Value::Nil {
            return Ok(ResultLook::Empty);
        }
        let mut body = reply::bytes(head)?;
        if rest != Value::Nil {
            body.extend(reply::bytes(rest)?);
        }
        Ok(ResultLook::Found(JobResult::kept(
            reply::text(content_type)?,
            body,
        )))
    }
}
