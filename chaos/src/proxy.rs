//! A long way to Redis: passes bytes on, each after a delay that can be changed meanwhile.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until},
};

/// Chunks that may be under way in one direction.
const UNDER_WAY: usize = 1_024;

/// A proxy. It ends with its handle.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    delay_ms: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Proxy {
    /// Listens on `address`, on any port, and passes on to `upstream`, without a delay at first.
    pub(crate) async fn start(address: Ipv4Addr, upstream: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((address, 0)).await?;
        let address = listener.local_addr()?;
        let delay_ms = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(accept(listener, upstream, Arc::clone(&delay_ms))).abort_handle();
        Ok(Self {
            address,
            delay_ms,
            task,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on each byte takes this much longer, each way.
    pub(crate) fn delay(&self) -> Delay {
        Delay(Arc::clone(&self.delay_ms))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The delay of a proxy.
#[derive(Clone, Debug)]
pub(crate) struct Delay(Arc<AtomicU64>);

impl Delay {
    pub(crate) fn set(&self, time: Duration) {
        self.0.store(
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, delay_ms: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    loop {
        // Fails only for the connection that was to be accepted.
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        let delay_ms = Arc::clone(&delay_ms);
        connections.spawn(async move {
            // Redis away: the client sees its connection closed, as it would without a proxy.
            let Ok(server) = TcpStream::connect(upstream).await else {
                return;
            };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::select! {
                () = pass(from_client, to_server, &delay_ms) => {}
                () = pass(from_server, to_client, &delay_ms) => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Until one side closes or breaks: then both are closed.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay_ms: &AtomicU64) {
    let (send, mut receive) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let read = async move {
        let mut chunk = vec![0; 16 << 10];
        while let Ok(length @ 1..) = from.read(&mut chunk).await {
            let due = Instant::now() + Duration::from_millis(delay_ms.load(Ordering::Relaxed));
            if send.send((due, chunk[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, chunk)) = receive.recv().await {
            sleep_until(due).await;
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn bytes_take_the_delay_both_ways() {
        let proxy = Proxy::start(Ipv4Addr::LOCALHOST, echo().await).await.unwrap();
        proxy.delay().set(Duration::from_millis(50));
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        let begun = Instant::now();
        stream.write_all(b"there and back").await.unwrap();
        let mut answer = [0; 14];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"there and back");
        assert!(
            begun.elapsed() >= Duration::from_millis(100),
            "{:?}",
            begun.elapsed()
        );
    }
}
