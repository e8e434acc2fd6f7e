//! What a job's record tells.

use redis::Value;

use crate::{Past, Result, reply};

/// As `account.lua` answers it.
pub(super) struct Account {
    pub(super) attempts: u64,
    pub(super) failures: u64,
    pub(super) lost: u64,
    pub(super) interruptions: u64,
    pub(super) reason: Option<String>,
    pub(super) error: Option<String>,
    pub(super) cancel_requested: bool,
    pub(super) history: Vec<Past>,
}

impl Account {
    pub(super) fn read(answer: Value) -> Result<Self> {
        let [
            attempts,
            failures,
            lost,
            interruptions,
            reason,
            error,
            cancel,
            history,
        ] = reply::fields(answer)?;
        Ok(Self {
            attempts: reply::count(&attempts)?,
            failures: reply::count(&failures)?,
            lost: reply::count(&lost)?,
            interruptions: reply::count(&interruptions)?,
            reason: reply::optional_text(reason)?,
            error: reply::optional_text(error)?,
            cancel_requested: reply::flag(&cancel)?,
            history: reply::array(history)?
                .into_iter()
                .map(read_past)
                .collect::<Result<_>>()?,
        })
    }
}

fn read_past(event: Value) -> Result<Past> {
    let [at, what, error] = reply::fields(event)?;
    Ok(Past {
        at_ms: reply::count(&at)?,
        what: reply::text(what)?,
        error: reply::optional_text(error)?,
    })
}
