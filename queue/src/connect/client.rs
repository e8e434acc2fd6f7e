//! From where a server is and how to log in to a connection of redis-rs.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, ProtocolVersion, RedisConnectionInfo, RedisError,
    RedisFuture, ServerErrorKind, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::task::JoinHandle;

use super::stream::{AnswerLimit, Limited};
use crate::{Address, Error, LoginFiles, Result, Secret, Sentinel, Server, Tls, TlsIdentity, error::During};

/// Who logs in, and on what. Files are read for each connection.
#[derive(Debug, Clone)]
pub(super) struct Login {
    username: Option<String>,
    password: Option<Secret>,
    files: LoginFiles,
    tls: Option<Tls>,
    db: u32,
    protocol: ProtocolVersion,
    limit: AnswerLimit,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Failure {
    Redis(RedisError),
    /// Known without redis-rs.
    Own(Error),
}

impl From<RedisError> for Failure {
    fn from(err: RedisError) -> Self {
        Self::Redis(err)
    }
}

impl From<Error> for Failure {
    fn from(err: Error) -> Self {
        Self::Own(err)
    }
}

impl Failure {
    pub(super) fn understand(self, during: During<'_>) -> Error {
        match self {
            Self::Redis(err) => Error::from_redis(&err, during),
            Self::Own(err) => err,
        }
    }
}

impl Login {
    /// As the server asks for it.
    pub(super) fn to(server: &Server, db: u32, protocol: ProtocolVersion, limit: AnswerLimit) -> Self {
        Self {
            username: server.username.clone(),
            password: server.password.clone(),
            files: server.login_files.clone(),
            tls: server.tls.clone(),
            db,
            protocol,
            limit,
        }
    }

    /// As the sentinels of a server ask for it. TLS is the server's.
    pub(super) fn to_sentinels(sentinel: &Sentinel, server: &Server) -> Self {
        Self {
            username: sentinel.username.clone(),
            password: sentinel.password.clone(),
            files: sentinel.login_files.clone(),
            tls: server.tls.clone(),
            // Sentinel has no databases.
            db: 0,
            // Its push messages announce a switch of the master.
            protocol: ProtocolVersion::RESP3,
            limit: AnswerLimit::READ,
        }
    }

    /// The same, in RESP2.
    pub(super) fn in_resp2(&self) -> Self {
        Self {
            protocol: ProtocolVersion::RESP2,
            ..self.clone()
        }
    }

    pub(super) fn speaks_resp3(&self) -> bool {
        self.protocol == ProtocolVersion::RESP3
    }

    pub(super) fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads what the settings name, so that what can never work is refused at a program's start.
    pub(super) fn check(&self, address: &Address) -> Result<()> {
        self.settings()?;
        self.tls_for(address).map(drop)
    }

    /// Connects and logs in, within `patience`.
    pub(super) async fn connect(
        &self,
        address: &Address,
        patience: Duration,
        config: AsyncConnectionConfig,
    ) -> Result<Connection, Failure> {
        let (settings, tls) = (self.settings()?, self.tls_for(address)?);
        let connecting = async {
            let stream = Limited::connect(address, tls, self.limit).await?;
            let exceeded = stream.exceeded();
            let made = MultiplexedConnection::new_with_config(&settings, stream, config).await?;
            Ok((made, exceeded))
        };
        let elapsed = |_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        match tokio::time::timeout(patience, connecting)
            .await
            .map_err(elapsed)?
        {
            Ok(((connection, driver), exceeded)) => Ok(Connection {
                connection,
                limit: self.limit,
                exceeded,
                _driver: Arc::new(Driver(tokio::spawn(driver))),
            }),
            Err(err) => Err(self.name_checked(err, address)),
        }
    }

    /// Names the host that a certificate is not good for: it often stands in no setting.
    fn name_checked(&self, err: RedisError, address: &Address) -> Failure {
        let Some(tls) = &self.tls else { return err.into() };
        match Error::wrong_name(&err, name_of(tls, address), address) {
            Some(named) => named.into(),
            None => err.into(),
        }
    }

