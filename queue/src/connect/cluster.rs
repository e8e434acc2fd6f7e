//! Asking the nodes of a Redis Cluster which of them has some keys.
//!
//! Asked for keys of another, each node says whose they are (`MOVED`). So the question itself is what is asked, and nobody
//! computes slots or keeps a table of them.

use std::time::Duration;

use redis::{AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, RedisResult, Value};
use tokio::task::JoinSet;

use super::{
    client::{Connection, Failure, Login},
    is_noscript,
    sentinels::within,
    stream::AnswerLimit,
};
use crate::{
    Address, Error, Result, Server,
    error::{During, brief},
    scripts::Script,
};

/// How long a node may take to be reached and to answer: one that is down must not hold up the others.
const PATIENCE: Duration = Duration::from_secs(1);

/// How to reach any node, for one question.
#[derive(Debug)]
pub(crate) struct Nodes {
    login: Login,
}

impl Nodes {
    /// Connects nothing yet. Login and TLS are the same on all nodes.
    pub(crate) fn new(server: &Server) -> Self {
        Self {
            // A cluster has one database.
            login: Login::to(server, 0, ProtocolVersion::RESP2, AnswerLimit::READ),
        }
    }

    /// Which node each command is for, as the first of these nodes says that knows. All are asked at once.
    pub(crate) async fn owners(&self, asked: &[Address], commands: &[Cmd]) -> Vec<Result<Address>> {
        let mut asking = JoinSet::new();
        for address in asked {
            asking.spawn(owners_by(self.login.clone(), address.clone(), commands.to_vec()));
        }
        let nobody = || Err(Error::Config("no node of the Redis Cluster is known".to_owned()));
        let mut owners: Vec<Result<Address>> = commands.iter().map(|_| nobody()).collect();
        // Each ends by itself within its own patience.
        while let Some(answer) = asking.join_next().await {
            // Nobody cancels it, so the runtime is shutting down.
            let Ok(answer) = answer else { break };
            let said = answer.unwrap_or_else(|err| vec![Err(err); commands.len()]);
            for (owner, said) in owners.iter_mut().zip(said) {
                if !is_settled(owner) {
                    *owner = said;
                }
            }
            if owners.iter().all(is_settled) {
                break;
            }
        }
        owners
    }

    /// Asks a node that a slot moves to, and that has the keys already though the slot is not its own yet (`ASK`).
    pub(crate) async fn ask(&self, address: &Address, script: &Script, command: &Cmd) -> Result<Value> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("ASKING");
        pipeline.add_command(command.clone());
        let text = address.to_string();
        let answers = within(PATIENCE, &text, async {
            let mut connection = connect(&self.login, address).await?;
            // It is asked too seldom to find out first whether it knows the script.
            script.load_async(&mut connection).await?;
            let answers = connection.send_packed_commands(&pipeline, 0, pipeline.len());
            Ok(answers.await?)
        });
        let answer = answers.await?.pop().unwrap_or_default();
        answer
            .extract_error()
            .map_err(|err| Error::from_redis(&err, during(&text)))
    }
}

/// The node that another one names, as `host:port`.
pub(crate) fn named(to: &str, by: &Address) -> Result<Address> {
    let bad = || {
        Error::Unexpected(brief(format!(
            "the cluster's node {by} names {to:?} as the one that has the keys"
        )))
    };
    // An IPv6 address has no brackets there.
    let (host, port) = to.rsplit_once(':').ok_or_else(bad)?;
    let port = port.parse().map_err(|_| bad())?;
    match host {
        "?" => Err(bad()),
        // A node that knows no address of its own means the one by which it was reached.
        "" => Ok(Address {
            host: by.host.clone(),
            port,
        }),
        _ => Ok(Address {
            host: host.to_owned(),
            port,
        }),
    }
}

/// Whether no other node can know better.
fn is_settled(owner: &Result<Address>) -> bool {
    matches!(owner, Ok(_) | Err(Error::CrossSlot))
}

async fn owners_by(login: Login, address: Address, commands: Vec<Cmd>) -> Result<Vec<Result<Address>>> {
    let mut pipeline = Pipeline::new();
    for command in commands {
        pipeline.add_command(command);
    }
    let answers = within(PATIENCE, &address.to_string(), async {
        let mut connection = connect(&login, &address).await?;
        let answers = connection.send_packed_commands(&pipeline, 0, pipeline.len());
        Ok(answers.await?)
    })
    .await?;
    let answers = answers.into_iter().map(Value::extract_error);
    Ok(answers.map(|answer| owner_by(&address, answer)).collect())
}

/// Whose the keys are, from what a node answers to a question about them.
fn owner_by(address: &Address, answer: RedisResult<Value>) -> Result<Address> {
    let err = match answer {
        Ok(_) => return Ok(address.clone()),
        Err(err) if is_noscript(&err) => return Ok(address.clone()),
        Err(err) => Error::from_redis(&err, during(&address.to_string())),
    };
    match err {
        Error::Redirected {
            to, asking: false, ..
        } => named(&to, address),
        // It has the slot, though the slot is moving or the keys are not what they should be.
        Error::Redirected { .. } | Error::WrongType(_) => Ok(address.clone()),
        Error::SlotUnavailable(text) if text.starts_with("TRYAGAIN") => Ok(address.clone()),
        err => Err(err),
    }
}

async fn connect(login: &Login, address: &Address) -> Result<Connection, Failure> {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    login.connect(address, PATIENCE, config).await
}

fn during(address: &str) -> During<'_> {
    During {
        address,
        connecting: true,
        patience: PATIENCE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_is_named_by_host_and_port_by_an_address_of_ipv6_or_by_its_port_alone() {
        let by: Address = "seed:7000".parse().unwrap();
        for (to, expected) in [
            ("10.0.0.2:7001", "10.0.0.2:7001"),
            ("node-2.example.com:7001", "node-2.example.com:7001"),
            ("fd00::2:7001", "[fd00::2]:7001"),
            (":7001", "seed:7001"),
        ] {
            assert_eq!(named(to, &by).unwrap().to_string(), expected);
        }
        for to in ["?:7001", "10.0.0.2", "10.0.0.2:port"] {
            let refused = named(to, &by).unwrap_err().to_string();
            assert!(refused.contains(to), "{refused}");
        }
    }
}
