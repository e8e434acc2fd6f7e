use std::time::Duration;

use redis::{Cmd, Value};

use super::{Script, Step, claim::millis, jitter_seed, script};
use crate::{Ended, Ending, Error, Finish, Result, Retry, keys::Keys, reply};

script!(
    FINISH = "prelude.lua",
    "settings.lua",
    "delaying.lua",
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

    fn write_keys(&self, keys: &Keys, cmd: &mut Cmd) {
        keys.write_with_settings_to(cmd);
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
        return match kind {
            Value::Int(5) => Ok(Finish::Postponed),
            Value::Int(6) => Ok(Finish::Retried { after }),
            other => Err(reply::unexpected("no way in which a run ends", &other)),
        };
    }
    match answer {
        Value::Int(0) => Ok(Finish::Finished),
        Value::Int(1) => Ok(Finish::Stale),
        Value::Int(2) => Ok(Finish::Gone),
        Value::Int(3) => Ok(Finish::Dead),
        Value::Int(4) => Ok(Finish::Cancelled),
        other => Err(reply::unexpected("no way in which a run ends", &other)),
    }
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_ERROR_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_answer_to_ending_is_an_error() {
        let known = [
            (Value::Int(0), Finish::Finished),
            (Value::Int(1), Finish::Stale),
            (Value::Int(2), Finish::Gone),
            (Value::Int(3), Finish::Dead),
            (Value::Int(4), Finish::Cancelled),
            (
                Value::Array(vec![Value::Int(5), Value::Int(7)]),
                Finish::Postponed,
            ),
            (
                Value::Array(vec![Value::Int(6), Value::Int(7)]),
                Finish::Retried {
                    after: Duration::from_millis(7),
                },
            ),
        ];
        for (answer, expected) in known {
            assert_eq!(read_one(answer), Ok(expected));
        }
        for unknown in [
            Value::Int(5),
            Value::Int(-1),
            Value::Nil,
            Value::Array(vec![Value::Int(4), Value::Int(7)]),
        ] {
            assert!(matches!(read_one(unknown), Err(Error::Unexpected(_))));
        }
    }
}
