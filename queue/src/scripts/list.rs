use redis::{Cmd, Value};

use super::{Script, Step, script};
use crate::{Cursor, Error, Page, Result, reply};

script!(LIST = "prelude.lua", "list.lua");

/// One page of jobs: see `list.lua`.
pub(crate) struct List<'a> {
    pub(crate) below: Option<&'a Cursor>,
    pub(crate) limit: usize,
}

impl Step for List<'_> {
    type Answer = Page;

    fn script(&self) -> &'static Script {
        &LIST
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(self.below.map_or("+inf", Cursor::as_str)).arg(self.limit);
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        let mut rows = reply::array(answer)?.into_iter();
        let next = rows
            .next()
            .ok_or_else(|| Error::Unexpected("an empty page".to_owned()))?;
        let next = reply::score(next)?.map(Cursor::at);
        let mut jobs = Vec::with_capacity(rows.len());
        for row in rows {
            let [place, id, status, start, end, worker] = reply::fields(row)?;
            jobs.push(reply::job([id, status, start, end, worker, place])?);
        }
        Ok(Page { jobs, next })
    }
}
