//! Asking Sentinel who the master is, and hearing that it is another one.
//!
//! They may disagree for a while (see `opinions`), so all are asked at once.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, PushInfo, PushKind, Value};
use tokio::{sync::Notify, task::JoinSet};

use super::{
    client::{Connection, Failure, Login},
    opinions::Opinions,
};
use crate::{
    Address, Error, Result, Sentinel, Server,
    error::{During, brief},
    reply,
};

/// How long a sentinel may take to be reached and to answer: one that is down must not hold up the others.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the others are waited for once more than half agree.
const PATIENCE_WHEN_AGREED: Duration = Duration::from_millis(100);

/// How often the sentinels are asked when none says anything: one may have died without closing its connection.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Between two rounds of listening: a switch is told by each sentinel, all within moments.
const SETTLE: Duration = Duration::from_millis(100);

/// The sentinels of one master.
#[derive(Debug)]
pub(super) struct Sentinels {
    master: String,
    login: Login,
    asked: Vec<Address>,
}

/// What one sentinel says.
enum Answer {
    /// With the epoch of the failover that made it the master.
    Master(Address, u64),
    Unknown,
}

impl Sentinels {
    /// Connects nothing yet. TLS is the server's.
    pub(super) fn new(sentinel: &Sentinel, server: &Server) -> Result<Self> {
        if sentinel.addresses.is_empty() {
            return Err(Error::Config(
                "Sentinel needs the address of at least one".to_owned(),
            ));
        }
        let login = Login::to_sentinels(sentinel, server);
        for address in &sentinel.addresses {
            login.check(address)?;
        }
        Ok(Self {
            master: sentinel.master.clone(),
            login,
            asked: sentinel.addresses.clone(),
        })
    }

    /// What the master is called in errors and logs.
    pub(super) fn describe(&self, address: &Address) -> String {
        format!("{address} (Sentinel's master {:?})", self.master)
    }

    /// Where the master is: usually one address; where they disagree, all, in the order in which to try them.
    pub(super) async fn masters(&self) -> Result<Vec<Address>> {
        self.ask_all().await.map(Opinions::ranked)
    }

    /// What they say, of whom at least one knows the master. Does not wait long for the last one once more than half agree.
    async fn ask_all(&self) -> Result<Opinions> {
        let mut asked = JoinSet::new();
        for address in &self.asked {
            asked.spawn(ask(address.clone(), self.login.clone(), self.master.clone()));
        }
        let (mut opinions, mut unknown, mut failure) = (Opinions::default(), false, None);
        // Each ends by itself within its own.
        let mut patience = 2 * PATIENCE;
        while let Ok(Some(answer)) = tokio::time::timeout(patience, asked.join_next()).await {
            match answer {
                Ok(Ok(Answer::Master(address, epoch))) => {
                    if opinions.hear(address, epoch) > self.asked.len() / 2 {
                        patience = PATIENCE_WHEN_AGREED;
                    }
                }
                Ok(Ok(Answer::Unknown)) => unknown = true,
                Ok(Err(err)) => failure = failure.or(Some(err)),
                // Nobody cancels it, so the runtime is shutting down.
                Err(err) => failure = failure.or_else(|| Some(Error::Unexpected(err.to_string()))),
            }
        }
        if !opinions.is_empty() {
            return Ok(opinions);
        }
        Err(match failure {
            _ if unknown => Error::UnknownMaster {
                name: self.master.clone(),
                sentinels: self.addresses(),
            },
            Some(
                err @ (Error::Auth(_) | Error::Denied(_) | Error::Tls { .. } | Error::UnreadableFile { .. }),
            ) => err,
            failure => Error::NoSentinel {
                sentinels: self.addresses(),
                detail: failure.map(|err| err.to_string()).unwrap_or_default(),
            },
        })
    }

