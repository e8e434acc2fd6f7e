//! Killed with requests under way, and started again, while clients repeat what got no answer.

use std::{
    collections::HashSet,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use queue::test_server::RedisServer;

use crate::program::{Api, DEADLINE, JOB, jobs, wait_until};

const CLIENTS: usize = 8;
const JOBS_EACH: usize = 250;
const KILLS: usize = 12;

#[test]
fn client_that_repeats_by_key_gets_each_job_once_however_often_the_program_is_killed() {
    let redis = RedisServer::start().unwrap();
    // The same port again after each kill: the listener's connections do not keep it.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut api = Api::start_at(address, &redis, &[]);
    let (answered, repeated) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let ids: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (answered, repeated) = (&answered, &repeated);
                scope.spawn(move || {
                    let ask_until_answered = |job| {
                        let id = repeat(address, &format!("{client}-{job}"), repeated);
                        answered.fetch_add(1, Ordering::Relaxed);
                        id
                    };
                    (0..JOBS_EACH).map(ask_until_answered).collect::<Vec<_>>()
                })
            })
            .collect();
        for kill in 1..=KILLS {
            let due = kill * CLIENTS * JOBS_EACH / (KILLS + 1);
            wait_until("requests are answered", || {
                answered.load(Ordering::Relaxed) >= due
            });
            drop(api);
            api = Api::start_at(address, &redis, &[]);
        }
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    assert!(repeated.into_inner() > 0, "no kill met a request under way");
    assert_eq!(ids.len(), CLIENTS * JOBS_EACH);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    assert_eq!(jobs(&redis), ids.len());
}

/// Sends a job until it is answered; its id. Counts what was sent and got no answer.
fn repeat(address: SocketAddr, key: &str, repeated: &AtomicUsize) -> String {
    let mut id = None;
    wait_until("a request is answered", || {
        let Ok(mut stream) = TcpStream::connect(address) else {
            return false;
        };
        id = post(&mut stream, key);
        if id.is_none() {
            repeated.fetch_add(1, Ordering::Relaxed);
        }
        id.is_some()
    });
    id.unwrap()
}

fn post(stream: &mut TcpStream, key: &str) -> Option<String> {
    let request = format!(
        "POST /jobs HTTP/1.1\r\nhost: test\r\nconnection: close\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{JOB}",
        JOB.len()
    );
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    let job: serde_json::Value = serde_json::from_str(body).ok()?;
    Some(job["id"].as_str()?.to_owned())
}
