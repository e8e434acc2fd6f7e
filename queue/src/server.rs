//! Where a Redis is and how to log in; which queue on it.

use std::{fmt, fs, io, path::PathBuf, str::FromStr};

use crate::{Error, Result, Status};

/// Where a Redis is and how to log in.
///
/// Two equal `Server`s may share one connection: this is the key under which the operator does so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    /// Where it listens. Not used with `sentinel`.
    pub address: Address,
    /// The ACL user; `None` is Redis' `default`.
    pub username: Option<String>,
    /// The password, if one is needed.
    pub password: Option<Secret>,
    /// Files that hold the login. A file beats the value above.
    pub login_files: LoginFiles,
    /// TLS, if it is spoken; with Sentinel too then.
    pub tls: Option<Tls>,
    /// Who knows where the master is, if it may move.
    pub sentinel: Option<Sentinel>,
    /// Who knows which node has which key, if it is a Redis Cluster. Only [`Observer`](crate::Observer)s of other systems'
    /// queues can use one. Excludes `sentinel`.
    pub cluster: Option<Cluster>,
}

impl Server {
    /// A server without login and without TLS.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            username: None,
            password: None,
            login_files: LoginFiles::default(),
            tls: None,
            sentinel: None,
            cluster: None,
        }
    }

    /// The master that these sentinels name, without login and without TLS.
    ///
    /// # Errors
    /// [`Error::Config`] if no sentinel is named.
    pub fn behind(sentinel: Sentinel) -> Result<Self> {
        let address = sentinel
            .addresses
            .first()
            .cloned()
            .ok_or_else(|| Error::Config("Sentinel needs the address of at least one".to_owned()))?;
        Ok(Self {
            sentinel: Some(sentinel),
            ..Self::new(address)
        })
    }

    /// The cluster of these nodes, without login and without TLS.
    ///
    /// # Errors
    /// [`Error::Config`] if no node is named.
    pub fn in_cluster(cluster: Cluster) -> Result<Self> {
        let address = cluster.addresses.first().cloned().ok_or_else(|| {
            Error::Config("a Redis Cluster needs the address of at least one node".to_owned())
        })?;
        Ok(Self {
            cluster: Some(cluster),
            ..Self::new(address)
        })
    }

    /// One node of the cluster, with the same login and TLS.
    pub(crate) fn node(&self, address: &Address) -> Self {
        Self {
            address: address.clone(),
            cluster: None,
            ..self.clone()
        }
    }
}

/// The address, or the master's name and who knows it.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.sentinel, &self.cluster) {
            (Some(sentinel), _) => write!(f, "Sentinel's master {:?}", sentinel.master),
            (None, Some(_)) => write!(f, "the Redis Cluster of {}", self.address),
            (None, None) => self.address.fmt(f),
        }
    }
}

/// Redis Sentinel: it watches a master and its replicas, and puts a replica in the place of a master that died.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sentinel {
    /// The name that the sentinels have for the master (`sentinel monitor NAME …`).
    pub master: String,
    /// Where sentinels listen; their usual port is 26379. All are asked, and one that answers is enough.
    pub addresses: Vec<Address>,
    /// The ACL user on the sentinels, which is not the one on the server; `None` is their `default`.
    pub username: Option<String>,
    /// The password on the sentinels, if one is needed.
    pub password: Option<Secret>,
    /// Files that hold the login to the sentinels. A file beats the value above.
    pub login_files: LoginFiles,
}

/// Redis Cluster: each key is on one of several masters, by the slot that its name (or the part of it in braces) falls into;
/// slots move from one master to another, and a replica takes a dead master's place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cluster {
    /// Where nodes listen: one that answers is enough, as each knows the others.
    pub addresses: Vec<Address>,
}

