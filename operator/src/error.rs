//! What can go wrong between the operator and Kubernetes.

use std::{error::Error as StdError, future::Future, io, time::Duration};

use kube::runtime::watcher;
use telemetry::Panicked;

use crate::{leader::NotLeading, refusal::Refusal};

/// How long a call to the API server may take, its own retries included.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a pool could not be reconciled. It is tried again, at growing intervals.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused a call, or could not be reached.
    #[error("cannot {doing}: {}", in_words(source))]
    Kube {
        /// What the call was for.
        doing: &'static str,
        /// What it answered.
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time.
    #[error("cannot {doing}: no answer within {after:?}")]
    Timeout {
        /// What the call was for.
        doing: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// A write was not made: another operator leads, or may.
    #[error("cannot {doing}: {source}")]
    NotLeading {
        /// What the call was for.
        doing: &'static str,
        /// Whether it was on its way already.
        source: NotLeading,
    },
    /// A right is missing that an administrator can give.
    #[error("{0}")]
    Forbidden(Box<Refusal>),
    /// The Deployments of the cluster have not been listed yet.
    #[error("the Deployments have not been listed yet")]
    NotListed,
    /// The object has no name, no namespace or no UID.
    #[error("the API server sent an object without {0}")]
    Incomplete(&'static str),
    /// Reconciling panicked. The pool alone is affected.
    #[error(
        "{0}; the operator's log has the line of code. The pool is tried again, its count stays meanwhile"
    )]
    Panicked(#[from] Panicked),
}

/// Makes a call to the API server, within a time.
///
/// # Errors
/// [`Error::Kube`], [`Error::Timeout`] and [`Error::NotLeading`], which say what the call was for.
pub async fn call<T>(
    doing: &'static str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    match tokio::time::timeout(CALL_TIMEOUT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(match not_leading(&source) {
            Some(source) => Error::NotLeading { doing, source },
            None => Error::Kube {
                doing,
                source: Box::new(source),
            },
        }),
        Err(_) => Err(Error::Timeout {
            doing,
            after: CALL_TIMEOUT,
        }),
    }
}

fn not_leading(error: &kube::Error) -> Option<NotLeading> {
    match error {
        kube::Error::Service(refusal) => refusal.downcast_ref().copied(),
        _ => None,
    }
}

/// An error of the client as people are to read it: what the API server says is its own sentence, all else comes with its causes.
/// kube's own text repeats the whole answer as Rust writes it.
#[must_use]
pub fn in_words(error: &kube::Error) -> String {
    let status = match error {
        kube::Error::Api(status) => status,
        kube::Error::Service(error) => return with_causes(&**error),
        _ => return with_causes(error),
    };
    match (status.message.as_str(), status.reason.as_str()) {
        ("", "") => format!("the API server answered {}", status.code),
        ("", reason) => format!("the API server answered {}, {reason}", status.code),
        (message, _) => message.to_owned(),
    }
}

/// The same for an error of a watch.
#[must_use]
pub fn watch_in_words(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(cause) => format!("cannot list: {}", in_words(cause)),
        watcher::Error::WatchStartFailed(cause) | watcher::Error::WatchFailed(cause) => {
            format!("cannot watch: {}", in_words(cause))
        }
        watcher::Error::WatchError(status) => format!("the watch ended: {}", status.message),
        watcher::Error::NoResourceVersion => {
            "cannot watch: the API server's list has no resourceVersion".to_owned()
        }
    }
}

/// A panic as what is known of a queue: its text is the whole message.
pub(crate) fn queue_error(panicked: &Panicked) -> queue::Error {
    queue::Error::Config(format!("{panicked}; the operator's log has the line of code"))
}

/// Each cause once: some errors have the text of their cause in their own.
fn with_causes(error: &(dyn StdError + 'static)) -> String {
    causes(error).skip(1).fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| {
        (*error).source()
    })
}

