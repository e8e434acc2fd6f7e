use axum::{
    extract::{Path, rejection::PathRejection},
    http::StatusCode,
};
use queue::JobId;

use crate::error::Problem;

/// The path's `{id}`, as it came.
pub(crate) type PathId = Result<Path<String>, PathRejection>;

/// The job that a path names. What cannot be an id is the id of no job.
pub(super) fn job_id(id: PathId) -> Result<JobId, Problem> {
    let Path(id) = id.map_err(|_| unknown())?;
    JobId::new(id).ok_or_else(unknown)
}

/// 404.
pub(super) fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no job has this id")
}
