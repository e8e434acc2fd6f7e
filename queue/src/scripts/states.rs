use redis::{Cmd, Value};

use super::{Script, Step, script};
use crate::{JobId, JobState, Progress, Result, ResultHead, Status, reply};

script!(
    STATES = "prelude.lua",
    "words.lua",
    "head.lua",
    "state.lua",
    "states.lua"
);
script!(
    TAKE_CHANGED = "prelude.lua",
    "words.lua",
    "head.lua",
    "state.lua",
    "take_changed.lua"
);

/// Looks up how far jobs are: see `states.lua`.
pub(crate) struct GetStates<'a>(pub(crate) &'a [JobId]);

impl Step for GetStates<'_> {
    type Answer = Vec<Option<JobState>>;

    fn script(&self) -> &'static Script {
        &STATES
    }

    fn write_args(&self, cmd: &mut Cmd) {
        for id in self.0 {
            cmd.arg(id.as_str());
        }
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        reply::array(answer)?.into_iter().map(read_state).collect()
    }
}

/// Takes out what changed: see `take_changed.lua`.
pub(crate) struct TakeChanged {
    pub(crate) limit: usize,
}

impl Step for TakeChanged {
    type Answer = Vec<(JobId, Option<JobState>)>;

    fn script(&self) -> &'static Script {
        &TAKE_CHANGED
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(self.limit);
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        let [ids, states] = reply::fields(answer)?;
        let (ids, states) = (reply::array(ids)?, reply::array(states)?);
        ids.into_iter()
            .zip(states)
            .map(|(id, state)| Ok((reply::job_id(id)?, read_state(state)?)))
            .collect()
    }
}

fn read_state(row: Value) -> Result<Option<JobState>> {
    if row == Value::Nil {
        return Ok(None);
    }
    let [
        status,
        worker_ip,
        worker_pod,
        counts,
        times,
        progress,
        reason,
        error,
        result,
    ] = reply::fields(row)?;
    let [attempts, failures, lost] = reply::fields(counts)?;
    let [submitted_us, started, finished, due] = reply::fields(times)?;
    Ok(Some(JobState {
        status: Status::from(reply::text(status)?.as_str()),
        attempts: reply::count(&attempts)?,
        failures: reply::count(&failures)?,
        lost: reply::count(&lost)?,
        worker_ip: reply::optional_text(worker_ip)?,
        worker_pod: reply::optional_text(worker_pod)?,
        submitted_ms: reply::score(submitted_us)?.map(|us| us / 1_000),
        started_ms: reply::score(started)?,
        finished_ms: reply::score(finished)?,
        due_ms: reply::score(due)?,
        progress: read_progress(progress)?,
        reason: reply::optional_text(reason)?,
        error: reply::optional_text(error)?,
        result: read_head(result)?,
    }))
}

/// From `{percent or false, message}`, or false.
pub(super) fn read_progress(answer: Value) -> Result<Option<Progress>> {
    if answer == Value::Nil {
        return Ok(None);
    }
    let [percent, message] = reply::fields(answer)?;
    let percent = match percent {
        Value::Nil => None,
        percent => Some(u8::try_from(reply::count(&percent)?).unwrap_or(100)),
    };
    Ok(Some(Progress {
        percent,
        message: reply::text(message)?,
    }))
}

fn read_head(answer: Value) -> Result<Option<ResultHead>> {
    if answer == Value::Nil {
        return Ok(None);
    }
    let [content_type, size, head] = reply::fields(answer)?;
    Ok(Some(ResultHead {
        content_type: reply::text(content_type)?,
        size: reply::count(&size)?,
        head: reply::bytes(head)?,
    }))
}
