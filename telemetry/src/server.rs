use std::{
    convert::Infallible,
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, header::CONNECTION},
    response::Response,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How long to wait after a failed accept, which mostly means that the process is out of file descriptors:
/// the pause lets connections end, where retrying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How long kept-alive connections are served after the listener was closed: for requests that were on their way then. An idle
/// connection that is closed under one resets it, and a load balancer does not repeat a POST.
const LAST_REQUESTS_TIME: Duration = Duration::from_millis(500);

/// What a client may use up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; further ones wait in the kernel's queue until one ends.
    pub connections: usize,
    /// How long a client may take to send a request's head. It runs while a kept-alive connection is idle
    /// too, so it also closes those. Above the idle timeout of whatever keeps connections to here, which is 60 s
    /// for most load balancers: only then it is always the client that closes.
    pub head_timeout: Duration,
    /// Time in which a client may read nothing of its answer. A client that reads, however slowly, is not cut off.
    pub write_timeout: Duration,
    /// How long new connections are still taken once shutdown was asked for. Kubernetes sends SIGTERM while its
    /// nodes still send connections here; closing the listener at once would refuse those.
    pub shutdown_delay: Duration,
    /// How long running requests may go on after that.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    /// Room for probes and scrapers.
    fn default() -> Self {
        Self {
            connections: 64,
            head_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            shutdown_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// Serves `app` over HTTP/1.1 until `stop` is cancelled and the shutdown delay has passed; then takes no new
/// connections, closes idle ones, and returns when the running requests have ended or the drain timeout has passed.
///
/// From the moment that `stop` is cancelled each answer says `connection: close`, so that clients that keep their
/// connections move on by themselves, and none is closed while its next request is on the way.
///
/// [`axum::serve()`] has neither a limit on connections nor one on the time that a request's head takes or that an answer
/// is left unread, and without these a few hundred slow clients keep everybody else out.
pub async fn serve(listener: TcpListener, app: Router, limits: &Limits, stop: CancellationToken) {
    let connections = Arc::new(Semaphore::new(limits.connections));
    let draining = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout);

    let stopping = Arc::new(AtomicBool::new(false));
    let mut closing = pin!(async {
        stop.cancelled().await;
        stopping.store(true, Ordering::Relaxed);
        sleep(limits.shutdown_delay).await;
    });

    while let Some((stream, permit)) = tokio::select! {
        biased;
        () = &mut closing => None,
        accepted = accept(&listener, &connections) => accepted,
    } {
        if let Err(error) = set_options(&stream, limits.write_timeout) {
            tracing::debug!(%error, "an option of a connection was refused");
        }
        let (app, stopping) = (app.clone(), Arc::clone(&stopping));
        let service = service_fn(move |request| answer(app.clone(), Arc::clone(&stopping), request));
        let connection = draining.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                // Clients that hang up or are too slow are everyday life, and not the program's fault.
                tracing::debug!(%error, "connection ended early");
            }
            drop(permit);
        });
    }

    drop(listener);
    let running = draining.count();
    let drained = async {
        if running > 0 {
            sleep(LAST_REQUESTS_TIME).await;
        }
        draining.shutdown().await;
    };
    if timeout(limits.drain_timeout, drained).await.is_err() {
        tracing::warn!(running, "requests still running after the drain timeout were cut");
    }
}

async fn answer(
    app: Router,
    stopping: Arc<AtomicBool>,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let mut response = app.oneshot(request.map(Body::new)).await?;
    if stopping.load(Ordering::Relaxed) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Ok(response)
}

