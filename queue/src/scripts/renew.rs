use std::time::Duration;

use redis::{Cmd, Value};

use super::{Script, Step, claim::millis, script};
use crate::{JobId, Renewal, Result, Token, reply};

script!(RENEW = "prelude.lua", "renew.lua");

/// Renews leases: see `renew.lua`.
pub(crate) struct Renew<'a> {
    pub(crate) held: &'a [(JobId, Token)],
    pub(crate) lease: Duration,
}

impl Step for Renew<'_> {
    type Answer = Renewal;

    fn script(&self) -> &'static Script {
        &RENEW
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(millis(self.lease));
        for (id, token) in self.held {
            cmd.arg(id.as_str()).arg(token.as_str());
        }
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        let mut renewal = Renewal::default();
        for (answer, (id, _)) in reply::array(answer)?.iter().zip(self.held) {
            match reply::int(answer)? {
                0 => {}
                2 => renewal.cancelled.push(id.clone()),
                _ => renewal.lost.push(id.clone()),
            }
        }
        Ok(renewal)
    }
}
