//! What makes the data on a server unsafe without anybody being told: read from what it tells of itself.

use std::{collections::HashMap, fmt};

use crate::{
    Error, Result, Server,
    connect::{Link, field},
};

/// A setting of Redis under which jobs are lost and nothing says so. A queue on such a server works; whoever looks
/// after it should know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Risk {
    /// When memory is full, keys are thrown away: jobs among them, and the list itself.
    Evicts {
        /// Its `maxmemory-policy`.
        policy: String,
    },
    /// No append-only file is kept: what was acknowledged since the last snapshot, if there are any, is lost with the
    /// process.
    NoAppendOnly,
    /// The append-only file reaches the disk when the system likes (`appendfsync no`): a power cut loses what was
    /// acknowledged within about half a minute.
    NoFsync,
    /// A replica may take the master's place, and a master that was cut off from all replicas goes on taking jobs,
    /// which are then lost (`min-replicas-to-write` is 0).
    UnguardedFailover,
}

impl Risk {
    /// A short name for metric labels; one per variant and never changing.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Evicts { .. } => "evicts",
            Self::NoAppendOnly => "no_append_only",
            Self::NoFsync => "no_fsync",
            Self::UnguardedFailover => "unguarded_failover",
        }
    }
}

/// What may happen, and what to do about it.
impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evicts { policy } => write!(
                f,
                "Redis throws jobs away when its memory is full (maxmemory-policy is {policy}): set it to noeviction"
            ),
            Self::NoAppendOnly => f.write_str(
                "Redis forgets the jobs since its last snapshot when it stops (appendonly is no): set it to yes",
            ),
            Self::NoFsync => f.write_str(
                "a power cut loses the jobs of about half a minute (appendfsync is no): set it to everysec or always",
            ),
            Self::UnguardedFailover => f.write_str(
                "Redis has replicas, and a master that is cut off from them takes jobs that are then lost \
                 (min-replicas-to-write is 0): set it to 1",
            ),
        }
    }
}

/// What puts the data on a server at risk, whichever queues are there. Asks over a connection of its own, which ends then.
///
/// # Errors
/// Any that says why Redis cannot be asked.
pub async fn risks_of(server: &Server) -> Result<Vec<Risk>> {
    read(&Link::asking(server)?).await
}

/// Asks the server. All but the last is in `INFO`, which every user of the queue may run; `CONFIG`, which managed
/// servers deny, is done without.
pub(crate) async fn read(link: &Link) -> Result<Vec<Risk>> {
    let mut info = String::new();
    for section in ["memory", "persistence", "replication"] {
        let answer = link.send::<String>(redis::cmd("INFO").arg(section)).await;
        info.push_str(&answer.map_err(|err| match err {
            Error::Denied(text) => Error::Denied(format!("{text}: grant INFO (ACL SETUSER <user> +info)")),
            err => err,
        })?);
    }
    let fsync: HashMap<String, String> =
        match link.send(redis::cmd("CONFIG").arg(&["GET", "appendfsync"])).await {
            // Not for this user, or not on this server.
            Err(err) if err.is_denial() => HashMap::new(),
            answer => answer?,
        };
    Ok(judge(&info, fsync.get("appendfsync").map(String::as_str)))
}

/// What a server does not tell is no risk: a warning that nobody can act on would only be switched off.
fn judge(info: &str, appendfsync: Option<&str>) -> Vec<Risk> {
    let mut risks = Vec::new();
    if let Some(policy) = field(info, "maxmemory_policy").filter(|policy| *policy != "noeviction") {
        risks.push(Risk::Evicts {
            policy: policy.to_owned(),
        });
    }
    match field(info, "aof_enabled") {
        // While it loads its file, a server takes it for switched off.
        Some("0") if field(info, "loading") != Some("1") => risks.push(Risk::NoAppendOnly),
        Some("1") if appendfsync == Some("no") => risks.push(Risk::NoFsync),
        _ => {}
    }
    let replicas = field(info, "connected_slaves").is_some_and(|replicas| replicas != "0");
    // Told only if some are demanded.
    let guarded = field(info, "min_slaves_good_slaves").is_some();
    if replicas && !guarded {
        risks.push(Risk::UnguardedFailover);
    }
    risks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_does_not_tell_is_no_risk() {
        assert_eq!(judge("", None), []);
        assert_eq!(
            judge("aof_enabled:1\r\nmaxmemory_policy:noeviction\r\n", None),
            []
        );
    }

    #[test]
    fn server_that_loads_its_append_only_file_has_one() {
        assert_eq!(judge("loading:1\r\naof_enabled:0\r\n", None), []);
        assert_eq!(
            judge("loading:0\r\naof_enabled:0\r\n", None),
            [Risk::NoAppendOnly]
        );
    }

    #[test]
    fn every_risk_says_which_setting_to_change() {
        for (risk, setting) in [
            (
                Risk::Evicts {
                    policy: "allkeys-lru".to_owned(),
                },
                "maxmemory-policy",
            ),
            (Risk::NoAppendOnly, "appendonly"),
            (Risk::NoFsync, "appendfsync"),
            (Risk::UnguardedFailover, "min-replicas-to-write"),
        ] {
            assert!(risk.to_string().contains(setting), "{risk}");
        }
    }
}
