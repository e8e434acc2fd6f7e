use redis::{Cmd, Value};

use super::{Script, Step, claim::millis, script};
use crate::{Error, JobId, JobOptions, NewJob, Payload, Result, Serializer, item, keys::Keys, reply};

script!(SUBMIT = "submit.lua");

/// Puts jobs in: see `submit.lua`.
pub(crate) struct Submit<'a> {
    pub(crate) jobs: &'a [NewJob],
    pub(crate) serializer: Serializer,
}

/// That a job is in.
pub(crate) struct Submitted {
    /// The job for which the idempotency key stands, if that is another than the one submitted.
    pub(crate) instead: Option<JobId>,
    /// Since when (Unix microseconds), if we submitted it.
    pub(crate) at_us: Option<u64>,
}

impl Step for Submit<'_> {
    type Answer = Vec<Result<Submitted>>;

    fn script(&self) -> &'static Script {
        &SUBMIT
    }

    fn write_keys(&self, keys: &Keys, cmd: &mut Cmd) {
        keys.write_submit_to(cmd);
    }

    fn write_args(&self, cmd: &mut Cmd) {
        let along = || self.jobs.iter().enumerate().filter(|(_, job)| brings_along(job));
        cmd.arg(self.jobs.len()).arg(along().count());
        for job in self.jobs {
            cmd.arg(job.id.as_str())
                .arg(&job.start)
                .arg(&job.end)
                .arg(item::write_as(&job.id, self.serializer));
        }
        for (at, job) in along() {
            let JobOptions {
                max_attempts,
                timeout,
                watched,
            } = job.options;
            cmd.arg(at + 1)
                .arg(job.payload.as_ref().map_or("", Payload::as_str))
                .arg(max_attempts.map_or(0, |max| max.max(1)))
                .arg(timeout.map_or(0, |timeout| millis(timeout).max(1)))
                .arg(u8::from(watched));
        }
        for (at, job) in self.jobs.iter().enumerate() {
            if let Some(idempotency) = &job.idempotency {
                cmd.arg(at + 1)
                    .arg(&idempotency.key)
                    .arg(&idempotency.fingerprint)
                    .arg(millis(idempotency.keep).max(1));
            }
        }
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        let answers = reply::array(answer)?;
        if answers.len() != self.jobs.len() {
            return Err(Error::Unexpected(format!(
                "{} answers to {} jobs",
                answers.len(),
                self.jobs.len()
            )));
        }
        Ok(answers
            .into_iter()
            .zip(self.jobs)
            .map(|(answer, job)| read_one(answer, job))
            .collect())
    }
}

/// Whether something is kept of it besides its hash, from the beginning.
fn brings_along(job: &NewJob) -> bool {
    job.payload.is_some() || job.options != JobOptions::default()
}

fn read_one(answer: Value, job: &NewJob) -> Result<Submitted> {
    match answer {
        Value::Int(-2) => Err(Error::KeyReused(
            job.idempotency
                .as_ref()
                .map(|idempotency| idempotency.key.clone())
                .unwrap_or_default(),
        )),
        Value::Int(-1) => Err(Error::Conflict(job.id.to_string())),
        Value::Int(at_us) if at_us >= 0 => Ok(Submitted {
            instead: None,
            at_us: known(at_us),
        }),
        Value::Array(_) => {
            let [id, at_us] = reply::fields(answer)?;
            Ok(Submitted {
                instead: Some(reply::job_id(id)?),
                at_us: known(reply::int(&at_us)?),
            })
        }
        Value::BulkString(_) => Err(Error::WrongType(reply::text(answer)?)),
        other => Err(reply::unexpected("no answer to a submission", &other)),
    }
}

/// The script's 0 means that the job is not in the index.
fn known(at_us: i64) -> Option<u64> {
    u64::try_from(at_us).ok().filter(|at_us| *at_us > 0)
}
