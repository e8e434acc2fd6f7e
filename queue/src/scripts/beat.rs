use std::time::Duration;

use redis::{Cmd, Value};

use super::{Script, Step, claim::millis, script};
use crate::{Identity, Result};

script!(BEAT = "prelude.lua", "beat.lua");

/// Enters a worker into the registry: see `beat.lua`.
pub(crate) struct Beat<'a> {
    pub(crate) worker: &'a Identity,
    pub(crate) lease: Duration,
}

/// A worker beats every third of its lease; one whose leases are over for some seconds is gone.
pub(crate) fn alive(lease: Duration) -> Duration {
    lease + Duration::from_secs(5)
}

impl Step for Beat<'_> {
    type Answer = ();

    fn script(&self) -> &'static Script {
        &BEAT
    }

    fn write_args(&self, cmd: &mut Cmd) {
        let Identity {
            nonce,
            pod_uid,
            pod_name,
            ip,
            host,
        } = self.worker;
        let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
        cmd.arg(nonce.as_str()).arg(millis(alive(self.lease)));
        cmd.arg(or_empty(pod_uid))
            .arg(or_empty(pod_name))
            .arg(ip)
            .arg(or_empty(host))
            .arg(self.worker.holder());
    }

    fn read(&self, _answer: Value) -> Result<Self::Answer> {
        Ok(())
    }
}
