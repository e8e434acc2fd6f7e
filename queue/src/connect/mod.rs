//! One connection to Redis that is made again when it breaks.
//!
//! Why not redis-rs' `ConnectionManager`: on a broken connection it makes callers wait through its retries, while
//! ours get their error at once (a request to the API must not hang because Redis is away); it re-sends no
//! `CLIENT TRACKING`; it knows no Sentinel; and a new connection may lead to another server, which has to be looked at
//! again.
//!
//! `pace` says when the next connection may be made, `sentinels` to whom, `handshake` what is asked first. `cluster` asks which
//! node has a key.

mod client;
mod cluster;
mod handshake;
mod opinions;
mod pace;
mod sentinels;
mod slot;
mod turned_away;

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, ProtocolVersion, RedisError,
    ServerErrorKind, Value, aio::MultiplexedConnection,
};
use tokio::task::JoinHandle;

use self::{
    client::Login,
    handshake::{Introduction, check_role, start_tracking},
    sentinels::Sentinels,
    slot::Slot,
};
pub(crate) use self::{
    cluster::{Nodes, named},
    handshake::field,
};
use crate::{
    Address, Error, Result, Server,
    error::During,
    keys::Keys,
    observer::Ear,
    scripts::{self, Script, Step},
};

/// Name lookup, TCP, TLS and login together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long an answer may take. Far above what a healthy server needs (the longest script takes some ms), far
/// below what somebody waits for.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a queue of ours is not in a cluster.
pub const NO_CLUSTER: &str = "a queue of workerpool's own cannot be in a Redis Cluster: it is kept in two databases, and \
     by scripts over keys of many slots";

/// A connection to one server, shared by everybody who holds it.
#[derive(Debug)]
pub(crate) struct Link {
    address: String,
    login: Login,
    target: Target,
    patience: Duration,
    /// What is told of changes; set on the observer's connection only.
    ear: Option<Arc<Ear>>,
    slot: Arc<Slot>,
    /// Held by the one who connects.
    connecting: tokio::sync::Mutex<()>,
}

/// To whom a link leads.
#[derive(Debug)]
enum Target {
    /// Always the same address, whoever answers there.
    Address(Box<Client>),
    /// Whom Sentinel calls the master.
    Master(Arc<Sentinels>),
}

/// A connection, as long as it lives.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) connection: MultiplexedConnection,
    /// Tells it from the ones before.
    pub(crate) generation: u64,
    /// Whether the server tells of changes on it.
    pub(crate) tracked: bool,
    /// Whom it leads to, for errors.
    pub(crate) address: Arc<str>,
    made_at: Instant,
    /// What listens for another master; ends with the last clone.
    _listener: Option<Arc<Listener>>,
}

