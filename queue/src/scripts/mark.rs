use std::time::Duration;

use redis::{Cmd, Value};

use super::{Script, Step, claim::millis, script};
use crate::{Error, Result, reply};

script!(MARK = "prelude.lua", "mark.lua");

/// What is done to pods' marks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Marking {
    Quiet,
    Drain,
    Lift,
}

/// Marks pods or lifts their marks: see `mark.lua`.
pub(crate) struct MarkPods<'a> {
    pub(crate) marking: Marking,
    pub(crate) pods: &'a [String],
    pub(crate) epoch: u64,
    pub(crate) time: Duration,
}

impl Step for MarkPods<'_> {
    type Answer = Vec<String>;

    fn script(&self) -> &'static Script {
        &MARK
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(match self.marking {
            Marking::Quiet => "quiet",
            Marking::Drain => "drain",
            Marking::Lift => "unquiet",
        });
        cmd.arg(self.epoch).arg(millis(self.time)).arg(self.pods);
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        let mut values = reply::array(answer)?.into_iter();
        match (values.next(), values.next()) {
            (Some(Value::Int(1)), Some(current)) => Err(Error::StaleEpoch {
                given: self.epoch,
                current: reply::count(&current)?,
            }),
            (Some(Value::Int(0)), first) => first.into_iter().chain(values).map(reply::text).collect(),
            _ => Err(Error::Unexpected("an answer to a mark".to_owned())),
        }
    }
}
