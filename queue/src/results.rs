//! What jobs give.

use std::fmt;

use crate::{Error, Result, Status};

/// What a job gave: bytes, and what they are.
#[derive(Clone, PartialEq, Eq)]
pub struct JobResult {
    content_type: String,
    body: Vec<u8>,
}

impl JobResult {
    /// The longest body, in bytes.
    pub const MAX_BODY: usize = 1024 * 1024;

    /// The longest content type, in bytes.
    pub const MAX_CONTENT_TYPE: usize = 255;

    /// Takes them if they are not too long, and if the content type can stand in an HTTP header: printable ASCII.
    ///
    /// # Errors
    /// [`Error::TooLarge`] or [`Error::Malformed`].
    pub fn new(content_type: impl Into<String>, body: impl Into<Vec<u8>>) -> Result<Self> {
        let (content_type, body) = (content_type.into(), body.into());
        Error::check_size("a content type", content_type.len(), Self::MAX_CONTENT_TYPE)?;
        Error::check_size("a result", body.len(), Self::MAX_BODY)?;
        if content_type.is_empty() || !content_type.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(Error::Malformed {
                what: "a content type",
                detail: format!("{content_type:?} is not printable ASCII"),
            });
        }
        Ok(Self { content_type, body })
    }

    /// As Redis has it: it was checked when it was given.
    pub(crate) fn kept(content_type: String, body: Vec<u8>) -> Self {
        Self { content_type, body }
    }

    /// What the body is, as in the HTTP header of that name.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The bytes.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The content type and the body.
    pub fn into_parts(self) -> (String, Vec<u8>) {
        (self.content_type, self.body)
    }
}

/// Its type and length only: the body may be long.
impl fmt::Debug for JobResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobResult({}, {} bytes)", self.content_type, self.body.len())
    }
}

/// What is answered to who asks for a job's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResultLook {
    /// The job is complete and gave this.
    Found(JobResult),
    /// The job is complete and gave nothing; or a worker completed it that keeps no results.
    Empty,
    /// The job is not complete, and may never be: it waits, runs, failed or was cancelled.
    NotFinished(Status),
    /// A program that is not ours ended the job, with a status of its own. It has no result here and will have none.
    EndedElsewhere(Status),
    /// There is no such job.
    NotFound,
}

/// How a result begins.
#[derive(Clone, PartialEq, Eq)]
pub struct ResultHead {
    /// What the body is, as in the HTTP header of that name.
    pub content_type: String,
    /// The length of the whole body, in bytes.
    pub size: u64,
    /// The first [`ResultHead::MAX_BYTES`] of the body: all of it if it has no more.
    pub head: Vec<u8>,
}

impl ResultHead {
    /// The most that is told of a body.
    pub const MAX_BYTES: usize = 4 * 1024;
}

impl fmt::Debug for ResultHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResultHead({}, {} bytes)", self.content_type, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_has_at_most_1_mib() {
        assert!(JobResult::new("image/png", vec![0; JobResult::MAX_BODY]).is_ok());
        let refused = JobResult::new("image/png", vec![0; JobResult::MAX_BODY + 1]);
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    }

    #[test]
    fn a_content_type_can_stand_in_a_header() {
        assert!(JobResult::new("text/plain; charset=utf-8", "").is_ok());
        for content_type in ["", "text/plain\r\nX-Other: 1", "tëxt/plain"] {
            let refused = JobResult::new(content_type, "");
            assert!(matches!(refused, Err(Error::Malformed { .. })), "{refused:?}");
        }
        let long = "a".repeat(JobResult::MAX_CONTENT_TYPE + 1);
        assert!(matches!(JobResult::new(long, ""), Err(Error::TooLarge { .. })));
    }
}
