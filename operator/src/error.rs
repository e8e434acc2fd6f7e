//! What can go wrong between the operator and Kubernetes.

use std::{future::Future, time::Duration};

use crate::{leader::NotLeading, refusal::Refusal};

/// How long a call to the API server may take, its own retries included.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a pool could not be reconciled. It is tried again, at growing intervals.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused a call, or could not be reached.
    #[error("cannot {doing}: {source}")]
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
    #[error("cannot {doing}: {NotLeading}")]
    NotLeading {
        /// What the call was for.
        doing: &'static str,
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
        Ok(Err(kube::Error::Service(refusal))) if refusal.is::<NotLeading>() => {
            Err(Error::NotLeading { doing })
        }
        Ok(Err(source)) => Err(Error::Kube {
            doing,
            source: Box::new(source),
        }),
        Err(_) => Err(Error::Timeout {
            doing,
            after: CALL_TIMEOUT,
        }),
    }
}

impl Error {
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
