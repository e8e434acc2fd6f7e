use redis::{Cmd, Value};

use super::{Script, Step, script, states::read_progress};
use crate::{Job, JobId, Payload, Result, reply};

script!(GET = "prelude.lua", "get.lua");

/// Looks one job up: see `get.lua`.
pub(crate) struct Get<'a>(pub(crate) &'a JobId);

impl Step for Get<'_> {
    type Answer = Option<Job>;

    fn script(&self) -> &'static Script {
        &GET
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(self.0.as_str());
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        if answer == Value::Nil {
            return Ok(None);
        }
        let [job, progress, payload] = reply::fields(answer)?;
        Ok(Some(Job {
            progress: read_progress(progress)?,
            payload: reply::optional_text(payload)?.map(Payload::kept),
            ..reply::job(reply::fields(job)?)?
        }))
    }
}