/// The next connection, once there is room for it. `None` never happens while the semaphore lives.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Some((stream, permit)),
            Err(error) if ended_before_accept(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn set_options(stream: &TcpStream, write_timeout: Duration) -> io::Result<()> {
    // Answers are small and written whole: waiting for more to send (Nagle) only adds latency.
    stream.set_nodelay(true)?;
    // Counts while sent bytes are not acknowledged or the client's window is closed, and begins again with each progress.
    // <https://man7.org/linux/man-pages/man7/tcp.7.html>, `TCP_USER_TIMEOUT`
    SockRef::from(stream).set_tcp_user_timeout(Some(write_timeout))
}

fn ended_before_accept(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Instant};

    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::Notify,
        task::JoinHandle,
        time::interval,
    };

    use super::*;

    const REQUEST: &[u8] = b"GET /slow HTTP/1.1\r\nhost: test\r\n\r\n";
    const LONG_REQUEST: &[u8] = b"GET /long HTTP/1.1\r\nhost: test\r\n\r\n";
    const DEADLINE: Duration = Duration::from_secs(10);

    struct Server {
        address: SocketAddr,
        stop: CancellationToken,
        entered: Arc<Notify>,
        release: Arc<Notify>,
        task: JoinHandle<()>,
    }

    /// More than all buffers between a server and its client take.
    const LONG_ANSWER: usize = 32 * 1024 * 1024;

    /// Serves `/slow`, which notifies `entered` and then waits for `release`; and `/long`, which notifies `entered`.
    async fn server(limits: Limits) -> Server {
        let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (notifier, wait) = (Arc::clone(&entered), Arc::clone(&release));
        let slow = get(move || async move {
            notifier.notify_one();
            wait.notified().await;
            "done"
        });
        let notifier = Arc::clone(&entered);
        let long = get(move || async move {
            notifier.notify_one();
            vec![b'x'; LONG_ANSWER]
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let until = stop.clone();
        let app = Router::new().route("/slow", slow).route("/long", long);
        let task = tokio::spawn(async move { serve(listener, app, &limits, until).await });
        Server {
            address,
            stop,
            entered,
            release,
            task,
        }
    }

    async fn read_to_end(mut client: TcpStream) -> String {
        let mut answer = String::new();
        timeout(DEADLINE, client.read_to_string(&mut answer))
            .await
            .expect("the server closes the connection")
            .unwrap();
        answer
    }

    #[tokio::test]
    async fn request_running_at_shutdown_is_answered_and_new_connections_are_refused() {
        let server = server(Limits::default()).await;
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(REQUEST).await.unwrap();
        timeout(DEADLINE, server.entered.notified()).await.unwrap();

        server.stop.cancel();
        let refused = async { while TcpStream::connect(server.address).await.is_ok() {} };
        timeout(DEADLINE, refused).await.expect("the listener is closed");

        server.release.notify_one();
        let answer = read_to_end(client).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.ends_with("done"), "{answer}");
        timeout(DEADLINE, server.task)
            .await
            .expect("serve returns")
            .unwrap();
    }

    #[tokio::test]
    async fn request_on_its_way_at_shutdown_is_answered() {
        let server = server(Limits::default()).await;
        let mut kept = TcpStream::connect(server.address).await.unwrap();
        for _ in 0..2 {
            kept.write_all(REQUEST).await.unwrap();
            timeout(DEADLINE, server.entered.notified()).await.unwrap();
            server.release.notify_one();
            let mut answer = Vec::new();
            while !answer.ends_with(b"done") {
                let read = timeout(DEADLINE, kept.read_buf(&mut answer)).await;
                assert_ne!(read.unwrap().unwrap(), 0, "closed");
            }
            if server.stop.is_cancelled() {
                let answer = String::from_utf8(answer).unwrap();
                assert!(answer.contains("connection: close"), "{answer}");
            }
            server.stop.cancel();
            let refused = async { while TcpStream::connect(server.address).await.is_ok() {} };
            timeout(DEADLINE, refused).await.expect("the listener is closed");
        }
    }

    #[tokio::test]
    async fn connection_in_the_shutdown_delay_is_served_and_asked_to_go() {
        let server = server(Limits {
            // So long that the listener is open however slow the machine.
            shutdown_delay: Duration::from_secs(3600),
            ..Limits::default()
        })
        .await;
        // One that was kept from before, and one that comes after.
        let mut kept = TcpStream::connect(server.address).await.unwrap();
        kept.write_all(REQUEST).await.unwrap();
        timeout(DEADLINE, server.entered.notified()).await.unwrap();
        server.stop.cancel();
        let mut late = TcpStream::connect(server.address).await.unwrap();
        late.write_all(REQUEST).await.unwrap();
        timeout(DEADLINE, server.entered.notified()).await.unwrap();

        server.release.notify_waiters();
        for client in [kept, late] {
            let answer = read_to_end(client).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
            assert!(answer.contains("connection: close"), "{answer}");
        }
    }

    #[tokio::test]
    async fn request_that_outlives_the_drain_timeout_does_not_hold_up_the_end() {
        let drain_timeout = Duration::from_millis(50);
        let server = server(Limits {
            drain_timeout,
            ..Limits::default()
        })
        .await;
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(REQUEST).await.unwrap();
        timeout(DEADLINE, server.entered.notified()).await.unwrap();

        server.stop.cancel();
        timeout(DEADLINE, server.task)
            .await
            .expect("serve returns")
            .unwrap();
    }

    #[tokio::test]
    async fn client_that_dawdles_over_the_head_is_cut_off() {
        let head_timeout = Duration::from_millis(50);
        let server = server(Limits {
            head_timeout,
            ..Limits::default()
        })
        .await;
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(b"GET /slow HT").await.unwrap();
        assert_eq!(read_to_end(client).await, "");
    }

    #[tokio::test]
    async fn connection_beyond_the_limit_is_served_once_another_ends() {
        let server = server(Limits {
            connections: 1,
            ..Limits::default()
        })
        .await;
        let mut first = TcpStream::connect(server.address).await.unwrap();
        first.write_all(REQUEST).await.unwrap();
        timeout(DEADLINE, server.entered.notified()).await.unwrap();

        let mut second = TcpStream::connect(server.address).await.unwrap();
        second.write_all(REQUEST).await.unwrap();
        let early = timeout(Duration::from_millis(50), server.entered.notified()).await;
        assert!(early.is_err(), "the second request ran beside the first");

        server.release.notify_one();
        drop(first);
        timeout(DEADLINE, server.entered.notified())
            .await
            .expect("the second request runs");
    }

    #[tokio::test]
    async fn client_that_does_not_read_is_cut_off() {
        let server = server(Limits {
            connections: 1,
            write_timeout: Duration::from_millis(300),
            ..Limits::default()
        })
        .await;
        let mut unread = TcpStream::connect(server.address).await.unwrap();
        unread.write_all(LONG_REQUEST).await.unwrap();
        timeout(DEADLINE, server.entered.notified()).await.unwrap();

        let mut next = TcpStream::connect(server.address).await.unwrap();
        next.write_all(REQUEST).await.unwrap();
        timeout(DEADLINE, server.entered.notified())
            .await
            .expect("the connection of the first is free for the next");
    }

    #[tokio::test]
    async fn slow_client_gets_all_of_a_long_answer() {
        let write_timeout = Duration::from_millis(500);
        let server = server(Limits {
            write_timeout,
            ..Limits::default()
        })
        .await;
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(LONG_REQUEST).await.unwrap();
        let begun = Instant::now();
        let mut chunk = vec![0; LONG_ANSWER / 32];
        let mut pace = interval(write_timeout / 8);
        for _ in 0..32 {
            pace.tick().await;
            timeout(DEADLINE, client.read_exact(&mut chunk))
                .await
                .expect("the answer goes on")
                .expect("the connection is not cut");
        }
        assert!(begun.elapsed() > write_timeout * 3, "{:?}", begun.elapsed());
    }
}
