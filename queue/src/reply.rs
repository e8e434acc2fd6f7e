//! Understanding what scripts answer.

use redis::Value;

use crate::{
    Error, Job, JobId, Result, Status,
    error::{brief, brief_debug},
};

pub(crate) fn unexpected(what: &str, value: &Value) -> Error {
    Error::Unexpected(format!("{what}: {}", brief_debug(value)))
}

pub(crate) fn array(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(values) => Ok(values),
        other => Err(unexpected("not a list", &other)),
    }
}

/// Exactly `N` values.
pub(crate) fn fields<const N: usize>(value: Value) -> Result<[Value; N]> {
    array(value)?
        .try_into()
        .map_err(|values: Vec<Value>| Error::Unexpected(format!("{} fields", values.len())))
}

pub(crate) fn int(value: &Value) -> Result<i64> {
    match value {
        Value::Int(int) => Ok(*int),
        other => Err(unexpected("not a number", other)),
    }
}

/// 0 or 1.
pub(crate) fn flag(value: &Value) -> Result<bool> {
    match value {
        Value::Int(0) => Ok(false),
        Value::Int(1) => Ok(true),
        other => Err(unexpected("neither 0 nor 1", other)),
    }
}

pub(crate) fn count(value: &Value) -> Result<u64> {
    Ok(u64::try_from(int(value)?).unwrap_or(0))
}

/// A text; what is not UTF-8 in it is replaced.
pub(crate) fn text(value: Value) -> Result<String> {
    match value {
        Value::BulkString(bytes) => Ok(String::from_utf8(bytes)
            .unwrap_or_else(|err| String::from_utf8_lossy(err.as_bytes()).into_owned())),
        Value::SimpleString(text) => Ok(text),
        Value::Okay => Ok("OK".to_owned()),
        other => Err(unexpected("not a text", &other)),
    }
}

/// Bytes as they are.
pub(crate) fn bytes(value: Value) -> Result<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        other => Err(unexpected("no bytes", &other)),
    }
}

/// A text that may be absent; empty is absent too.
pub(crate) fn optional_text(value: Value) -> Result<Option<String>> {
    match value {
        Value::Nil => Ok(None),
        value => Ok(Some(text(value)?).filter(|text| !text.is_empty())),
    }
}

/// A score of a sorted set, which Redis writes as a text; absent is `None`.
pub(crate) fn score(value: Value) -> Result<Option<u64>> {
    match value {
        Value::Nil => Ok(None),
        Value::Int(int) => Ok(u64::try_from(int).ok()),
        value => {
            let text = text(value)?;
            // Whole numbers below 2^53: exact as floats.
            let score: f64 = text
                .parse()
                .map_err(|_| Error::Unexpected(brief(format!("score {text:?}"))))?;
            Ok(Some(score.max(0.0) as u64))
        }
    }
}

pub(crate) fn job_id(value: Value) -> Result<JobId> {
    let text = text(value)?;
    JobId::new(text).ok_or_else(|| Error::Unexpected("an id that cannot be one".to_owned()))
}

/// Put together from id, status, start, end, worker, and the time of submission in microseconds.
pub(crate) fn job(fields: [Value; 6]) -> Result<Job> {
    let [id, status, start, end, worker, submitted] = fields;
    Ok(Job {
        id: job_id(id)?,
        status: Status::from(text(status)?.as_str()),
        start: text(start)?,
        end: text(end)?,
        worker: optional_text(worker)?,
        submitted_ms: score(submitted)?.map(|us| us / 1000),
        progress: None,
        payload: None,
    })
}