/// Whether no connection was made at all.
fn is_unreachable(error: &(dyn StdError + 'static)) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    let mut errors = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
    errors.any(|error| {
        matches!(
            error.kind(),
            ConnectionRefused | HostUnreachable | NetworkUnreachable
        )
    })
}

impl Error {
    /// Whether the write that failed may have been carried out all the same: it was sent, and nobody knows what became of it. A
    /// refusal, and what was never sent, changed nothing.
    #[must_use]
    pub fn may_have_been_applied(&self) -> bool {
        match self {
            Self::Kube { source, .. } => match &**source {
                kube::Error::Api(status) => status.code == 408 || status.code >= 500,
                kube::Error::Service(error) => !is_unreachable(&**error),
                kube::Error::BuildRequest(_) | kube::Error::HttpError(_) | kube::Error::Auth(_) => false,
                _ => true,
            },
            Self::Timeout { .. } | Self::Panicked(_) => true,
            Self::NotLeading { source, .. } => *source == NotLeading::Dropped,
            Self::Forbidden(_) | Self::NotListed | Self::Incomplete(_) => false,
        }
    }

    /// A short name for the metric of errors; never changing.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kube { source, .. } => match &**source {
                kube::Error::Api(status) => match status.code {
                    401 | 403 => "forbidden",
                    404 => "not_found",
                    409 => "conflict",
                    422 => "invalid",
                    429 => "throttled",
                    500.. => "server_error",
                    _ => "refused",
                },
                kube::Error::HyperError(_) | kube::Error::Service(_) => "unreachable",
                kube::Error::SerdeError(_) => "unreadable",
                _ => "client",
            },
            Self::Timeout { .. } => "timeout",
            Self::Forbidden(_) => "forbidden",
            Self::NotLeading { .. } => "not_leading",
            Self::NotListed => "not_listed",
            Self::Incomplete(_) => "incomplete",
            Self::Panicked(_) => "panicked",
        }
    }

    /// Whether somebody else wrote in between: look again, and nobody need be told.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// Whether a right is missing.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.code() == Some(403)
    }

    /// Whether the object is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    fn code(&self) -> Option<u16> {
        match self {
            Self::Kube { source, .. } => match &**source {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn api(code: u16, message: &str, reason: &str) -> Error {
        let status = Status::failure(message, reason).with_code(code).boxed();
        kube_error(kube::Error::Api(status))
    }

    fn kube_error(source: kube::Error) -> Error {
        Error::Kube {
            doing: "write the replica count",
            source: Box::new(source),
        }
    }

    fn service(kind: io::ErrorKind) -> Error {
        kube_error(kube::Error::Service(io::Error::from(kind).into()))
    }

    fn not_leading(source: NotLeading) -> Error {
        Error::NotLeading {
            doing: "write",
            source,
        }
    }

    #[test]
    fn only_unknown_outcome_counts_as_perhaps_applied() {
        let timeout = Error::Timeout {
            doing: "write",
            after: CALL_TIMEOUT,
        };
        let unknown = [
            api(500, "", ""),
            api(503, "", ""),
            api(504, "", ""),
            api(408, "", ""),
            timeout,
            service(io::ErrorKind::ConnectionReset),
            service(io::ErrorKind::UnexpectedEof),
            not_leading(NotLeading::Dropped),
        ];
        for error in unknown {
            assert!(error.may_have_been_applied(), "{error}");
        }
        let refused = [400, 401, 403, 404, 409, 410, 422, 429].map(|code| api(code, "", ""));
        let never_sent = [
            service(io::ErrorKind::ConnectionRefused),
            not_leading(NotLeading::NotSent),
            Error::NotListed,
            Error::Incomplete("namespace"),
        ];
        for error in refused.into_iter().chain(never_sent) {
            assert!(!error.may_have_been_applied(), "{error}");
        }
    }

    #[test]
    fn error_of_api_server_is_its_own_sentence() {
        let sentence = "deployments.apps \"a\" is forbidden";
        let texts = [
            (api(403, sentence, "Forbidden"), sentence),
            (api(503, "", ""), "the API server answered 503"),
            (api(429, "", "TooMany"), "the API server answered 429, TooMany"),
            (service(io::ErrorKind::ConnectionRefused), "connection refused"),
        ];
        for (error, says) in texts {
            assert_eq!(
                error.to_string(),
                format!("cannot write the replica count: {says}")
            );
        }
        let status = Status::failure(sentence, "Forbidden").with_code(403).boxed();
        let watch = watcher::Error::InitialListFailed(kube::Error::Api(status));
        assert_eq!(watch_in_words(&watch), format!("cannot list: {sentence}"));
    }

    #[test]
    fn error_names_each_cause_once() {
        let inner = io::Error::other("certificate expired");
        let outer = io::Error::other(kube::Error::Service(inner.into()));
        let text = with_causes(&outer);
        assert_eq!(text.matches("certificate expired").count(), 1, "{text}");
    }
}
