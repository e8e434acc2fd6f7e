use redis::{Cmd, Value};

use super::{
    Script, Step,
    account::Account,
    listing::{read_position, write_position_to},
    script,
};
use crate::{Cursor, Dead, DeadPage, Result, reply};

script!(
    DEAD = "prelude.lua",
    "account.lua",
    "order.lua",
    "listing.lua",
    "dead.lua"
);
script!(
    DELETE = "prelude.lua",
    "types.lua",
    "words.lua",
    "anew.lua",
    "forget.lua",
    "dead_delete.lua"
);

/// One page of the dead: see `dead.lua`.
pub(crate) struct ListDead<'a> {
    pub(crate) after: Option<&'a Cursor>,
    pub(crate) limit: usize,
}

impl Step for ListDead<'_> {
    type Answer = DeadPage;

    fn script(&self) -> &'static Script {
        &DEAD
    }

    fn write_args(&self, cmd: &mut Cmd) {
        write_position_to(cmd, self.after);
        cmd.arg(self.limit);
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        let mut rows = reply::array(answer)?.into_iter();
        let next = read_position(&mut rows)?;
        let entries = rows.map(read_one).collect::<Result<_>>()?;
        Ok(DeadPage { entries, next })
    }
}

fn read_one(row: Value) -> Result<Dead> {
    let [member, since, account, job] = reply::fields(row)?;
    let account = Account::read(account)?;
    Ok(Dead {
        member: reply::text(member)?,
        job: match job {
            Value::Nil => None,
            job => Some(reply::job(reply::fields(job)?)?),
        },
        reason: account.reason.unwrap_or_default(),
        error: account.error,
        since_ms: reply::count(&since)?,
        attempts: account.attempts,
        failures: account.failures,
        lost: account.lost,
        history: account.history,
    })
}

/// Forgets dead jobs: see `dead_delete.lua`.
pub(crate) struct DeleteDead<'a>(pub(crate) &'a [String]);

impl Step for DeleteDead<'_> {
    type Answer = u64;

    fn script(&self) -> &'static Script {
        &DELETE
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(self.0);
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        reply::count(&answer)
    }
}
