use redis::{Cmd, Value};

use super::{
    Script, Step,
    listing::{read_position, write_position_to},
    script,
};
use crate::{Cursor, Page, Result, reply};

script!(LIST = "prelude.lua", "order.lua", "listing.lua", "list.lua");

/// One page of jobs: see `list.lua`.
pub(crate) struct List<'a> {
    pub(crate) after: Option<&'a Cursor>,
    pub(crate) limit: usize,
}

impl Step for List<'_> {
    type Answer = Page;

    fn script(&self) -> &'static Script {
        &LIST
    }

    fn write_args(&self, cmd: &mut Cmd) {
        write_position_to(cmd, self.after);
        cmd.arg(self.limit);
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        let mut rows = reply::array(answer)?.into_iter();
        let next = read_position(&mut rows)?;
        let mut jobs = Vec::with_capacity(rows.len());
        for row in rows {
            let [place, id, status, start, end, worker] = reply::fields(row)?;
            jobs.push(reply::job([id, status, start, end, worker, place])?);
        }
        Ok(Page { jobs, next })
    }
}
