//! What the service's answer to a job means.

use std::{
    error::Error,
    time::{Duration, SystemTime},
};

use axum::http::{
    HeaderMap, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use queue::JobResult;

use crate::handler::Outcome;

/// How much of a refusal goes into the error, in bytes.
const EXCERPT: usize = 1024;

/// The longest time that a service may have a job wait.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads it to its end.
pub(super) async fn read(answer: Response<Incoming>, max_result: usize) -> Outcome {
    let (head, body) = answer.into_parts();
    if head.status.is_success() {
        return match Limited::new(body, max_result).collect().await {
            Ok(body) => done(&head.headers, body.to_bytes().into()),
            Err(error) if error.is::<LengthLimitError>() => Outcome::failed(format_args!(
                "its result is longer than {max_result} bytes (WORKERPOOL_RESULT_MAX_BYTES)"
            )),
            Err(error) => Outcome::failed(chain(&*error)),
        };
    }
    if let Some(after) = later(head.status, &head.headers, SystemTime::now()) {
        return Outcome::Later { after };
    }
    let excerpt = excerpt(body).await;
    match excerpt.trim() {
        "" => Outcome::failed(head.status),
        excerpt => Outcome::failed(format_args!("{}: {excerpt}", head.status)),
    }
}

fn done(headers: &HeaderMap, body: Vec<u8>) -> Outcome {
    if body.is_empty() {
        return Outcome::Done;
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match JobResult::new(content_type.unwrap_or("application/octet-stream"), body) {
        Ok(result) => Outcome::DoneWith(result),
        Err(error) => Outcome::failed(format_args!("its result cannot be kept: {error}")),
    }
}

/// After what time it wants the job again, if it says so.
/// <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>
fn later(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    if !matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        return None;
    }
    let wanted = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let after = match wanted.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let time = httpdate::parse_http_date(wanted).ok()?;
            time.duration_since(now).unwrap_or_default()
        }
    };
    Some(after.min(LONGEST_WAIT))
}

/// The beginning of a body, as far as it comes.
async fn excerpt(mut body: Incoming) -> String {
    let mut begin = Vec::new();
    while begin.len() < EXCERPT
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Some(data) = frame.data_ref() {
            begin.extend_from_slice(data);
        }
    }
    begin.truncate(EXCERPT);
    String::from_utf8_lossy(&begin).into_owned()
}

/// An error with what caused it: the client's own says little.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = format!("no answer of the service: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn wait(status: u16, retry_after: &'static str) -> Option<u64> {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(retry_after))]);
        // The RFC's own example, two minutes before it.
        let now = httpdate::parse_http_date("Fri, 31 Dec 1999 23:57:59 GMT").unwrap();
        later(StatusCode::from_u16(status).unwrap(), &headers, now).map(|after| after.as_secs())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(wait(503, "120"), Some(120));
        assert_eq!(wait(429, "Fri, 31 Dec 1999 23:59:59 GMT"), Some(120));
        assert_eq!(wait(429, "Thu, 31 Dec 1998 23:59:59 GMT"), Some(0));
        assert_eq!(wait(503, "99999999"), Some(LONGEST_WAIT.as_secs()));
    }

    #[test]
    fn job_comes_later_only_if_that_is_what_the_answer_says() {
        assert_eq!(wait(503, "soon"), None);
        assert_eq!(wait(500, "120"), None);
        assert_eq!(
            later(
                StatusCode::SERVICE_UNAVAILABLE,
                &HeaderMap::new(),
                SystemTime::now()
            ),
            None
        );
    }
}
