//! What is asked on a new connection before anybody uses it.

use std::collections::HashMap;

use redis::{Pipeline, RedisError, Value, aio::MultiplexedConnection};

use crate::{Error, Result};

/// The first version with `LMOVE`, and `LPOP` with a count.
const OLDEST: (u32, u32) = (6, 2);

/// What a server tells of itself.
#[derive(Debug)]
pub(super) struct Introduction {
    version: String,
    role: Option<String>,
}

impl Introduction {
    pub(super) async fn ask(connection: &mut MultiplexedConnection) -> Result<Self, RedisError> {
        // Several sections in one call are for Redis 7.
        let (server, replication): (String, String) = Pipeline::new()
            .cmd("INFO")
            .arg("server")
            .cmd("INFO")
            .arg("replication")
            .query_async(connection)
            .await?;
        Ok(Self {
            // Valkey tells the Redis version that it is compatible with.
            version: field(&server, "redis_version")
                .unwrap_or("of unknown version")
                .to_owned(),
            role: field(&replication, "role").map(str::to_owned),
        })
    }

    /// Whether the queue can live on this server.
    pub(super) fn check(self, address: &str) -> Result<()> {
        let mut numbers = self
            .version
            .split('.')
            .map_while(|number| number.parse::<u32>().ok());
        match (numbers.next(), numbers.next()) {
            (Some(major), Some(minor)) if (major, minor) >= OLDEST => {}
            _ => return Err(Error::TooOld { found: self.version }),
        }
        check_role(self.role.as_deref(), address)
    }
}

/// A replica answers with what may be long past, and without an error; a server that tells no role (some proxies) is
/// believed.
pub(super) fn check_role(role: Option<&str>, address: &str) -> Result<()> {
    match role {
        None | Some("master") => Ok(()),
        Some(role) => Err(Error::NotMaster {
            address: address.to_owned(),
            role: role.to_owned(),
        }),
    }
}

/// A field of an answer to `INFO`.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// Asks to be told of changes to what is read after `CLIENT CACHING YES`; false if the server refuses that.
pub(super) async fn start_tracking(connection: &mut MultiplexedConnection) -> Result<bool, RedisError> {
    // In RESP2 the server would answer OK too, and nothing would ever come.
    let hello: HashMap<String, Value> = redis::cmd("HELLO").query_async(connection).await?;
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
