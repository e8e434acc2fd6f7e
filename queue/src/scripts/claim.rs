use std::time::Duration;

use redis::{Cmd, Value};

use super::{Script, Step, script};
use crate::{
    Claimed, Claims, Error, Identity, Job, Nonce, Payload, Result, Status, Token, keys::Keys, reply,
};

script!(
    CLAIM = "prelude.lua",
    "settings.lua",
    "anew.lua",
    "item.lua",
    "odd.lua",
    "look.lua",
    "delaying.lua",
    "claiming.lua",
    "claim.lua"
);

/// An id without a hash may belong to a producer that pushes before it writes the hash.
const ORPHAN_WAIT: Duration = Duration::from_secs(1);
const ORPHAN_TRIES: u32 = 3;

/// Takes jobs: see `claim.lua`.
pub(crate) struct Claim<'a> {
    pub(crate) worker: &'a Identity,
    pub(crate) nonce: &'a Nonce,
    pub(crate) slots: usize,
    pub(crate) lease: Duration,
}

impl Step for Claim<'_> {
    type Answer = Claims;

    fn script(&self) -> &'static Script {
        &CLAIM
    }

    fn write_keys(&self, keys: &Keys, cmd: &mut Cmd) {
        keys.write_with_settings_to(cmd);
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(self.worker.nonce.as_str()).arg(self.nonce.as_str());
        cmd.arg(self.token().as_str())
            .arg(self.slots)
            .arg(millis(self.lease));
        cmd.arg(&self.worker.ip)
            .arg(self.worker.holder())
            .arg(millis(ORPHAN_WAIT))
            .arg(ORPHAN_TRIES);
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        let mut rows = reply::array(answer)?.into_iter();
        let (Some(quiet_ms), Some(remaining)) = (rows.next(), rows.next()) else {
            return Err(Error::Unexpected("a claim without its head".to_owned()));
        };
        let (quiet_ms, remaining) = (reply::count(&quiet_ms)?, reply::count(&remaining)?);
        let mut jobs = Vec::with_capacity(rows.len() / 4);
        while let Some(id) = rows.next() {
            let (Some(start), Some(end), Some(attempt)) = (rows.next(), rows.next(), rows.next()) else {
                return Err(Error::Unexpected(
                    "a claim that ends in the midst of a job".to_owned(),
                ));
            };
            jobs.push(self.read_one([id, start, end, attempt])?);
        }
        Ok(Claims {
            quiet_for: (quiet_ms > 0).then(|| Duration::from_millis(quiet_ms)),
            remaining,
            jobs,
        })
    }
}

impl Claim<'_> {
    fn token(&self) -> Token {
        Token::of(&self.worker.nonce, self.nonce)
    }

    fn read_one(&self, fields: [Value; 4]) -> Result<Claimed> {
        let [id, start, end, attempt] = fields;
        let job = Job {
            id: reply::job_id(id)?,
            status: Status::InProgress,
            start: reply::text(start)?,
            end: reply::text(end)?,
            worker: Some(self.worker.ip.clone()),
            submitted_ms: None,
            progress: None,
            payload: None,
        };
        let mut claimed = Claimed {
            job,
            token: self.token(),
            attempt: 0,
            payload: None,
            timeout: None,
            max_attempts: None,
        };
        match attempt {
            attempt @ Value::Int(_) => claimed.attempt = number(&attempt)?,
            told => {
                let [attempt, payload, timeout, max_attempts] = reply::fields(told)?;
                claimed.attempt = number(&attempt)?;
                claimed.payload = reply::optional_text(payload)?.map(Payload::kept);
                claimed.timeout = some(&timeout, reply::count)?.map(Duration::from_millis);
                claimed.max_attempts = some(&max_attempts, number)?;
            }
        }
        Ok(claimed)
    }
}

fn number(value: &Value) -> Result<u32> {
    Ok(u32::try_from(reply::count(value)?).unwrap_or(u32::MAX))
}

fn some<T>(value: &Value, read: impl FnOnce(&Value) -> Result<T>) -> Result<Option<T>> {
    match value {
        Value::Nil => Ok(None),
        value => read(value).map(Some),
    }
}

/// As the scripts count time.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