    fn settings(&self) -> Result<RedisConnectionInfo> {
        let LoginFiles { username, password } = &self.files;
        let username = match username {
            Some(file) => file.read_line_if_exists()?,
            None => self.username.clone(),
        };
        let password = match password {
            Some(file) => file.read_line()?,
            None => self
                .password
                .as_ref()
                .map(|password| password.reveal().to_owned()),
        };
        let mut settings = RedisConnectionInfo::default()
            .set_db(i64::from(self.db))
            .set_protocol(self.protocol);
        if let Some(username) = username.filter(|name| !name.is_empty()) {
            settings = settings.set_username(username);
        }
        if let Some(password) = password.filter(|password| !password.is_empty()) {
            settings = settings.set_password(password);
        }
        Ok(settings)
    }

    fn tls_for(&self, address: &Address) -> Result<Option<(ClientConfig, ServerName<'static>)>> {
        let Some(tls) = &self.tls else { return Ok(None) };
        let refused = |detail: String| Error::Tls {
            address: address.to_string(),
            detail,
        };
        let name = name_of(tls, address).to_owned();
        let server = ServerName::try_from(name.clone())
            .map_err(|err| refused(format!("{name:?} is no name for a certificate: {err}")))?;
        Ok(Some((tls_config(tls, &refused)?, server)))
    }
}

/// The name that the server's certificate must be good for.
fn name_of<'a>(tls: &'a Tls, address: &'a Address) -> &'a str {
    tls.server_name.as_deref().unwrap_or(&address.host)
}

fn tls_config(tls: &Tls, refused: &impl Fn(String) -> Error) -> Result<ClientConfig> {
    let ca = match &tls.files.ca {
        Some(file) => Some(file.read()?),
        None => tls.ca.clone(),
    };
    let mut roots = RootCertStore::empty();
    match ca {
        // The image has no system's ones.
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(ca) => {
            for certificate in certificates(&ca, "authority", refused)? {
                roots
                    .add(certificate)
                    .map_err(|err| refused(format!("the authority's certificate cannot be used: {err}")))?;
            }
        }
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    let identity = match &tls.files.identity {
        Some([certificate, key]) => Some(TlsIdentity {
            certificate: certificate.read()?,
            key: Secret::new(key.read()?),
        }),
        None => tls.identity.clone(),
    };
    let Some(TlsIdentity { certificate, key }) = identity else {
        return Ok(config.with_no_client_auth());
    };
    let chain = certificates(&certificate, "client", refused)?;
    let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes())
        .map_err(|err| refused(format!("the client certificate's key cannot be read: {err}")))?;
    config
        .with_client_auth_cert(chain, key)
        .map_err(|err| refused(format!("the client certificate cannot be used: {err}")))
}

fn certificates(
    pem: &str,
    whose: &str,
    refused: &impl Fn(String) -> Error,
) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let read = read.map_err(|err| refused(format!("the {whose}'s certificate cannot be read: {err}")))?;
    if read.is_empty() {
        return Err(refused(format!("there is no {whose}'s certificate in the PEM")));
    }
    Ok(read)
}

/// A connection and the task that drives it, which ends with the last clone.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    connection: MultiplexedConnection,
    limit: AnswerLimit,
    exceeded: Arc<AtomicBool>,
    _driver: Arc<Driver>,
}

impl Connection {
    /// The limit that an answer exceeded, which ended the connection.
    pub(super) fn exceeded(&self) -> Option<AnswerLimit> {
        self.exceeded.load(Ordering::Relaxed).then_some(self.limit)
    }
}

#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Deref for Connection {
    type Target = MultiplexedConnection;

    fn deref(&self) -> &MultiplexedConnection {
        &self.connection
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut MultiplexedConnection {
        &mut self.connection
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.connection.req_packed_command(cmd)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.connection.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}

/// Whether it is the answer of who does not know `HELLO`, or not RESP3: a server's own has a code of its own for each other
/// cause, proxies' words differ.
pub(super) fn refuses_resp3(err: &RedisError) -> bool {
    match err.kind() {
        ErrorKind::RESP3NotSupported | ErrorKind::Server(ServerErrorKind::ResponseError) => true,
        _ => err.code() == Some("NOPROTO"),
    }
}
