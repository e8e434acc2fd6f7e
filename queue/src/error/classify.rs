//! From redis-rs' errors to ours.

use std::{
    error::Error as _,
    fmt::{self, Write},
    io,
    sync::Arc,
    time::Duration,
};

use redis::{ErrorKind, RedisError, ServerErrorKind};
use rustls::CertificateError;

use crate::{Address, Error, connect::AnswerTooLarge};

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
            return Self::Auth(brief(err.to_string()));
        }
        if err.kind() == ErrorKind::RESP3NotSupported {
            return Self::TooOld {
                found: "without RESP3".to_owned(),
                needed: "6.0 or newer is needed",
            };
        }
        if let Some((to, _slot)) = err.redirect_node() {
            return Self::Redirected {
                address: during.address.to_owned(),
                to: brief(to.to_owned()),
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
            None => Self::Unexpected(brief(err.to_string())),
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
        if let Some(AnswerTooLarge { limit }) = inner(err) {
            return Self::AnswerTooLarge {
                address,
                limit: *limit,
            };
        }
        if let Some(tls) = inner::<rustls::Error>(err) {
            return Self::Tls {
                address,
                detail: brief(tls.to_string()),
            };
        }
        let detail = brief(err.to_string());
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
        let text = brief(format!("{code} {detail}").trim_end().to_owned());
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
            // A command that was renamed or left out, as managed servers and proxies say it.
            "ERR" if is_unknown_command(detail) => Self::UnknownCommand(text),
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
                | Self::AnswerTooLarge { .. }
        )
    }

    /// Whether the server will never carry this command out for this user: it may not run it, or the server does not have it.
    /// Any other error may be gone at the next try.
    pub(crate) fn is_denial(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::UnknownCommand(_))
    }

    /// Names the name that a certificate is not good for, if that is what is wrong.
    pub(crate) fn wrong_name(err: &RedisError, name: &str, address: &Address) -> Option<Self> {
        let rustls::Error::InvalidCertificate(wrong) = inner::<rustls::Error>(err)? else {
            return None;
        };
        let is_name = matches!(
            wrong,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        );
        is_name.then(|| Self::Tls {
            address: address.to_string(),
            detail: brief(format!(
                "its certificate is not good for the name {name:?} ({wrong}); if it is for another one, set \
                 WORKERPOOL_REDIS_TLS_SERVER_NAME (--redis-tls-server-name), or spec.redis.tls.serverName of a WorkerPool"
            )),
        })
    }
}

/// The longest text that an error keeps of a message from outside, in characters.
const LONGEST_TEXT: usize = 512;

/// Cuts a text that an error keeps. Errors are logged, cloned for each caller and written into conditions.
pub(crate) fn brief(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST_TEXT) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The beginning of a value of any size, without the memory that the whole text would take.
pub(crate) fn brief_debug(value: &impl fmt::Debug) -> String {
    let mut beginning = Beginning::default();
    // Ends early, which is what it is for.
    let _ = write!(beginning, "{value:?}");
    brief(beginning.0)
}

#[derive(Default)]
struct Beginning(String);

impl Write for Beginning {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        // Four bytes a character at most, so that more than LONGEST_TEXT of them are kept.
        let enough = self.0.len() > 4 * LONGEST_TEXT;
        if enough {
            return Err(fmt::Error);
        }
        self.0.push_str(part);
        Ok(())
    }
}

fn is_unknown_command(detail: &str) -> bool {
    let detail = detail.to_ascii_lowercase();
    let says = ["unknown command", "unknown subcommand", "unsupported command"];
    says.iter().any(|words| detail.contains(words))
}

/// What our stream or rustls said, under redis-rs' shared box and an I/O error.
fn inner<E: std::error::Error + 'static>(err: &RedisError) -> Option<&E> {
    let shared = err
        .source()?
        .downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?;
    shared.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_error_is_cut() {
        for text in [String::new(), "x".repeat(LONGEST_TEXT)] {
            assert_eq!(brief(text.clone()), text);
        }
        let long = brief("ä".repeat(1_000_000));
        assert_eq!(long.chars().count(), LONGEST_TEXT + 1);
        let Error::Denied(said) = Error::from_server("NOPERM", &"x".repeat(1_000_000)) else {
            panic!("another error");
        };
        assert!(said.chars().count() <= LONGEST_TEXT + 1);
    }

    #[test]
    fn command_that_server_lacks_is_denial_and_other_errors_are_not() {
        for (code, detail) in [
            (
                "NOPERM",
                "this user has no permissions to run the 'client|list' command",
            ),
            (
                "NOPERM",
                "User less has no permissions to run the 'client|list' command",
            ),
            (
                "ERR",
                "unknown command 'CONFIG', with args beginning with: 'GET' 'timeout' ",
            ),
            (
                "ERR",
                "unknown command `CLIENT`, with args beginning with: `LIST`, ",
            ),
            (
                "ERR",
                "Unknown subcommand or wrong number of arguments for 'LIST'",
            ),
        ] {
            assert!(Error::from_server(code, detail).is_denial(), "{detail}");
        }
        for (code, detail) in [
            ("LOADING", "Redis is loading the dataset in memory"),
            ("ERR", "max number of clients reached"),
            ("BUSY", "Redis is busy running a script"),
            ("ERR", "internal error"),
        ] {
            assert!(!Error::from_server(code, detail).is_denial(), "{detail}");
        }
    }
}
