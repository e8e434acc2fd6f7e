use std::time::Duration;

use redis::{Cmd, Value};

use super::{Script, Step, account::Account, script};
use crate::{Details, JobId, JobOptions, Result, reply};

script!(DETAILS = "prelude.lua", "account.lua", "details.lua");

/// What is remembered of a job: see `details.lua`.
pub(crate) struct GetDetails<'a>(pub(crate) &'a JobId);

impl Step for GetDetails<'_> {
    type Answer = Option<Details>;

    fn script(&self) -> &'static Script {
        &DETAILS
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(self.0.as_str());
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        if answer == Value::Nil {
            return Ok(None);
        }
        let [account, due, ended, options] = reply::fields(answer)?;
        let account = Account::read(account)?;
        Ok(Some(Details {
            attempts: account.attempts,
            failures: account.failures,
            lost: account.lost,
            interruptions: account.interruptions,
            due_ms: reply::score(due)?,
            finished_ms: reply::score(ended)?,
            reason: account.reason,
            error: account.error,
            history: account.history,
            cancel_requested: account.cancel_requested,
            options: read_options(options)?,
        }))
    }
}

/// What is 0 was not submitted.
fn read_options(answer: Value) -> Result<JobOptions> {
    let [max_attempts, timeout, watched] = reply::fields(answer)?;
    let (max_attempts, timeout) = (reply::count(&max_attempts)?, reply::count(&timeout)?);
    Ok(JobOptions {
        max_attempts: u32::try_from(max_attempts).ok().filter(|&most| most > 0),
        timeout: (timeout > 0).then(|| Duration::from_millis(timeout)),
        watched: reply::flag(&watched)?,
    })
}
