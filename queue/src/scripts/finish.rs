use std::time::Duration;

use redis::{Cmd, Value};

use super::{Script, Step, claim::millis, jitter_seed, script};
use crate::{Ended, Ending, Error, Finish, Result, Retry, reply};

script!(
    FINISH = "prelude.lua",
    "endings.lua",
    "finishing.lua",
    "finish.lua"
);

/// What is kept of an error; the script cuts there too.
const MAX_ERROR_BYTES: usize = 1_024;

/// Ends runs: see `finish.lua`.
pub(crate) struct FinishJobs<'a> {
    pub(crate) ended: &'a [Ended],
    pub(crate) retry: Retry,
}

impl Step for FinishJobs<'_> {
    type Answer = Vec<Finish>;

    fn script(&self) -> &'static Script {
        &FINISH
    }

    fn write_args(&self, cmd: &mut Cmd) {
        let backoff = self.retry.backoff;
        cmd.arg(self.retry.max_attempts)
            .arg(millis(backoff.base))
            .arg(millis(backoff.cap))
            .arg(jitter_seed());
        for Ended { id, token, how } in self.ended {
            cmd.arg(id.as_str()).arg(token.as_str());
            match how {
                Ending::Complete { result: None } => cmd.arg("complete"),
                Ending::Complete { result: Some(result) } => {
                    cmd.arg("result").arg(result.content_type()).arg(result.body())
                }
                Ending::Cancelled => cmd.arg("cancelled"),
                Ending::Failed { error } => cmd.arg("failed").arg(shortened(error)),
                Ending::TimedOut { error } => cmd.arg("timeout").arg(shortened(error)),
                Ending::Later { after } => cmd.arg("later").arg(millis(*after)),
            };
        }
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        let answers = reply::array(answer)?;
        if answers.len() != self.ended.len() {
            return Err(Error::Unexpected(format!(
                "{} answers to {} endings",
                answers.len(),
                self.ended.len()
            )));
        }
        answers.into_iter().map(read_one).collect()
    }
}

fn read_one(answer: Value) -> Result<Finish> {
    if let Value::Array(_) = answer {
        let [kind, after] = reply::fields(answer)?;
        let after = Duration::from_millis(reply::count(&after)?);
        return Ok(match reply::int(&kind)? {
            5 => Finish::Postponed,
            _ => Finish::Retried { after },
        });
    }
    Ok(match reply::int(&answer)? {
        0 => Finish::Finished,
        2 => Finish::Gone,
        3 => Finish::Dead,
        4 => Finish::Cancelled,
        _ => Finish::Stale,
    })
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_ERROR_BYTES)]
}
