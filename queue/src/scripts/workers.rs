use std::time::Duration;

use redis::{Cmd, Value};

use super::{Script, Step, script};
use crate::{Error, Mark, Result, WorkerState, reply};

script!(WORKERS = "prelude.lua", "registry.lua", "workers.lua");

/// The registry: see `workers.lua`.
pub(crate) struct Workers;

impl Step for Workers {
    type Answer = Vec<WorkerState>;

    fn script(&self) -> &'static Script {
        &WORKERS
    }

    fn write_args(&self, _cmd: &mut Cmd) {}

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        reply::array(answer)?.into_iter().map(read_one).collect()
    }
}

pub(super) fn read_one(row: Value) -> Result<WorkerState> {
    let [nonce, pod_uid, pod_name, ip, host, held, mark, lasts, alive] = reply::fields(row)?;
    let lasts = Duration::from_millis(reply::count(&lasts)?);
    Ok(WorkerState {
        nonce: reply::text(nonce)?,
        pod_uid: reply::optional_text(pod_uid)?,
        pod_name: reply::optional_text(pod_name)?,
        ip: reply::text(ip)?,
        host: reply::optional_text(host)?,
        held: reply::count(&held)?,
        mark: match reply::text(mark)?.as_str() {
            "quiet" => Some((Mark::Quiet, lasts)),
            "drain" => Some((Mark::Drain, lasts)),
            "" => None,
            other => return Err(Error::Unexpected(format!("a mark that is {other:?}"))),
        },
        alive_for: Duration::from_millis(reply::count(&alive)?),
    })
}
