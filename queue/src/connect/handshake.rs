//! What is asked on a new connection before anybody uses it, and whether the server will do.
//!
//! `INFO` has the version and the role. A user may be denied it (`-@dangerous`), and a proxy may leave out both. `HELLO`, which
//! no user is denied, is asked then. A server is not refused for what is unknown: a queue's length can be read all the same.

use std::collections::HashMap;

use redis::{Cmd, RedisError, Value, aio::ConnectionLike};

use super::client::Connection;
use crate::{
    Error, Result,
    error::{During, brief},
};

/// The first version with `LMOVE`, and `LPOP` with a count.
const OLDEST_FOR_OWN: (u32, u32) = (6, 2);

/// The first version with consumer groups.
const OLDEST_FOR_SOURCES: (u32, u32) = (5, 0);

/// A server's own account of itself.
#[derive(Debug, Clone)]
pub(crate) struct Introduction {
    address: String,
    version: Option<String>,
    role: Option<String>,
    /// With what it refuses to answer `INFO`.
    denied: Option<String>,
}

impl Introduction {
    /// Asks for version and role.
    pub(super) async fn ask(
        connection: &mut Connection,
        address: &str,
        resp3: bool,
    ) -> Result<Self, RedisError> {
        let mut introduction = Self {
            address: address.to_owned(),
            version: None,
            role: None,
            denied: None,
        };
        // Several sections in one call are for Redis 7.
        let (mut server, mut replication) = (redis::cmd("INFO"), redis::cmd("INFO"));
        server.arg("server");
        replication.arg("replication");
        match ask_both(connection, [&server, &replication]).await {
            Ok([server, replication]) => {
                // Valkey names the Redis version that it is compatible with.
                introduction.version = field(&server, "redis_version").map(str::to_owned);
                introduction.role = field(&replication, "role").map(str::to_owned);
            }
            Err(err) => {
                introduction.denied = Some(denial(err, address)?);
                let hello = ask_hello(connection, resp3).await?;
                let text = |name| hello.get(name).and_then(as_text);
                introduction.version = text("version");
                introduction.role = text("role");
            }
        }
        Ok(introduction)
    }

    /// Whether a queue of workerpool's own can be on this server. Its scripts call `INFO`, by which they notice that the server was
    /// restarted or made a replica.
    pub(crate) fn check_for_own(&self) -> Result<()> {
        if let Some(denied) = &self.denied {
            return Err(Error::Denied(format!(
                "{denied}: a queue of workerpool's own needs INFO, so grant it (ACL SETUSER <user> +info)"
            )));
        }
        let needed = "6.2 or newer is needed for a queue of workerpool's own (a queue with a source is read from 5.0 on)";
        self.check_version(OLDEST_FOR_OWN, needed)?;
        self.check_role()
    }

    /// Whether other systems' queues can be read on this server.
    pub(super) fn check_for_sources(&self) -> Result<()> {
        self.check_version(OLDEST_FOR_SOURCES, "5.0 or newer is needed")?;
        self.check_role()
    }

    /// Whether it is the master, as far as it is known.
    pub(super) fn check_role(&self) -> Result<()> {
        check_role(self.role.as_deref(), &self.address)
    }

    /// What cannot be known of this server.
    pub(super) fn unknown(&self) -> Option<String> {
        let denied = self.denied.as_ref()?;
        Some(format!(
            "{denied}: sources are read without INFO, but a restart is not noticed, a change to a replica up to 3 s late, and not \
             whether data is safe; grant it (ACL SETUSER <user> +info)"
        ))
    }

    fn check_version(&self, oldest: (u32, u32), needed: &'static str) -> Result<()> {
        let Some(version) = &self.version else {
            return Ok(());
        };
        let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
        match (numbers.next(), numbers.next()) {
            (Some(major), Some(minor)) if (major, minor) >= oldest => Ok(()),
            _ => Err(Error::TooOld {
                found: brief(version.clone()),
                needed,
            }),
        }
    }

    /// Asks once more for the role: a server that was made a replica goes on answering, without an error, what was long ago. `None`
    /// if it answers `INFO` by now, which it denied, so that the handshake is due again.
    pub(super) async fn ask_again(
        &self,
        connection: &mut Connection,
        resp3: bool,
    ) -> Result<Option<Self>, RedisError> {
        if self.denied.is_some() {
            let introduction = Self::ask(connection, &self.address, resp3).await?;
            return Ok(Some(introduction).filter(|introduction| introduction.denied.is_some()));
        }
        let replication: String = redis::cmd("INFO")
            .arg("replication")
            .query_async(connection)
            .await?;
        Ok(Some(Self {
            role: field(&replication, "role").map(str::to_owned),
            ..self.clone()
        }))
    }
}

/// A replica answers with what may be long past, and without an error; a server without a role (some proxies) is
/// believed.
pub(crate) fn check_role(role: Option<&str>, address: &str) -> Result<()> {
    match role {
        None | Some("" | "master") => Ok(()),
        Some(role) => Err(Error::NotMaster {
            address: address.to_owned(),
            role: brief(role.to_owned()),
        }),
    }
}

/// A field of an answer to `INFO`.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

async fn ask_both(connection: &mut Connection, commands: [&Cmd; 2]) -> Result<[String; 2], RedisError> {
    let [first, second] = commands;
    Ok([
        first.query_async(connection).await?,
        second.query_async(connection).await?,
    ])
}

/// What was said, if it is a denial.
fn denial(err: RedisError, address: &str) -> Result<String, RedisError> {
    let during = During {
        address,
        connecting: true,
        patience: super::CONNECT_TIMEOUT,
    };
    match Error::from_redis(&err, during) {
        Error::Denied(text) | Error::UnknownCommand(text) => Ok(text),
        _ => Err(err),
    }
}

/// The answer to `HELLO`, in the protocol that is spoken already; nothing where it is not known (before Redis 6).
async fn ask_hello(connection: &mut Connection, resp3: bool) -> Result<HashMap<String, Value>, RedisError> {
    let mut hello = redis::cmd("HELLO");
    hello.arg(if resp3 { 3 } else { 2 });
    match connection.req_packed_command(&hello).await?.extract_error() {
        Ok(answer) => Ok(redis::from_redis_value(answer).unwrap_or_default()),
        Err(err) if err.is_unrecoverable_error() => Err(err),
        Err(_) => Ok(HashMap::new()),
    }
}

fn as_text(value: &Value) -> Option<String> {
    redis::from_redis_value(value.clone()).ok()
}

/// Asks to be introduction of changes to what is read after `CLIENT CACHING YES`; false if the server refuses that.
pub(super) async fn start_tracking(connection: &mut Connection) -> Result<bool, RedisError> {
    // In RESP2 the server would answer OK too, and nothing would ever come.
    let hello = ask_hello(connection, true).await?;
    if hello.get("proto") != Some(&Value::Int(3)) {
        tracing::warn!("the connection does not speak RESP3; polling is all there is");
        return Ok(false);
    }
    match redis::cmd("CLIENT")
        .arg(&["TRACKING", "ON", "OPTIN"])
        .query_async::<()>(connection)
        .await
    {
        Ok(()) => Ok(true),
        Err(err) if err.is_unrecoverable_error() => Err(err),
        Err(err) => {
            tracing::warn!(%err, "Redis refuses to tell of changes; polling is all there is");
            Ok(false)
        }
    }
}