#[derive(Debug)]
struct Listener(JoinHandle<()>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Link {
    /// A link to `db` of the server.
    pub(crate) fn new(server: &Server, db: u32) -> Result<Self> {
        Self::with(server, db, RESPONSE_TIMEOUT, None)
    }

    /// A link on which answers may take longer, because commands block.
    pub(crate) fn blocking(server: &Server, db: u32, longest: Duration) -> Result<Self> {
        Self::with(server, db, longest + RESPONSE_TIMEOUT, None)
    }

    /// A link on which the server tells of changes.
    pub(crate) fn tracking(server: &Server, ear: Arc<Ear>) -> Result<Self> {
        Self::with(server, 0, RESPONSE_TIMEOUT, Some(ear))
    }

    fn with(server: &Server, db: u32, patience: Duration, ear: Option<Arc<Ear>>) -> Result<Self> {
        if server.cluster.is_some() {
            return Err(Error::Config(NO_CLUSTER.to_owned()));
        }
        let protocol = if ear.is_some() {
            ProtocolVersion::RESP3
        } else {
            ProtocolVersion::RESP2
        };
        let login = Login::to(server, db, protocol);
        let target = match &server.sentinel {
            None => Target::Address(Box::new(login.client(&server.address)?)),
            Some(sentinel) => Target::Master(Arc::new(Sentinels::new(sentinel, server)?)),
        };
        Ok(Self {
            address: server.to_string(),
            login,
            target,
            patience,
            ear,
            slot: Arc::default(),
            connecting: tokio::sync::Mutex::default(),
        })
    }

    /// Where it leads, as it was configured.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Calls a script; loads it first if the server does not know it. On a connection that turns out to be dead (the
    /// server was restarted since) it is called once more on a new one: every script can be repeated.
    pub(crate) async fn run<S: Step>(&self, keys: &Keys, step: &S) -> Result<S::Answer> {
        let command = scripts::command(keys, step);
        let answer = match self.call(&command, step.script()).await {
            Err(Error::Disconnected { .. }) => self.call(&command, step.script()).await,
            answer => answer,
        };
        step.read(answer?)
    }

    async fn call(&self, cmd: &Cmd, script: &'static Script) -> Result<Value> {
        let mut live = self.live().await?;
        let mut answer = cmd.query_async(&mut live.connection).await;
        if answer.as_ref().is_err_and(is_noscript) {
            answer = match script.load_async(&mut live.connection).await {
                Ok(_) => cmd.query_async(&mut live.connection).await,
                Err(err) => Err(err),
            };
        }
        answer.map_err(|err| self.failed(&live, &err))
    }

    /// Sends one command, and understands its answer as a `T`.
    pub(crate) async fn send<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T> {
        let mut live = self.live().await?;
        cmd.query_async(&mut live.connection)
            .await
            .map_err(|err| self.failed(&live, &err))
    }

    /// One round trip, which also sees whether the server still is the master: one that was made a replica goes on
    /// answering, without an error, what was long ago. On a dead connection once more, as [`Link::run`].
    pub(crate) async fn ping(&self) -> Result<()> {
        match self.ask_role().await {
            Err(Error::Disconnected { .. }) => self.ask_role().await,
            answer => answer,
        }
    }

    async fn ask_role(&self) -> Result<()> {
        let mut live = self.live().await?;
        let replication: String = redis::cmd("INFO")
            .arg("replication")
            .query_async(&mut live.connection)
            .await
            .map_err(|err| self.failed(&live, &err))?;
        check_role(field(&replication, "role"), &live.address)
            .inspect_err(|err| self.give_up_because(live.generation, err))
    }

    /// Understands an error, and gives the connection up if it is the connection's.
    pub(crate) fn failed(&self, live: &Live, err: &RedisError) -> Error {
        let during = During {
            address: &live.address,
            connecting: false,
            patience: self.patience,
        };
        let err = Error::from_redis(err, during);
        if err.needs_new_connection() {
            self.give_up_because(live.generation, &err);
        }
        err
    }

    /// Gives a connection up, so that the next call makes a new one. A newer one is left alone.
    pub(crate) fn give_up(&self, generation: u64) {
        let because = Error::Disconnected {
            address: self.address.clone(),
            detail: "it was given up".to_owned(),
        };
        self.give_up_because(generation, &because);
    }

    fn give_up_because(&self, generation: u64, err: &Error) {
        give_up(&self.slot, self.ear.as_deref(), generation, err);
    }

    /// The connection; made if there is none. While none may be made, the last failure at once.
    pub(crate) async fn live(&self) -> Result<Live> {
        if let Some(live) = self.slot.live() {
            return Ok(live);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(live) = self.slot.live() {
            return Ok(live);
        }
        if let Some(refusal) = self.slot.refusal() {
            return Err(refusal);
        }
        let live = self.connect().await.inspect_err(|err| self.slot.failed(err))?;
        self.slot.put(live.clone());
        if let Some(ear) = &self.ear {
            // Whatever changed meanwhile, nobody told us.
            ear.mark_all();
        }
        Ok(live)
    }

    async fn connect(&self) -> Result<Live> {
        let sentinels = match &self.target {
            Target::Address(client) => return self.connect_to(client, &self.address).await,
            Target::Master(sentinels) => sentinels,
        };
        let mut failure = None;
        for master in sentinels.masters().await? {
            let client = self.login.client(&master)?;
            match self.connect_to(&client, &sentinels.describe(&master)).await {
                Ok(live) => return Ok(self.listen_for_another(live, sentinels, master)),
                Err(err) => failure = failure.or(Some(err)),
            }
        }
        Err(failure.unwrap_or_else(|| Error::Unexpected("Sentinel names nobody".to_owned())))
    }

    /// Gives `live` up when Sentinel calls another the master. The old one need not have failed for us: it may be cut
    /// off from all but us, and what it still takes will be lost.
    fn listen_for_another(&self, live: Live, sentinels: &Arc<Sentinels>, master: Address) -> Live {
        let (generation, address) = (live.generation, live.address.to_string());
        let (slot, ear) = (Arc::downgrade(&self.slot), self.ear.as_ref().map(Arc::downgrade));
        let sentinels = Arc::clone(sentinels);
        let listener = tokio::spawn(async move {
            sentinels.until_switched(&master).await;
            tracing::info!(address, "Sentinel names another master");
            let replaced = Error::NotMaster {
                address,
                role: "master that Sentinel has replaced".to_owned(),
            };
            if let Some(slot) = slot.upgrade() {
                let ear = ear.as_ref().and_then(Weak::upgrade);
                give_up(&slot, ear.as_deref(), generation, &replaced);
            }
        });
        Live {
            _listener: Some(Arc::new(Listener(listener))),
            ..live
        }
    }

    async fn connect_to(&self, client: &Client, address: &str) -> Result<Live> {
        let during = During {
            address,
            connecting: true,
            patience: CONNECT_TIMEOUT,
        };
        let handshake = async {
            match self.shake_hands(client, address).await {
                Err(err) if self.ear.is_some() && client::refuses_resp3(&err) => {
                    tracing::warn!(address, %err, "no RESP3 is spoken there; polling is all there is");
                    self.shake_hands(&client::in_resp2(client)?, address).await
                }
                made => made,
            }
        };
        // The timeout of redis-rs ends with the login; a server may fall silent after that too.
        let made = tokio::time::timeout(2 * CONNECT_TIMEOUT, handshake)
            .await
            .map_err(|_| Error::Timeout {
                address: address.to_owned(),
                after: 2 * CONNECT_TIMEOUT,
            })?;
        let (connection, tracked) = match made {
            Ok(made) => made?,
            Err(err) => {
                let reason = if err.is_connection_dropped() {
                    turned_away::reason(client).await
                } else {
                    None
                };
                return Err(reason.unwrap_or_else(|| Error::from_redis(&err, during)));
            }
        };
        let generation = self.slot.next_generation();
        tracing::debug!(address, generation, tracked, "connected to Redis");
        Ok(Live {
            connection,
            generation,
            tracked,
            address: address.into(),
            made_at: Instant::now(),
            _listener: None,
        })
    }

    /// A connection that may be used, and whether the server tells of changes on it; or why it may not.
    async fn shake_hands(
        &self,
        client: &Client,
        address: &str,
    ) -> Result<Result<(MultiplexedConnection, bool)>, RedisError> {
        let ear = self.ear.clone().filter(|_| client::speaks_resp3(client));
        let tells = ear.is_some();
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.patience));
        if let Some(ear) = ear {
            config = config.set_push_sender(move |push| {
                ear.hear(push);
                Ok::<(), redis::aio::SendError>(())
            });
        }
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        // Before anything that an old server would not understand.
        if let Err(unfit) = Introduction::ask(&mut connection).await?.check(address) {
            return Ok(Err(unfit));
        }
        let tracked = tells && start_tracking(&mut connection).await?;
        Ok(Ok((connection, tracked)))
    }
}

/// Takes a connection out of its slot, and tells the observer, which makes the next one at once.
fn give_up(slot: &Slot, ear: Option<&Ear>, generation: u64, because: &Error) {
    if slot.give_up(generation, because)
        && let Some(ear) = ear
    {
        ear.connection_ended();
    }
}

pub(crate) fn is_noscript(err: &RedisError) -> bool {
    err.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