/// Host and port. Parsed from `host`, `host:port`, `[v6]:port`; the port defaults to 6379.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// A host name or an IP address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Address {
    /// The port that Redis listens on unless told otherwise.
    pub const DEFAULT_PORT: u16 = 6379;

    /// The port that Sentinel listens on unless told otherwise.
    pub const DEFAULT_SENTINEL_PORT: u16 = 26379;

    /// As `parse`, with another port where none is written.
    ///
    /// # Errors
    /// [`Error::Config`] with the text.
    pub fn parse_with_default_port(text: &str, default: u16) -> Result<Self> {
        let bad = || Error::Config(format!("{text:?} is no Redis address: write host or host:port"));
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(bad)?;
                match after {
                    "" => (host, None),
                    _ => (host, Some(after.strip_prefix(':').ok_or_else(bad)?)),
                }
            }
            // More than one colon and no brackets: a bare IPv6 address.
            None if text.matches(':').count() > 1 => (text, None),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/' || c == '@') {
            return Err(bad());
        }
        let port = match port {
            Some(port) => port.parse().ok().filter(|p| *p != 0).ok_or_else(bad)?,
            None => default,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse_with_default_port(text, Self::DEFAULT_PORT)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Text that is never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// How TLS is spoken. All texts are PEM.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Tls {
    /// The authorities that may have signed the server's certificate; `None` for Mozilla's.
    pub ca: Option<String>,
    /// The client's certificate and key, if the server asks for one.
    pub identity: Option<TlsIdentity>,
    /// The name that the server's certificate must be good for; `None` for the host that is connected to.
    pub server_name: Option<String>,
    /// Files that hold the texts. A file beats the value above.
    pub files: TlsFiles,
}

/// A file that a setting names. It is read again for each connection, because a mounted Secret changes while a program runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SettingFile {
    /// Its path.
    pub path: PathBuf,
    /// The setting that names it, for errors.
    pub setting: &'static str,
}

impl SettingFile {
    /// The whole text.
    ///
    /// # Errors
    /// [`Error::UnreadableFile`].
    pub fn read(&self) -> Result<String> {
        fs::read_to_string(&self.path).map_err(|err| self.unreadable(&err))
    }

    /// The text without the newline at its end; `None` if nothing else is in it.
    ///
    /// # Errors
    /// [`Error::UnreadableFile`].
    pub fn read_line(&self) -> Result<Option<String>> {
        let text = self.read()?;
        let line = text.trim_end_matches(['\r', '\n']);
        Ok(Some(line.to_owned()).filter(|line| !line.is_empty()))
    }

    /// As [`SettingFile::read_line`]; a file that does not exist holds nothing.
    ///
    /// # Errors
    /// [`Error::UnreadableFile`].
    pub fn read_line_if_exists(&self) -> Result<Option<String>> {
        match fs::metadata(&self.path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => self.read_line(),
        }
    }

    fn unreadable(&self, err: &io::Error) -> Error {
        Error::UnreadableFile {
            path: self.path.display().to_string(),
            setting: self.setting,
            detail: err.to_string(),
        }
    }
}

/// The files of a login.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct LoginFiles {
    /// Holds the ACL user's name. No such file: no user name, as a mounted Secret need not have that key.
    pub username: Option<SettingFile>,
    /// Holds the password.
    pub password: Option<SettingFile>,
}

/// The files of TLS, all PEM.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TlsFiles {
    /// The authorities that may have signed the server's certificate.
    pub ca: Option<SettingFile>,
    /// The client's certificate, and its key.
    pub identity: Option<[SettingFile; 2]>,
}

/// A client certificate. Both texts are PEM.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsIdentity {
    /// The certificate, with its chain if it has one.
    pub certificate: String,
    /// Its private key.
    pub key: Secret,
}

/// One queue on a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Queue {
    /// Its name.
    pub name: QueueName,
    /// The database that holds the list and everything of ours (2 by default).
    pub queue_db: u32,
    /// The database that holds the jobs' hashes (3 by default). May be the same.
    pub jobs_db: u32,
    /// How items are written; they are read in every shape.
    pub serializer: Serializer,
    /// Words with which programs that are not ours end jobs, besides `complete`, `failed` and `cancelled`.
    pub final_statuses: Vec<ForeignStatus>,
}

impl Queue {
    /// The original's database for the list.
    pub const DEFAULT_QUEUE_DB: u32 = 2;
    /// The original's database for the hashes.
    pub const DEFAULT_JOBS_DB: u32 = 3;

