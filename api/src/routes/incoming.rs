//! A request's body: bounded in size and in time.

use std::error::Error as _;

use axum::{
    body::{self, Body, Bytes},
    http::StatusCode,
};
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use crate::{config::RequestSettings, error::Problem};

pub(super) async fn read(body: Body, settings: &RequestSettings) -> Result<Bytes, Problem> {
    timeout(settings.timeout, body::to_bytes(body, settings.body_bytes))
        .await
        .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took too long to arrive"))?
        .map_err(|error| unreadable(&error, settings))
}

fn unreadable(error: &axum::Error, settings: &RequestSettings) -> Problem {
    if error
        .source()
        .is_some_and(|source| source.is::<LengthLimitError>())
    {
        let detail = format!("the body is longer than {} bytes", settings.body_bytes);
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail);
    }
    Problem::new(StatusCode::BAD_REQUEST, "the body broke off")
}
