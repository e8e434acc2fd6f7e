//! One connection to Redis that is made again when it breaks.
//!
//! Why not redis-rs' `ConnectionManager`: on a broken connection it makes callers wait through its retries, while
//! ours get their error at once (a request to the API must not hang because Redis is away); it re-sends no
//! `CLIENT TRACKING`; it knows no Sentinel; and a new connection may lead to another server, which has to be looked at
//! again.
//!
//! `pace` says when the next connection may be made, `sentinels` to whom, `client` how to log in, `stream` how much may be
//! answered, `handshake` what is asked first. `cluster` asks which node has a key.

mod client;
mod cluster;
mod handshake;
mod opinions;
mod pace;
mod sentinels;
mod slot;
mod stream;
mod turned_away;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, Pipeline, ProtocolVersion, RedisError,
    ServerErrorKind, Value,
};
use tokio::task::JoinHandle;

pub use self::stream::AnswerLimit;
use self::{
    client::{Connection, Failure, Login},
    handshake::start_tracking,
    sentinels::Sentinels,
    slot::Slot,
};
pub(crate) use self::{
    cluster::{Nodes, named},
    handshake::{Introduction, check_role, field},
    stream::AnswerTooLarge,
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
    /// Whether a queue of workerpool's own is used over it, which needs more of a server.
    own: bool,
    /// What is told of changes; set on the observer's connection only.
    ear: Option<Arc<Ear>>,
    slot: Arc<Slot>,
    /// What was logged as denied.
    denials: Mutex<BTreeSet<&'static str>>,
    /// Held by the one who connects.
    connecting: tokio::sync::Mutex<()>,
}

/// What a link is for.
enum Use {
    /// Queues of workerpool's own.
    Own,
    /// Reading, also other systems' queues, on older servers and with fewer rights; perhaps with notices of changes.
    Sources(Option<Arc<Ear>>),
}

/// To whom a link leads.
#[derive(Debug)]
enum Target {
    /// Always the same address, whoever answers there.
    Address(Address),
    /// Whom Sentinel calls the master.
    Master(Arc<Sentinels>),
}

