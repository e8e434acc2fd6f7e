//! What every listing takes: `limit` and `cursor`.

use axum::extract::{Query, rejection::QueryRejection};
use queue::{Cursor, Producer};
use serde::Deserialize;

use crate::error::Problem;

const DEFAULT_LIMIT: usize = 100;

/// The query's parameters; each is read apart, so that its refusal can name it.
#[derive(Debug, Deserialize)]
pub(crate) struct Parameters {
    limit: Option<String>,
    cursor: Option<String>,
}

/// Which page.
pub(super) struct PageOf {
    pub(super) limit: usize,
    pub(super) cursor: Option<Cursor>,
}

impl PageOf {
    pub(super) fn read(parameters: Result<Query<Parameters>, QueryRejection>) -> Result<Self, Problem> {
        let Query(parameters) = parameters?;
        Ok(Self {
            limit: limit(parameters.limit.as_deref())?,
            cursor: parameters.cursor.as_deref().map(cursor).transpose()?,
        })
    }
}

fn limit(text: Option<&str>) -> Result<usize, Problem> {
    let Some(text) = text else {
        return Ok(DEFAULT_LIMIT);
    };
    let refusal = || {
        let detail = format!("`limit` must be a whole number from 1 to {}", Producer::MAX_PAGE);
        Problem::bad_field("limit", detail)
    };
    text.parse()
        .ok()
        .filter(|limit| (1..=Producer::MAX_PAGE).contains(limit))
        .ok_or_else(refusal)
}

fn cursor(text: &str) -> Result<Cursor, Problem> {
    let refusal = |_| {
        let detail = "`cursor` is none that an earlier page's `next` gave (those of 0.1.0 no longer are): begin with the first page";
        Problem::bad_field("cursor", detail)
    };
    text.parse().map_err(refusal)
}
