//! Whether the service is ready.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::http::{Request, StatusCode, Uri, uri::PathAndQuery};
use http_body_util::Full;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::Service;

/// How often to look while it is ready: a second later at most no more is claimed.
const LOOK: Duration = Duration::from_secs(1);

/// How often to look while it is not: its start costs the jobs that wait no more than this.
const LOOK_WHILE_CLOSED: Duration = Duration::from_millis(100);

/// How long the service may take to say so.
const PATIENCE: Duration = Duration::from_secs(1);

/// Open while the service is ready, as far as is known; closed at the start.
#[derive(Debug)]
pub(super) struct Gate {
    open: watch::Sender<bool>,
    /// Requests that the service has.
    busy: Arc<AtomicUsize>,
}

/// That the service has a request.
#[derive(Debug)]
pub(super) struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What shows that a service is ready.
#[derive(Debug)]
enum Sign {
    /// It answers here with success.
    Success(Uri),
    /// It answers here, and not that it is unavailable.
    Answer(Uri),
}

impl Sign {
    fn of(url: &Uri, ready_url: Option<Uri>) -> Self {
        match ready_url {
            Some(ready_url) => Self::Success(ready_url),
            None => {
                let mut origin = url.clone().into_parts();
                origin.path_and_query = Some(PathAndQuery::from_static("/"));
                // Made of the parts of one, it is one.
                Self::Answer(Uri::from_parts(origin).unwrap_or_else(|_| url.clone()))
            }
        }
    }

    fn url(&self) -> &Uri {
        match self {
            Self::Success(url) | Self::Answer(url) => url,
        }
    }

    fn is_given_by(&self, status: StatusCode) -> bool {
        match self {
            // As Kubernetes' probes have it.
            Self::Success(_) => status.as_u16() < 400,
            Self::Answer(_) => status != StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl Gate {
    /// Looks from now on, for as long as the runtime lives.
    pub(super) fn watch(service: Service, url: &Uri, ready_url: Option<Uri>) -> Self {
        let gate = Self {
            open: watch::Sender::new(false),
            busy: Arc::default(),
        };
        let (open, busy) = (gate.open.clone(), Arc::clone(&gate.busy));
        let sign = Sign::of(url, ready_url);
        tokio::spawn(telemetry::vital(async move {
            loop {
                match look(&service, &sign).await {
                    Some(ready) => set(&open, ready),
                    // One that does a job at a time cannot do that and answer.
                    None if busy.load(Ordering::Relaxed) > 0 => {}
                    None => set(&open, false),
                }
                if *open.borrow() {
                    let mut closed = open.subscribe();
                    let _ = timeout(LOOK, closed.wait_for(|open| !open)).await;
                } else {
                    sleep(LOOK_WHILE_CLOSED).await;
                }
            }
        }));
        gate
    }

    /// Waits until it is open.
    pub(super) async fn open(&self) {
        // Its sender lives as long as it does.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }

    pub(super) fn is_open(&self) -> bool {
        *self.open.borrow()
    }

    /// The service was seen not to be ready.
    pub(super) fn close(&self) {
        set(&self.open, false);
    }

    /// The service has a request, as long as what this answers lives.
    pub(super) fn busy(&self) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(&self.busy))
    }
}

fn set(gate: &watch::Sender<bool>, open: bool) {
    let changed = gate.send_if_modified(|was| std::mem::replace(was, open) != open);
    match (changed, open) {
        (true, true) => tracing::info!("the service is ready"),
        (true, false) => tracing::warn!("the service is not ready: no job is taken until it is"),
        (false, _) => {}
    }
}

/// Asks the service; `None` if it does not answer in time.
async fn look(service: &Service, sign: &Sign) -> Option<bool> {
    // Of a URL that was read, a request can be made.
    let request = Request::get(sign.url()).body(Full::default()).ok()?;
    let answer = timeout(PATIENCE, service.request(request)).await.ok()?;
    Some(answer.is_ok_and(|answer| sign.is_given_by(answer.status())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &'static str) -> Uri {
        Uri::from_static(text)
    }

    #[test]
    fn without_a_url_of_its_own_any_answer_of_the_origin_but_503_is_a_sign() {
        let sign = Sign::of(&url("http://a:1/jobs?x"), None);
        assert_eq!(*sign.url(), url("http://a:1/"));
        for (status, ready) in [(200, true), (404, true), (500, true), (503, false)] {
            assert_eq!(sign.is_given_by(StatusCode::from_u16(status).unwrap()), ready);
        }
    }

    #[test]
    fn at_a_url_of_its_own_only_success_is_a_sign() {
        let sign = Sign::of(&url("http://a:1/jobs"), Some(url("http://a:1/ready")));
        assert_eq!(*sign.url(), url("http://a:1/ready"));
        for (status, ready) in [(200, true), (302, true), (404, false), (503, false)] {
            assert_eq!(sign.is_given_by(StatusCode::from_u16(status).unwrap()), ready);
        }
    }
}