    /// A queue on the original's databases.
    pub fn new(name: QueueName) -> Self {
        Self {
            name,
            queue_db: Self::DEFAULT_QUEUE_DB,
            jobs_db: Self::DEFAULT_JOBS_DB,
            serializer: Serializer::default(),
            final_statuses: Vec::new(),
        }
    }
}

/// What a HotQueue calls its serializer: how a job's id is written to the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Serializer {
    /// HotQueue's default.
    #[default]
    Pickle,
    /// `serializer=json`: the id in quotes.
    Json,
    /// `serializer=None`: the bare id.
    None,
}

impl Serializer {
    /// As it stands in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pickle => "pickle",
            Self::Json => "json",
            Self::None => "none",
        }
    }
}

impl FromStr for Serializer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let all = [Self::Pickle, Self::Json, Self::None];
        let found = all.into_iter().find(|one| one.as_str() == text);
        found.ok_or_else(|| Error::Config(format!("{text:?} is no serializer: write pickle, json or none")))
    }
}

impl fmt::Display for Serializer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that a program which is not ours writes as a job's status: 1 to 64 characters, without commas and control
/// characters, and none of our own words.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ForeignStatus(String);

impl ForeignStatus {
    /// The most of one queue.
    pub const MAX: usize = 16;

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ForeignStatus {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let length = word.chars().count();
        let is_odd = |c: char| c == ',' || c.is_control();
        if !(1..=64).contains(&length) || word.chars().any(is_odd) || word.trim() != word {
            return Err(Error::Config(format!(
                "{word:?} is no status: write 1 to 64 characters, none of them a comma or a control character, and no space \
                 at either end"
            )));
        }
        if !matches!(Status::from(word), Status::Other(_)) {
            return Err(Error::Config(format!(
                "{word:?} is a status of workerpool's own: leave it out of the other programs' final statuses"
            )));
        }
        Ok(Self(word.to_owned()))
    }
}

/// A queue's name: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`. No colon, so that the keys of two queues never collide.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueName(String);

impl QueueName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for QueueName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let mut bytes = name.bytes();
        let starts_well = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
        let goes_on_well = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !starts_well || !goes_on_well || name.len() > 63 {
            return Err(Error::Config(format!(
                "{name:?} is no queue name: letters, digits, '.', '_' and '-', at most 63, a letter or digit first"
            )));
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_perhaps_a_port() {
        for (text, host, port) in [
            ("redis", "redis", 6379),
            ("redis:7000", "redis", 7000),
            ("10.0.0.1:7000", "10.0.0.1", 7000),
            ("::1", "::1", 6379),
            ("[::1]", "::1", 6379),
            ("[::1]:7000", "::1", 7000),
        ] {
            let expected = Address {
                host: host.to_owned(),
                port,
            };
            assert_eq!(text.parse(), Ok(expected.clone()), "{text}");
            assert_eq!(expected.to_string().parse(), Ok(expected));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_text_itself() {
        for text in [
            "",
            ":6379",
            "redis:",
            "redis:port",
            "redis:0",
            "redis:70000",
            "[::1",
            "[::1]7000",
            "a b",
            "tcp://10.0.0.1:6379",
        ] {
            let refused = text.parse::<Address>().unwrap_err().to_string();
            assert!(refused.contains(&format!("{text:?}")), "{refused}");
        }
    }

    #[test]
    fn a_queue_name_has_nothing_that_a_key_is_put_together_with() {
        for name in ["queue", "a", "Hw7.jobs_2-x", &"x".repeat(63)] {
            assert_eq!(name.parse::<QueueName>().unwrap().as_str(), name);
        }
        for name in ["", "a:b", "-a", ".a", "a b", "ä", &"x".repeat(64)] {
            assert!(name.parse::<QueueName>().is_err(), "{name}");
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        let server = Server {
            password: Some(Secret::new("swordfish")),
            ..Server::new("redis".parse().unwrap())
        };
        assert!(!format!("{server:?}").contains("swordfish"));
    }
}
