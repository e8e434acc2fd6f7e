//! Ended by signals.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use queue::test_server::RedisServer;

use crate::program::{Api, DEADLINE, JOB, jobs, wait_until};

fn send_half(stream: &mut TcpStream) {
    let head = format!(
        "POST /jobs HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n",
        JOB.len()
    );
    // `100-continue` shows that the program has taken the request up: it asks for the body.
    stream
        .write_all(format!("{head}expect: 100-continue\r\n\r\n").as_bytes())
        .unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn request_under_way_at_sigterm_is_answered_and_its_job_kept() {
    let redis = RedisServer::start().unwrap();
    let mut api = Api::start(&redis, &[]);
    let mut stream = api.connect();
    send_half(&mut stream);

    api.terminate();
    wait_until("it takes no connections any more", || {
        TcpStream::connect(api.address).is_err()
    });

    stream.write_all(JOB.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(api.wait().success());
    assert_eq!(jobs(&redis), 1);
}

#[test]
fn request_that_never_ends_holds_up_the_end_no_longer_than_the_grace_time() {
    let redis = RedisServer::start().unwrap();
    let mut api = Api::start(&redis, &[("WORKERPOOL_GRACE_SECONDS", "0")]);
    send_half(&mut api.connect());
    api.terminate();
    assert!(api.wait().success());
}

#[test]
fn second_sigterm_ends_at_once() {
    let redis = RedisServer::start().unwrap();
    let mut api = Api::start(&redis, &[("WORKERPOOL_GRACE_SECONDS", "3600")]);
    let mut stream = api.connect();
    send_half(&mut stream);
    api.terminate();
    wait_until("it takes no connections any more", || {
        TcpStream::connect(api.address).is_err()
    });
    api.terminate();
    assert!(api.wait().success());
}

#[test]
fn every_job_acknowledged_while_the_program_ends_is_in_redis() {
    const CLIENTS: usize = 8;
    let redis = RedisServer::start().unwrap();
    let mut api = Api::start(&redis, &[]);
    let acknowledged = AtomicUsize::new(0);
    let unanswered = AtomicUsize::new(0);
    let stopping = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while let Some(answered) = post_once(api.address) {
                    let count = if answered { &acknowledged } else { &unanswered };
                    count.fetch_add(1, Ordering::Relaxed);
                    if !answered {
                        assert!(stopping.load(Ordering::Relaxed), "unanswered before the end");
                    }
                }
            });
        }
        wait_until("they are busy", || acknowledged.load(Ordering::Relaxed) >= 200);
        stopping.store(true, Ordering::Relaxed);
        api.terminate();
    });
    assert!(api.wait().success());
    let (acknowledged, unanswered) = (acknowledged.into_inner(), unanswered.into_inner());
    assert!((acknowledged..=acknowledged + unanswered).contains(&jobs(&redis)));
}

/// Whether one request was answered with 200; `None` once nobody listens.
fn post_once(address: SocketAddr) -> Option<bool> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!(
        "POST /jobs HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{JOB}",
        JOB.len()
    );
    let mut answer = String::new();
    let sent = stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.read_to_string(&mut answer));
    Some(sent.is_ok() && answer.starts_with("HTTP/1.1 200 OK"))
}

#[test]
fn connections_are_taken_and_readiness_fails_for_a_while_after_sigterm() {
    const DELAY: Duration = Duration::from_secs(1);
    let redis = RedisServer::start().unwrap();
    let mut api = Api::start(&redis, &[("WORKERPOOL_SHUTDOWN_DELAY_SECONDS", "1")]);
    wait_until("it is ready", || api.get("/readyz").starts_with("HTTP/1.1 200"));
    let asked = Instant::now();
    api.terminate();
    wait_until("it is no longer ready", || {
        api.get("/readyz").contains("[-]shutdown failed")
    });
    while post_once(api.address) == Some(true) {}
    assert!(asked.elapsed() >= DELAY, "refused after {:?}", asked.elapsed());
    assert!(api.wait().success());
}
