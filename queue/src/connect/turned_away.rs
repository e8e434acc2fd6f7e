//! Why a server hangs up before it was asked anything.
//!
//! One that has too many clients, or is protected from strangers, says so the moment that it accepts, and closes. Who
//! is writing just then sees a broken pipe and not the reason; so it is asked for once more by who only listens.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::{Address, Error};

/// It speaks at once, or not at all.
const PATIENCE: Duration = Duration::from_millis(200);

/// The longest reason is a text about protected mode, of which the first sentence is enough.
const LONGEST: usize = 512;

/// Over TLS it hangs up without a word.
pub(super) async fn reason(address: &Address) -> Option<Error> {
    let listen = async {
        let stream = TcpStream::connect((address.host.as_str(), address.port))
            .await
            .ok()?;
        stream.readable().await.ok()?;
        let mut said = [0; LONGEST];
        let length = stream.try_read(&mut said).ok()?;
        understand(&String::from_utf8_lossy(said.get(..length)?))
    };
    tokio::time::timeout(PATIENCE, listen).await.ok().flatten()
}

fn understand(said: &str) -> Option<Error> {
    let sentence = said.strip_prefix('-')?.split(['.', '\r', '\n']).next()?;
    let (code, detail) = sentence.split_once(' ')?;
    Some(Error::from_server(code, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_to_whom_it_turns_away_is_understood() {
        let too_many = understand("-ERR max number of clients reached\r\n");
        assert!(matches!(too_many, Some(Error::TooManyClients(_))), "{too_many:?}");
        let protected = understand(
            "-DENIED Redis is running in protected mode because protected mode is enabled and no password is set \
             for the default user. In this mode connections are only accepted",
        );
        assert!(
            matches!(&protected, Some(Error::Denied(text)) if text.ends_with("default user")),
            "{protected:?}"
        );
        assert_eq!(understand(""), None);
        assert_eq!(understand("SSH-2.0-OpenSSH_9.2\r\n"), None);
    }
}
