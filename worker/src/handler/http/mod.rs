//! A request per job, to a service beside the worker.
//!
//! Where to look: `gate` (is the service ready?), `answer` (what an answer means). docs/handlers.md says what a user needs
//! to know.

mod answer;
mod gate;

use std::time::Duration;

use axum::http::{
    HeaderValue, Request, Uri,
    header::{CONTENT_TYPE, USER_AGENT},
    uri::InvalidUri,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use self::gate::Gate;
use super::{Context, Handler, Outcome, message::message};

/// How long a connection to the service may take to be there.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// TCP keep-alive: the kernel probes a silent connection at this interval, and gives it up after so many probes without an
/// answer, half a minute in all. A job may take any time all the same: the kernel of a machine that is there answers, whatever
/// the service does. Bytes that were sent and not acknowledged are bounded by the kernel, at a quarter of an hour.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const MAX_PROBES: u32 = 2;

/// How long a connection is kept that nobody uses: less than after what servers close theirs (gunicorn after 2 s, uvicorn
/// and Node after 5 s), so that a request does not meet its end.
const KEEP_IDLE: Duration = Duration::from_millis(1_500);

/// When a job comes back that could not be told to the service.
const NOT_READY_PAUSE: Duration = Duration::from_secs(1);

const AGENT: &str = concat!("workerpool-worker/", env!("CARGO_PKG_VERSION"));

type Service = Client<HttpConnector, Full<Bytes>>;

/// Posts each job to a service, over connections that are kept.
#[derive(Debug)]
pub struct Http {
    url: Uri,
    max_result: usize,
    service: Service,
    gate: Gate,
}

/// Which service, and what it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where jobs are posted.
    pub url: Uri,
    /// What answers with a status below 400 once the service is ready; if absent, whatever the root of its origin answers
    /// but 503 shows that it is.
    pub ready_url: Option<Uri>,
    /// The longest result, in bytes.
    pub max_result: usize,
}

/// It is no URL of a service.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// It is no URL at all.
    #[error("no URL: {0}")]
    Invalid(#[from] InvalidUri),
    /// It has no host, or another scheme.
    #[error(
        "write it as http://host:port/path; https is not spoken, the service is thought to be beside the worker"
    )]
    NotHttp,
}

/// Reads the URL of a service.
///
/// # Errors
/// If it is none that starts with `http://`.
pub fn url(text: &str) -> Result<Uri, UrlError> {
    let url: Uri = text.parse()?;
    match (url.scheme_str(), url.host()) {
        (Some("http"), Some(host)) if !host.is_empty() => Ok(url),
        _ => Err(UrlError::NotHttp),
    }
}

impl Http {
    /// Makes one, and begins to look whether the service is ready. Needs a tokio runtime.
    pub fn new(settings: Settings) -> Self {
        let Settings {
            url,
            ready_url,
            max_result,
        } = settings;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_PATIENCE));
        connector.set_keepalive(Some(PROBE_INTERVAL));
        connector.set_keepalive_interval(Some(PROBE_INTERVAL));
        connector.set_keepalive_retries(Some(MAX_PROBES));
        let service = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEEP_IDLE)
            .build(connector);
        Self {
            gate: Gate::watch(service.clone(), &url, ready_url),
            url,
            max_result,
            service,
        }
    }

    async fn post(&self, context: &Context) -> Outcome {
        let request = match self.request(context) {
            Ok(request) => request,
            Err(error) => return Outcome::failed(error),
        };
        let busy = self.gate.busy();
        let answer = self.service.request(request).await;
        let outcome = match answer {
            Ok(answer) => answer::read(answer, self.max_result).await,
            Err(error) if error.is_connect() => {
                self.gate.close();
                Outcome::Later {
                    after: NOT_READY_PAUSE,
                }
            }
            Err(error) => Outcome::failed(answer::chain(&error)),
        };
        drop(busy);
        outcome
    }

    fn request(&self, context: &Context) -> Result<Request<Full<Bytes>>, axum::http::Error> {
        let mut request = Request::post(&self.url)
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/json")
            .header(
                "x-job-id",
                HeaderValue::from_bytes(context.job.id.as_str().as_bytes())?,
            )
            .header("x-job-attempt", context.attempt);
        if let Some(url) = context.progress_url() {
            request = request.header("x-progress-url", url);
        }
        request.body(message(context).into())
    }
}

impl Handler for Http {
    /// Told to stop, it closes the connection: by that the service hears of it.
    async fn handle(&self, context: Context) -> Outcome {
        let posted = context.stop.run_until_cancelled(self.post(&context)).await;
        posted.unwrap_or(Outcome::Stopped)
    }

    async fn ready(&self) {
        self.gate.open().await;
    }

    fn warnings(&self) -> Vec<String> {
        match self.gate.is_open() {
            true => Vec::new(),
            false => vec![format!(
                "the service at {} is not ready: no job is taken until it is",
                self.url
            )],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_absolute_and_plain_http() {
        assert!(url("http://localhost:9000/jobs?x=1").is_ok());
        for bad in [
            "https://localhost/",
            "localhost:9000",
            "/jobs",
            "http://",
            "ftp://host/",
            "",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
