//! The stream below a connection: TCP, TLS over it where it is asked for, and a limit to how much one request is answered.
//!
//! redis-rs keeps an answer in memory until it is whole, however long it is. A server that never ends its answer (a broken
//! proxy, a key of a gigabyte) would take all memory of the program, and the program serves other servers too.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, lookup_host},
    task::JoinSet,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};

use crate::Address;

/// How much a server may send after a request before the connection is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerLimit {
    bytes: usize,
}

impl AnswerLimit {
    pub(super) fn bytes(self) -> usize {
        self.bytes
    }

    /// For connections that read numbers and lists of clients, to many servers from one process: the list of 20,000 clients has
    /// 7 MB.
    pub const READ: Self = Self::of_mebibytes(8);
    /// For submissions and status queries of one process to many servers.
    pub const SUBMIT: Self = Self::of_mebibytes(32);
    /// For a program with one server: a page of jobs with their payloads, a batch of claimed jobs.
    pub const WORK: Self = Self::of_mebibytes(96);

    const fn of_mebibytes(mebibytes: usize) -> Self {
        Self {
            bytes: mebibytes * 1024 * 1024,
        }
    }
}

/// Answers below this are not looked into: nearly all are, so the count of lines costs the others nothing.
const SMALL: usize = 64 * 1024;

/// A parsed value takes so many bytes of memory, and as few as three of the answer. Each has at least one line.
const BYTES_PER_LINE: usize = 32;

/// Why a stream was broken.
#[derive(Debug, thiserror::Error)]
#[error("it sent more than {limit} bytes after one request")]
pub(crate) struct AnswerTooLarge {
    pub(crate) limit: usize,
}

/// Counts what has come since the last request.
#[derive(Debug)]
struct Meter {
    limit: AnswerLimit,
    bytes: usize,
    lines: usize,
    exceeded: Arc<AtomicBool>,
}

impl Meter {
    fn new(limit: AnswerLimit) -> Self {
        Self {
            limit,
            bytes: 0,
            lines: 0,
            exceeded: Arc::default(),
        }
    }

    fn on_request(&mut self) {
        self.bytes = 0;
        self.lines = 0;
    }

    fn on_answer(&mut self, part: &[u8]) -> io::Result<()> {
        self.bytes += part.len();
        if self.bytes > SMALL {
            self.lines += part.iter().filter(|&&byte| byte == b'\n').count();
        }
        let limit = self.limit.bytes;
        if self.bytes > limit || self.lines > limit / BYTES_PER_LINE {
            self.exceeded.store(true, Ordering::Relaxed);
            return Err(io::Error::other(AnswerTooLarge { limit }));
        }
        Ok(())
    }
}

/// A stream that ends with [`AnswerTooLarge`].
#[derive(Debug)]
pub(super) struct Limited {
    transport: Transport,
    meter: Meter,
}

#[derive(Debug)]
enum Transport {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl Limited {
    /// Connects to the first of the host's addresses that accepts; `tls` is spoken with the server of that name.
    pub(super) async fn connect(
        address: &Address,
        tls: Option<(ClientConfig, ServerName<'static>)>,
        limit: AnswerLimit,
    ) -> io::Result<Self> {
        let stream = connect_tcp(address).await?;
        let transport = match tls {
            None => Transport::Plain(stream),
            Some((config, name)) => {
                let connector = TlsConnector::from(Arc::new(config));
                Transport::Encrypted(Box::new(connector.connect(name, stream).await?))
            }
        };
        Ok(Self {
            transport,
            meter: Meter::new(limit),
        })
    }

    /// Becomes true when the stream ends with [`AnswerTooLarge`], which redis-rs does not pass on to callers that wait for several answers.
    pub(super) fn exceeded(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.meter.exceeded)
    }
}

/// All addresses of a host are tried at once: one of two families may lead nowhere, and not say so.
async fn connect_tcp(address: &Address) -> io::Result<TcpStream> {
    let mut tries = JoinSet::new();
    for found in lookup_host((address.host.as_str(), address.port)).await? {
        tries.spawn(connect_to(found));
    }
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    while let Some(tried) = tries.join_next().await {
        match tried {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(err)) => failure = err,
            // Nobody cancels it, so the runtime is shutting down.
            Err(err) => failure = io::Error::other(err),
        }
    }
    Err(failure)
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Calls are small and are waited for: Nagle's algorithm would hold them back.
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl AsyncRead for Limited {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { transport, meter } = self.get_mut();
        let before = buf.filled().len();
        ready!(match transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Encrypted(stream) => Pin::new(stream).poll_read(cx, buf),
        })?;
        let part = buf.filled().get(before..).unwrap_or_default();
        Poll::Ready(meter.on_answer(part))
    }
}

impl AsyncWrite for Limited {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Self { transport, meter } = self.get_mut();
        meter.on_request();
        match transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Encrypted(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Encrypted(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Encrypted(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_until_refused(part: &[u8]) -> usize {
        let mut meter = Meter::new(AnswerLimit::READ);
        let mut bytes = 0;
        while meter.on_answer(part).is_ok() {
            bytes += part.len();
        }
        bytes
    }

    #[test]
    fn answer_ends_at_its_limit_of_bytes() {
        let most = AnswerLimit::READ.bytes;
        let read = read_until_refused(&[b'x'; 4096]);
        assert_eq!(read, most);
    }

    #[test]
    fn answer_of_many_tiny_values_ends_before_they_fill_memory() {
        let lines = read_until_refused(&b"_\r\n".repeat(1024)) / 3;
        assert!(lines < 2 * AnswerLimit::READ.bytes / BYTES_PER_LINE, "{lines}");
    }

    #[test]
    fn each_request_may_be_answered_as_much_again() {
        let mut meter = Meter::new(AnswerLimit::READ);
        for _ in 0..3 {
            meter.on_answer(&vec![b'x'; AnswerLimit::READ.bytes]).unwrap();
            meter.on_request();
        }
    }
}
