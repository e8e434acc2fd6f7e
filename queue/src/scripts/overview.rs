use redis::{Cmd, Value};

use super::{Script, Step, script, workers};
use crate::{Counts, Overview, Result, WorkerJobs, reply};

script!(
    OVERVIEW = "prelude.lua",
    "item.lua",
    "registry.lua",
    "overview.lua"
);

/// A queue for people: see `overview.lua`.
pub(crate) struct LookOver {
    pub(crate) max_workers: usize,
    pub(crate) max_held: usize,
}

impl Step for LookOver {
    type Answer = Overview;

    fn script(&self) -> &'static Script {
        &OVERVIEW
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(self.max_workers).arg(self.max_held).arg(Counts::NAMES);
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        let [
            waiting,
            running,
            delayed,
            dead,
            oldest,
            next_due,
            now,
            alive,
            counts,
            workers,
        ] = reply::fields(answer)?;
        Ok(Overview {
            waiting: reply::count(&waiting)?,
            running: reply::count(&running)?,
            delayed: reply::count(&delayed)?,
            dead: reply::count(&dead)?,
            oldest_submitted_ms: reply::score(oldest)?.map(|us| us / 1000),
            next_due_ms: reply::score(next_due)?,
            server_time_ms: reply::count(&now)?,
            counts: Counts::read(&reply::array(counts)?)?,
            workers_alive: reply::count(&alive)?,
            workers: reply::array(workers)?
                .into_iter()
                .map(read_one)
                .collect::<Result<_>>()?,
        })
    }
}

fn read_one(row: Value) -> Result<WorkerJobs> {
    let [state, jobs] = reply::fields(row)?;
    Ok(WorkerJobs {
        state: workers::read_one(state)?,
        jobs: reply::array(jobs)?
            .into_iter()
            .map(reply::job_id)
            .collect::<Result<_>>()?,
    })
}