    /// Returns when another master has taken the place of `current`. Sentinels that are away are looked for again,
    /// for ever; a new one of the same address is heard.
    pub(super) async fn until_switched(&self, current: &Address) {
        let told = Arc::new(Notify::new());
        let mut ears: Vec<Option<Connection>> = vec![None; self.asked.len()];
        loop {
            for (ear, address) in ears.iter_mut().zip(&self.asked) {
                if !is_alive(ear.as_mut()).await {
                    *ear = listen(address, &self.login, &told).await.ok();
                }
            }
            // Asked after they began to listen, so that no switch falls in between.
            if self
                .ask_all()
                .await
                .is_ok_and(|opinions| opinions.replace(current))
            {
                return;
            }
            // Elapsed or told: either way, ask.
            let _ = tokio::time::timeout(ASK_AGAIN, told.notified()).await;
            tokio::time::sleep(SETTLE).await;
        }
    }

    fn addresses(&self) -> String {
        let addresses: Vec<_> = self.asked.iter().map(Address::to_string).collect();
        addresses.join(", ")
    }
}

/// Asks one sentinel.
async fn ask(address: Address, login: Login, master: String) -> Result<Answer> {
    let asking = async {
        let mut connection = login.connect(&address, PATIENCE, config()).await?;
        let mut tell = async |what: &str| {
            let mut command = redis::cmd("SENTINEL");
            command.arg(what).arg(&master);
            command.query_async::<Value>(&mut connection).await
        };
        let named = tell("GET-MASTER-ADDR-BY-NAME").await?;
        // It names the new one earlier than here, where the epoch is.
        let details = if named == Value::Nil {
            Value::Nil
        } else {
            tell("MASTER").await?
        };
        Ok((named, details))
    };
    let (named, details) = within_patience(&address, asking).await?;
    if named == Value::Nil {
        return Ok(Answer::Unknown);
    }
    let [host, port] = reply::fields(named)?;
    let (host, port) = (reply::text(host)?, reply::text(port)?);
    let port = port
        .parse()
        .map_err(|_| Error::Unexpected(brief(format!("Sentinel at {address} names port {port:?}"))))?;
    let epoch = config_epoch(details)
        .ok_or_else(|| Error::Unexpected(format!("Sentinel at {address} tells no epoch")))?;
    Ok(Answer::Master(Address { host, port }, epoch))
}

fn config_epoch(details: Value) -> Option<u64> {
    let details: HashMap<String, String> = redis::from_redis_value(details).ok()?;
    details.get("config-epoch")?.parse().ok()
}

/// Subscribes to what a sentinel says of switches. Also told when the connection ends.
async fn listen(address: &Address, login: &Login, told: &Arc<Notify>) -> Result<Connection> {
    let told = Arc::clone(told);
    let config = config().set_push_sender(move |push: PushInfo| {
        if matches!(push.kind, PushKind::Message | PushKind::Disconnection) {
            told.notify_one();
        }
        Ok::<(), redis::aio::SendError>(())
    });
    within_patience(address, async {
        let mut connection = login.connect(address, PATIENCE, config).await?;
        connection.subscribe("+switch-master").await?;
        Ok(connection)
    })
    .await
}

async fn is_alive(ear: Option<&mut Connection>) -> bool {
    match ear {
        Some(connection) => redis::cmd("PING").query_async::<Value>(connection).await.is_ok(),
        None => false,
    }
}

fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE))
}

async fn within_patience<T>(address: &Address, call: impl Future<Output = Result<T, Failure>>) -> Result<T> {
    within(PATIENCE, &address.to_string(), call)
        .await
        .map_err(|failed| match failed {
            // Or it would be looked for at the server.
            Error::Auth(text) => Error::Auth(format!("by Sentinel at {address}: {text}")),
            Error::Denied(text) => Error::Denied(format!("by Sentinel at {address}: {text}")),
            failed => failed,
        })
}

/// Connects and asks, no longer than that.
pub(super) async fn within<T>(
    patience: Duration,
    address: &str,
    call: impl Future<Output = Result<T, Failure>>,
) -> Result<T> {
    let during = During {
        address,
        connecting: true,
        patience,
    };
    match tokio::time::timeout(patience, call).await {
        Ok(answer) => answer.map_err(|failure| failure.understand(during)),
        Err(_) => Err(Error::Timeout {
            address: address.to_owned(),
            after: patience,
        }),
    }
}
