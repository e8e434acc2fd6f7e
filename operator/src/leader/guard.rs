//! No write without leading.

use std::{
    future::poll_fn,
    pin::pin,
    task::{self, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use http::{Method, Request};
use tower::{BoxError, Layer, Service};

use super::Leadership;

/// Lets what changes nothing through to the API server, and all else only while this operator leads. A write that is under way
/// when the term ends is dropped, with its retries: what has not been sent yet is not sent any more.
#[derive(Clone, Debug)]
pub struct Guard(Leadership);

/// Why a write was not made, or not waited for: another operator leads, or may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotLeading {
    /// Nothing was sent.
    #[error("this operator does not lead")]
    NotSent,
    /// The term ended while the write was on its way: the API server may have carried it out.
    #[error("this operator stopped leading while it waited for the answer")]
    Dropped,
}

impl Guard {
    /// By this leadership.
    #[must_use]
    pub fn new(leadership: Leadership) -> Self {
        Self(leadership)
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            inner,
            leadership: self.0.clone(),
        }
    }
}

/// A service behind a [`Guard`].
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    inner: S,
    leadership: Leadership,
}

impl<S, B> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return self.inner.call(request).boxed();
        }
        let Some(epoch) = self.leadership.epoch() else {
            return futures::future::err(NotLeading::NotSent.into()).boxed();
        };
        within(self.leadership.clone(), epoch, self.inner.call(request)).boxed()
    }
}

/// Goes on with a call as long as the term lasts.
async fn within<T>(
    leadership: Leadership,
    epoch: u64,
    call: impl Future<Output = Result<T, BoxError>>,
) -> Result<T, BoxError> {
    let mut call = pin!(call);
    let mut ended = pin!(leadership.changed_from(Some(epoch)));
    poll_fn(|cx| {
        // A process that was stopped may get here before its timers.
        if leadership.epoch() != Some(epoch) || ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(NotLeading::Dropped.into()));
        }
        call.as_mut().poll(cx)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        time::{Duration, Instant},
    };

    use tower::{ServiceExt, service_fn};

    use super::*;

    /// How often the API server was asked by this method, and whether there was an answer.
    async fn ask(leadership: &Leadership, method: Method, takes: Duration) -> (u32, bool) {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let server = service_fn(move |_: Request<()>| {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(takes).map(Ok::<_, Infallible>)
        });
        let guarded = Guard::new(leadership.clone()).layer(server.map_err(BoxError::from));
        let request = Request::builder().method(method).body(()).unwrap();
        let answer = guarded.oneshot(request).await;
        if let Err(error) = &answer {
            assert!(error.is::<NotLeading>(), "{error}");
        }
        (calls.load(Ordering::Relaxed), answer.is_ok())
    }

    #[tokio::test]
    async fn standby_reads_and_does_not_write() {
        let standby = Leadership::candidate();
        assert_eq!(ask(&standby, Method::GET, Duration::ZERO).await, (1, true));
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert_eq!(ask(&standby, method, Duration::ZERO).await, (0, false));
        }
    }

    #[tokio::test]
    async fn leader_writes_until_its_term_is_over() {
        let leader = Leadership::candidate();
        leader.lead(1, Instant::now() + Duration::from_secs(60));
        assert_eq!(ask(&leader, Method::PATCH, Duration::ZERO).await, (1, true));
        leader.lead(1, Instant::now());
        assert_eq!(ask(&leader, Method::PATCH, Duration::ZERO).await, (0, false));
    }

    #[tokio::test]
    async fn write_under_way_is_dropped_with_its_term() {
        let leader = Leadership::candidate();
        leader.lead(1, Instant::now() + Duration::from_millis(500));
        assert_eq!(
            ask(&leader, Method::PATCH, Duration::from_secs(3600)).await,
            (1, false)
        );
    }

    #[tokio::test]
    async fn write_under_way_survives_a_renewal_but_not_a_new_term() {
        let leader = Leadership::candidate();
        leader.lead(1, Instant::now() + Duration::from_secs(1));
        let renewing = async { leader.lead(1, Instant::now() + Duration::from_secs(60)) };
        let answer = ask(&leader, Method::PATCH, Duration::from_millis(1_200));
        let (answer, ()) = tokio::join!(answer, renewing);
        assert_eq!(answer, (1, true));

        let deposed = async { leader.lead(9, Instant::now() + Duration::from_secs(60)) };
        let (answer, ()) = tokio::join!(ask(&leader, Method::PATCH, Duration::from_secs(3600)), deposed);
        assert_eq!(answer, (1, false));
    }
}
