use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that the kernel keeps until the program takes them, as tokio's own listeners have it.
const BACKLOG: i32 = 1024;

/// A program cannot listen where its settings say.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({setting}): {}", reason(.error))]
pub struct BindError {
    address: SocketAddr,
    setting: String,
    error: io::Error,
}

/// Listens on `address`, which the user chooses by `setting`: the name of an environment variable, for the error's text.
///
/// `[::]` takes IPv4 clients too, whatever the host's `net.ipv6.bindv6only` says. On a host without IPv6 it is `0.0.0.0`.
///
/// # Errors
/// If the operating system refuses, with what to do.
pub async fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener, BindError> {
    with_fallback(address, listen).map_err(|error| BindError {
        address,
        setting: setting.to_owned(),
        error,
    })
}

/// Calls `listen` with the address, and once more with that of IPv4 if `[::]` fails for lack of IPv6.
fn with_fallback<T>(address: SocketAddr, listen: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    match listen(address) {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() && is_lack_of_ipv6(&error) => {
            tracing::info!(%address, %error, "no IPv6 here: listening on IPv4 alone");
            listen((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        listened => listened,
    }
}

fn is_lack_of_ipv6(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
    )
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A program that starts again does not wait until the connections of the one before are forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The operating system's reason, and advice.
fn reason(error: &io::Error) -> String {
    let (kind, advice) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            "address in use",
            "another program of this pod or machine listens there. Choose another port, or end that program",
        ),
        io::ErrorKind::AddrNotAvailable => (
            "address not available",
            "this machine does not have it. Choose one that it has, or [::] for all of them",
        ),
        io::ErrorKind::PermissionDenied => (
            "permission denied",
            "ports below 1024 are for privileged programs. Choose a higher one",
        ),
        _ => return error.to_string(),
    };
    format!("{kind}; {advice}")
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, time::Duration};

    use tokio::{net::TcpStream, time::timeout};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    async fn refusal(wanted: SocketAddr) -> String {
        bind(wanted, "WORKERPOOL_TELEMETRY_ADDRESS")
            .await
            .unwrap_err()
            .to_string()
    }

    #[tokio::test]
    async fn any_address_takes_clients_of_both_families() {
        let listener = bind(address("[::]:0"), "SETTING").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "::1"] {
            let connected = async { tokio::join!(TcpStream::connect((host, port)), listener.accept()) };
            let (client, server) = timeout(DEADLINE, connected).await.unwrap();
            client.unwrap();
            server.unwrap();
        }
    }

    #[test]
    fn any_address_falls_back_to_ipv4_where_there_is_no_ipv6() {
        for lacking in [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL] {
            let asked = RefCell::new(Vec::new());
            let listened = with_fallback(address("[::]:8080"), |address| {
                asked.borrow_mut().push(address);
                match address {
                    SocketAddr::V4(address) => Ok(address),
                    SocketAddr::V6(_) => Err(lacking.into()),
                }
            });
            assert_eq!(listened.unwrap().to_string(), "0.0.0.0:8080");
            assert_eq!(asked.take().len(), 2);
        }
    }

    #[test]
    fn listener_does_not_fall_back_for_other_addresses_and_errors() {
        for (wanted, error) in [
            ("[::]:8080", Errno::ADDRINUSE),
            ("[::]:80", Errno::ACCESS),
            ("[::1]:8080", Errno::ADDRNOTAVAIL),
            ("10.0.0.7:8080", Errno::ADDRNOTAVAIL),
        ] {
            let listened = with_fallback(address(wanted), |asked| {
                assert_eq!(asked, address(wanted));
                Err::<(), _>(io::Error::from(error))
            });
            assert_eq!(Errno::from_io_error(&listened.unwrap_err()), Some(error));
        }
    }

    #[tokio::test]
    async fn taken_port_is_refused_with_setting_and_advice() {
        for taken_by in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let taken = bind(address(taken_by), "SETTING").await.unwrap();
            let port = taken.local_addr().unwrap().port();
            let said = refusal(address(&format!("[::]:{port}"))).await;
            let begin =
                format!("cannot listen on [::]:{port} (WORKERPOOL_TELEMETRY_ADDRESS): address in use; ");
            assert!(said.starts_with(&begin), "{taken_by}: {said}");
            assert!(said.contains("another port"), "{said}");
        }
    }

    #[tokio::test]
    async fn address_of_another_machine_is_refused_with_advice() {
        // Of a range that is for documentation alone: RFC 5737.
        let said = refusal(address("192.0.2.1:0")).await;
        assert!(said.contains("address not available; this machine"), "{said}");
    }
}
