//! From where a server is and how to log in to redis-rs' client.

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisError, ServerErrorKind, TlsCertificates, io::tcp::TcpSettings,
};

use crate::{Address, Error, Result, Secret, Server, Tls};

/// Who logs in, and on what.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) tls: Option<Tls>,
    pub(super) db: u32,
    pub(super) protocol: ProtocolVersion,
}

impl Login {
    /// As the server asks for it.
    pub(super) fn to(server: &Server, db: u32, protocol: ProtocolVersion) -> Self {
        Self {
            username: server.username.clone(),
            password: server.password.clone(),
            tls: server.tls.clone(),
            db,
            protocol,
        }
    }

    /// Connects nothing yet.
    pub(super) fn client(&self, address: &Address) -> Result<Client> {
        self.build(address).map_err(|err| Error::Tls {
            address: address.to_string(),
            detail: err.to_string(),
        })
    }

    pub(super) fn build(&self, address: &Address) -> Result<Client, RedisError> {
        let (host, port) = (address.host.clone(), address.port);
        let Some(tls) = &self.tls else {
            return Client::open(self.connection_info(ConnectionAddr::Tcp(host, port))?);
        };
        let addr = ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        };
        let certificates = TlsCertificates {
            client_tls: tls.identity.as_ref().map(|identity| ClientTlsConfig {
                client_cert: identity.certificate.clone().into_bytes(),
                client_key: identity.key.reveal().as_bytes().to_vec(),
            }),
            root_cert: tls.ca.clone().map(String::into_bytes),
        };
        Client::build_with_tls(self.connection_info(addr)?, certificates)
    }

    fn connection_info(&self, addr: ConnectionAddr) -> Result<ConnectionInfo, RedisError> {
        let mut login = RedisConnectionInfo::default()
            .set_db(i64::from(self.db))
            .set_protocol(self.protocol);
        if let Some(username) = &self.username {
            login = login.set_username(username);
        }
        if let Some(password) = &self.password {
            login = login.set_password(password.reveal());
        }
        // Calls are small and are waited for: Nagle's algorithm would hold them back.
        let tcp = TcpSettings::default().set_nodelay(true);
        Ok(addr
            .into_connection_info()?
            .set_redis_settings(login)
            .set_tcp_settings(tcp))
    }
}

pub(super) fn speaks_resp3(client: &Client) -> bool {
    client.get_connection_info().redis_settings().protocol() == ProtocolVersion::RESP3
}

/// Whether it is the answer of who does not know `HELLO`, or not RESP3: a server's own has a code of its own for each other
/// cause, proxies' words differ.
pub(super) fn refuses_resp3(err: &RedisError) -> bool {
    match err.kind() {
        ErrorKind::RESP3NotSupported | ErrorKind::Server(ServerErrorKind::ResponseError) => true,
        _ => err.code() == Some("NOPROTO"),
    }
}

/// The same, in RESP2.
pub(super) fn in_resp2(client: &Client) -> Result<Client, RedisError> {
    let info = client.get_connection_info();
    let settings = info.redis_settings().clone();
    let settings = settings.set_protocol(ProtocolVersion::RESP2);
    Client::open(info.clone().set_redis_settings(settings))
}
