//! From redis-rs' errors to ours.

use std::{error::Error as _, io, sync::Arc, time::Duration};

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::Error;

/// Where an error came from: what a mere [`RedisError`] does not say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct During<'a> {
    pub(crate) address: &'a str,
    /// Whether the connection was being made, so that nothing can have been carried out.
    pub(crate) connecting: bool,
    /// How long was waited at most.
    pub(crate) patience: Duration,
}

impl Error {
    pub(crate) fn from_redis(err: &RedisError, during: During<'_>) -> Self {
        if err.is_io_error() {
            return Self::from_io(err, during);
        }
        if err.kind() == ErrorKind::AuthenticationFailed {
            return Self::Auth(err.to_string());
        }
        if err.kind() == ErrorKind::RESP3NotSupported {
            return Self::TooOld {
                found: "without RESP3".to_owned(),
            };
        }
        if let Some((to, _slot)) = err.redirect_node() {
            return Self::Redirected {
                address: during.address.to_owned(),
                to: to.to_owned(),
                asking: err.kind() == ErrorKind::Server(ServerErrorKind::Ask),
            };
        }
        // A transaction that was refused tells why for each command.
        let inner = err.clone().into_server_errors();
        if let Some((_, first)) = inner.as_deref().and_then(<[_]>::first) {
            return Self::from_server(first.code(), first.details().unwrap_or_default());
        }
        match err.code() {
            Some(code) => Self::from_server(code, err.detail().unwrap_or_default()),
            None => Self::Unexpected(err.to_string()),
        }
    }

    fn from_io(err: &RedisError, during: During<'_>) -> Self {
        let address = during.address.to_owned();
        if err.is_timeout() {
            return Self::Timeout {
                address,
                after: during.patience,
            };
        }
        if let Some(tls) = tls_error(err) {
            return Self::Tls {
                address,
                detail: tls.to_string(),
            };
        }
        let detail = err.to_string();
        if during.connecting {
            Self::Unreachable { address, detail }
        } else {
            Self::Disconnected { address, detail }
        }
    }

    /// By the first word of the server's answer. Before Redis 7, an error inside a script came as an `ERR` with
    /// the real one somewhere in its text.
    pub(crate) fn from_server(code: &str, detail: &str) -> Self {
        const WORDS: [&str; 11] = [
            "WRONGTYPE",
            "READONLY",
            "OOM",
            "NOPERM",
            "NOREPLICAS",
            "MISCONF",
            "LOADING",
            "MASTERDOWN",
            "NOAUTH",
            "WRONGPASS",
            "UNBLOCKED",
        ];
        let inside = || WORDS.into_iter().find(|word| detail.contains(word));
        let word = if code == "ERR" {
            inside().unwrap_or(code)
        } else {
            code
        };
        let text = format!("{code} {detail}").trim_end().to_owned();
        match word {
            "WRONGTYPE" => Self::WrongType(text),
            // A blocked client of a master that became a replica is told UNBLOCKED.
            "READONLY" | "UNBLOCKED" | "MASTERDOWN" => Self::ReadOnly(text),
            "OOM" => Self::OutOfMemory(text),
            "NOPERM" | "DENIED" => Self::Denied(text),
            "NOREPLICAS" | "MISCONF" => Self::WritesRefused(text),
            "LOADING" => Self::Loading,
            "CROSSSLOT" => Self::CrossSlot,
            "CLUSTERDOWN" | "TRYAGAIN" => Self::SlotUnavailable(text),
            "NOAUTH" | "WRONGPASS" => Self::Auth(text),
            // While it logs in and selects its database, redis-rs keeps the text and loses the code.
            _ if detail.contains("Authentication required") => Self::Auth(text),
            _ if text.contains("max number of clients reached") => Self::TooManyClients(text),
            // Redis 6.2, and Valkey.
            _ if detail.contains("The user executing the script") || detail.contains("o permissions") => {
                Self::Denied(text)
            }
            _ => Self::Unexpected(text),
        }
    }

    /// Whether a new connection may help: this one is dead, or leads to a server that no longer is the master.
    pub(crate) fn needs_new_connection(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Timeout { .. }
                | Self::Disconnected { .. }
                | Self::ReadOnly(_)
                | Self::NotMaster { .. }
                | Self::Auth(_)
        )
    }
}

/// What rustls said, under redis-rs' shared box and an I/O error.
fn tls_error(err: &RedisError) -> Option<&rustls::Error> {
    let shared = err
        .source()?
        .downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?;
    shared.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
}
