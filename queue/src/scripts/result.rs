use redis::{Cmd, Value};

use super::{Script, Step, script};
use crate::{JobId, JobResult, Result, ResultLook, Status, reply};

script!(RESULT = "prelude.lua", "result.lua");

/// Looks a job's result up: see `result.lua`.
pub(crate) struct GetResult<'a>(pub(crate) &'a JobId);

impl Step for GetResult<'_> {
    type Answer = ResultLook;

    fn script(&self) -> &'static Script {
        &RESULT
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(self.0.as_str());
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        if answer == Value::Nil {
            return Ok(ResultLook::NotFound);
        }
        let [status, content_type, head, rest] = reply::fields(answer)?;
        let status = Status::from(reply::text(status)?.as_str());
        if status != Status::Complete {
            return Ok(ResultLook::NotFinished(status));
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