/// A connection, as long as it lives.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) connection: Connection,
    /// What the server told of itself.
    pub(crate) introduction: Arc<Introduction>,
    /// Tells it from the ones before.
    pub(crate) generation: u64,
    /// Whether the server tells of changes on it.
    pub(crate) tracked: bool,
    resp3: bool,
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
    /// A link to `db` of the server, for queues of workerpool's own.
    pub(crate) fn new(server: &Server, db: u32, limit: AnswerLimit) -> Result<Self> {
        Self::with(server, db, limit, RESPONSE_TIMEOUT, Use::Own)
    }

    /// A link on which answers may take longer, because commands block.
    pub(crate) fn blocking(server: &Server, db: u32, longest: Duration) -> Result<Self> {
        let patience = longest + RESPONSE_TIMEOUT;
        Self::with(server, db, AnswerLimit::WORK, patience, Use::Own)
    }

    /// A link over which other systems' queues may be read, too, and on which the server announces changes.
    pub(crate) fn tracking(server: &Server, ear: Arc<Ear>) -> Result<Self> {
        Self::with(
            server,
            0,
            AnswerLimit::READ,
            RESPONSE_TIMEOUT,
            Use::Sources(Some(ear)),
        )
    }

    /// A link over which a server is asked about itself, whichever queues are there.
    pub(crate) fn asking(server: &Server) -> Result<Self> {
        Self::with(server, 0, AnswerLimit::READ, RESPONSE_TIMEOUT, Use::Sources(None))
    }

    fn with(server: &Server, db: u32, limit: AnswerLimit, patience: Duration, usage: Use) -> Result<Self> {
        if server.cluster.is_some() {
            return Err(Error::Config(NO_CLUSTER.to_owned()));
        }
        let (own, ear) = match usage {
            Use::Own => (true, None),
            Use::Sources(ear) => (false, ear),
        };
        let protocol = if ear.is_some() {
            ProtocolVersion::RESP3
        } else {
            ProtocolVersion::RESP2
        };
        let login = Login::to(server, db, protocol, limit);
        login.check(&server.address)?;
        let target = match &server.sentinel {
            None => Target::Address(server.address.clone()),
            Some(sentinel) => Target::Master(Arc::new(Sentinels::new(sentinel, server)?)),
        };
        Ok(Self {
            address: server.to_string(),
            login,
            target,
            patience,
            own,
            ear,
            slot: Arc::default(),
            denials: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        })
    }

    /// Whether it is the first time on this link that this is denied, so that it is logged once.
    pub(crate) fn is_first_denial(&self, what: &'static str) -> bool {
        let mut denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        denials.insert(what)
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

    /// Sends commands in one round trip; one answer each, in their order.
    pub(crate) async fn send_all(&self, pipeline: &Pipeline) -> Result<Vec<Result<Value>>> {
        let mut live = self.live().await?;
        let answers = live
            .connection
            .send_packed_commands(pipeline, 0, pipeline.len())
            .await
            .map_err(|err| self.failed(&live, &err))?;
        let understand = |answer: Value| answer.extract_error().map_err(|err| self.failed(&live, &err));
        Ok(answers.into_iter().map(understand).collect())
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
        let introduction = Arc::clone(&live.introduction);
        let current = introduction
            .ask_again(&mut live.connection, live.resp3)
            .await
            .map_err(|err| self.failed(&live, &err))?;
        let Some(current) = current else {
            self.give_up(live.generation);
            return Ok(());
        };
        current
            .check_role()
            .inspect_err(|err| self.give_up_because(live.generation, err))
    }

    /// Understands an error, and gives the connection up if it is the connection's.
    pub(crate) fn failed(&self, live: &Live, err: &RedisError) -> Error {
        let during = During {
            address: &live.address,
            connecting: false,
            patience: self.patience,
        };
        let err = match live.connection.exceeded() {
            Some(limit) => Error::AnswerTooLarge {
                address: live.address.to_string(),
                limit: limit.bytes(),
            },
            None => Error::from_redis(err, during),
        };
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
            Target::Address(address) => return self.connect_to(address, &self.address).await,
            Target::Master(sentinels) => sentinels,
        };
        let mut failure = None;
        for master in sentinels.masters().await? {
            match self.connect_to(&master, &sentinels.describe(&master)).await {
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

    /// Connects to whom `described` names in errors and logs.
    async fn connect_to(&self, address: &Address, described: &str) -> Result<Live> {
        let during = During {
            address: described,
            connecting: true,
            patience: CONNECT_TIMEOUT,
        };
        let handshake = async {
            match self.shake_hands(&self.login, address, described).await {
                Err(Failure::Redis(err)) if self.ear.is_some() && client::refuses_resp3(&err) => {
                    tracing::warn!(address = described, %err, "no RESP3 is spoken there; polling is all there is");
                    let login = self.login.in_resp2();
                    self.shake_hands(&login, address, described).await
                }
                made => made,
            }
        };
        // A server may fall silent after the login, too.
        let made = tokio::time::timeout(2 * CONNECT_TIMEOUT, handshake)
            .await
            .map_err(|_| Error::Timeout {
                address: described.to_owned(),
                after: 2 * CONNECT_TIMEOUT,
            })?;
        match made {
            Ok(live) => {
                let Live {
                    generation, tracked, ..
                } = live;
                tracing::debug!(address = described, generation, tracked, "connected to Redis");
                Ok(live)
            }
            Err(Failure::Redis(err)) if err.is_connection_dropped() && !self.login.speaks_tls() => {
                let reason = turned_away::reason(address).await;
                Err(reason.unwrap_or_else(|| Error::from_redis(&err, during)))
            }
            Err(failure) => Err(failure.understand(during)),
        }
    }

    /// A connection that may be used; or why there is none, or it may not.
    async fn shake_hands(&self, login: &Login, address: &Address, described: &str) -> Result<Live, Failure> {
        let resp3 = login.speaks_resp3();
        let ear = self.ear.clone().filter(|_| resp3);
        let tells = ear.is_some();
        let mut config = AsyncConnectionConfig::new().set_response_timeout(Some(self.patience));
        if let Some(ear) = ear {
            config = config.set_push_sender(move |push| {
                ear.hear(push);
                Ok::<(), redis::aio::SendError>(())
            });
        }
        let mut connection = login.connect(address, CONNECT_TIMEOUT, config).await?;
        // Before anything that an old server would not understand.
        let introduction = Introduction::ask(&mut connection, described, resp3).await?;
        if self.own {
            introduction.check_for_own()?;
        } else {
            introduction.check_for_sources()?;
            if let Some(unknown) = introduction.unknown()
                && self.is_first_denial("INFO")
            {
                tracing::warn!(address = described, "{unknown}");
            }
        }
        let tracked = tells && start_tracking(&mut connection).await?;
        Ok(Live {
            connection,
            introduction: Arc::new(introduction),
            generation: self.slot.next_generation(),
            tracked,
            resp3,
            address: described.into(),
            made_at: Instant::now(),
            _listener: None,
        })
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
