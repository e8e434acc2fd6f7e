//! Errors as `application/problem+json` (RFC 9457).

use axum::{
    extract::rejection::QueryRejection,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use queue::Status;
use serde::Serialize;

/// How long a client should wait before it tries again: about as long as a restart of Redis takes.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// What went wrong, in a client's terms.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    field: Option<&'static str>,
    job_status: Option<String>,
    retry_after: Option<HeaderValue>,
}

/// The members of RFC 9457 section 3.1; `field`: the request's member that is at fault; and `job_status`, for a
/// program to tell by why a job has not what was asked for.
#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_status: Option<&'a str>,
}

impl Problem {
    /// With a detail for a person to read: what happened, and what to do next.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            field: None,
            job_status: None,
            retry_after: None,
        }
    }

    /// 400: this member of the body, parameter of the query, or header is at fault.
    pub(crate) fn bad_field(field: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail).at(field)
    }

    /// With the member of the body, parameter of the query or header that is at fault.
    pub(crate) fn at(self, field: &'static str) -> Self {
        Self {
            field: Some(field),
            ..self
        }
    }

    /// 503: nothing was done, and the same request may well succeed a little later.
    pub(crate) fn try_later(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).after_a_while()
    }

    /// With `Retry-After`.
    pub(crate) fn after_a_while(self) -> Self {
        Self {
            retry_after: Some(RETRY_AFTER),
            ..self
        }
    }

    /// With the status of the job that was asked of.
    pub(crate) fn of_job(self, status: &Status) -> Self {
        Self {
            job_status: Some(status.to_string()),
            ..self
        }
    }
}

/// The query's parameters are at fault as a whole: one is there twice, say.
impl From<QueryRejection> for Problem {
    fn from(refused: QueryRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, refused.body_text())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            // RFC 9457 section 4.2.1: the status says it all, and `title` is its phrase.
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: &self.detail,
            field: self.field,
            job_status: self.job_status.as_deref(),
        };
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        // Strings and a number always serialize.
        let mut body = serde_json::to_string(&document).unwrap_or_default();
        body.push('\n');
        let mut response = (self.status, content_type, body).into_response();
        if let Some(value) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}
