use redis::{Cmd, Value};

use super::{Script, Step, script};
use crate::{Cancel, Error, JobId, Result, Status, error::brief, keys::Keys, reply};

script!(
    CANCEL = "prelude.lua",
    "settings.lua",
    "types.lua",
    "words.lua",
    "shapes.lua",
    "cancel.lua"
);

/// How far from each end of the list a job is looked for. All shapes of an item together cost Redis some 2 ms then.
const LOOK: usize = 5_000;

/// Cancels a job: see `cancel.lua`.
pub(crate) struct CancelJob<'a>(pub(crate) &'a JobId);

impl Step for CancelJob<'_> {
    type Answer = Cancel;

    fn script(&self) -> &'static Script {
        &CANCEL
    }

    fn write_keys(&self, keys: &Keys, cmd: &mut Cmd) {
        keys.write_with_settings_to(cmd);
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(self.0.as_str()).arg(LOOK);
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        let mut words = reply::array(answer)?.into_iter();
        let mut next = || words.next().map_or_else(|| Ok(String::new()), reply::text);
        Ok(match next()?.as_str() {
            "cancelled" => Cancel::Cancelled,
            "requested" => Cancel::Requested,
            "foreign" => Cancel::Foreign,
            "unknown" => Cancel::NotFound,
            "ended" => match Status::from(next()?.as_str()) {
                Status::Cancelled => Cancel::AlreadyCancelled,
                status => Cancel::Ended(status),
            },
            other => {
                let what = format!("a cancellation that is {other:?}");
                return Err(Error::Unexpected(brief(what)));
            }
        })
    }
}
