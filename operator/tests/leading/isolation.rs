//! Pools beside one that fares badly go on as if it were not there.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use queue::test_server::RedisServer;

use super::{World, server::eventually};

/// What the pool scales that fares badly.
const BROKEN: &str = "broken";

/// A pool over the queue `queue` and one over `other`, on one Redis.
async fn two_pools() -> World {
    let redis = RedisServer::start().unwrap();
    let address = redis.server().address.to_string();
    World::with(
        redis,
        &[(&address, "queue", super::WEB), (&address, "other", BROKEN)],
    )
    .await
}

#[tokio::test]
async fn pool_whose_count_is_refused_delays_no_other_and_goes_on_when_it_is_not() {
    let world = two_pools().await;
    let mut count = 0;
    // Too many requests, a server's fault, and what is said of a namespace that is being deleted.
    for code in [429, 500, 403] {
        world.api.refuse(BROKEN, Some(code));
        world.push_to("other").await;
        let refused = || {
            let writes = world.api.writes_of("a", world.started);
            writes.iter().any(|write| write.code == code)
        };
        eventually("it is refused", refused).await;
        for _ in 0..3 {
            count += 1;
            world.push().await;
            world.has_replicas(count).await;
        }
        assert_eq!(world.api.replicas(BROKEN), count / 3 - 1);
        world.api.refuse(BROKEN, None);
        eventually("it goes on", || world.api.replicas(BROKEN) == count / 3).await;
    }
}

#[tokio::test]
async fn watches_that_are_ended_are_begun_anew() {
    let world = World::new().await;
    world.push().await;
    world.has_replicas_by_a(1).await;
    for count in [2, 3] {
        let (ended, begun) = world.api.watches();
        world.api.end_watches();
        eventually("they are back", || world.api.watches() >= (ended, begun + ended)).await;
        world.push().await;
        world.has_replicas_by_a(count).await;
    }
}

#[tokio::test]
async fn pool_that_cannot_be_decoded_delays_no_other_and_keeps_its_spec() {
    let world = two_pools().await;
    for queue in ["queue", "other"] {
        world.push_to(queue).await;
    }
    world.has_replicas_by_a(1).await;
    eventually("both are served", || world.api.replicas(BROKEN) == 1).await;
    world.api.spoil(BROKEN);
    world.api.spoil("never");
    let (ended, begun) = world.api.watches();
    world.api.end_watches();
    eventually("they are back", || world.api.watches() >= (ended, begun + ended)).await;
    for queue in ["queue", "other"] {
        world.push_to(queue).await;
    }
    world.has_replicas(2).await;
    eventually("it is served by its last spec", || {
        world.api.replicas(BROKEN) == 2
    })
    .await;
    let events = |who| {
        let mut writes = world.api.writes_of(who, world.started);
        writes.retain(|write| write.reason.as_deref() == Some("Undecodable"));
        writes.len()
    };
    eventually("both have an event", || events("a") == 2).await;
    assert_eq!(events("b"), 0, "a standby writes nothing");
}

#[tokio::test]
async fn redis_that_answers_nonsense_delays_no_other() {
    let redis = RedisServer::start().unwrap();
    let address = redis.server().address.to_string();
    let liar = liar();
    let world = World::with(
        redis,
        &[(&address, "queue", super::WEB), (&liar, "queue", BROKEN)],
    )
    .await;
    for count in 1..=5 {
        world.push().await;
        world.has_replicas(count).await;
    }
    assert_eq!(world.api.replicas(BROKEN), 0);
}

/// Answers whatever is said with what no Redis says; where.
fn liar() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut said = [0; 1024];
                while client.read(&mut said).is_ok_and(|bytes| bytes > 0) {
                    if client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn redis_that_never_ends_its_answer_costs_little_memory_and_delays_no_other() {
    let redis = RedisServer::start().unwrap();
    let address = redis.server().address.to_string();
    let text = Flood::new("EVALSHA", "$1000000000\r\n", vec![b'x'; 64 * 1024]);
    let list = Flood::new("HELLO", "*1000000000\r\n", b"$10\r\n0123456789\r\n".repeat(4096));
    let pools = [
        (address.as_str(), "queue", super::WEB),
        (&address, "second", "second"),
        (&address, "third", "third"),
        (&text.address, "queue", BROKEN),
        (&list.address, "queue", "beside"),
    ];
    let world = World::with(redis, &pools).await;
    let reactions = async |counts: std::ops::RangeInclusive<u64>| {
        let mut longest = Duration::ZERO;
        for count in counts {
            for (queue, target) in [("queue", super::WEB), ("second", "second"), ("third", "third")] {
                let pushed = Instant::now();
                world.push_to(queue).await;
                eventually("the count follows the queue", || {
                    world.api.replicas(target) == count
                })
                .await;
                longest = longest.max(pushed.elapsed());
            }
        }
        longest
    };
    let before = reactions(1..=5).await;
    let usual = memory_of(&world, "VmRSS:");
    for flood in [&text, &list] {
        flood.open.fetch_add(1, Ordering::Relaxed);
    }
    eventually("both were read", || text.sent() > 0 && list.sent() > 0).await;
    let during = reactions(6..=10).await;
    let broken_off = || text.connections() > 3 && list.connections() > 3;
    eventually("both were broken off again and again", broken_off).await;
    let more = memory_of(&world, "VmHWM:").saturating_sub(usual);
    println!(
        "sent {} and {} MiB; {} MiB more memory; reaction at most {before:?} before, {during:?} during",
        text.sent() / MIB,
        list.sent() / MIB,
        more / MIB
    );
    assert!(more < 64 * MIB, "{} MiB more", more / MIB);
    // Both are some milliseconds; a busy machine may take longer, and as long as a timeout never.
    assert!(
        during < before + Duration::from_secs(1),
        "{before:?}, then {during:?}"
    );
    assert_eq!((world.api.replicas(BROKEN), world.api.replicas("beside")), (0, 0));
}

/// The memory of the operator that leads, in bytes.
fn memory_of(world: &World, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.a.0.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes * 1024
}

/// A Redis that from some command on answers a gigabyte.
struct Flood {
    address: String,
    /// Silent before.
    open: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

impl Flood {
    fn new(command: &'static str, head: &'static str, part: Vec<u8>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let flood = Self {
            address: listener.local_addr().unwrap().to_string(),
            open: Arc::default(),
            sent: Arc::default(),
            connections: Arc::default(),
        };
        let (open, sent) = (Arc::clone(&flood.open), Arc::clone(&flood.sent));
        let connections = Arc::clone(&flood.connections);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // It hangs up until it is opened.
                if open.load(Ordering::Relaxed) == 0 {
                    continue;
                }
                connections.fetch_add(1, Ordering::Relaxed);
                let (sent, part) = (Arc::clone(&sent), part.clone());
                thread::spawn(move || answer(client, command, head, &part, &sent));
            }
        });
        flood
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Ends with the connection.
fn answer(client: TcpStream, command: &str, head: &str, part: &[u8], sent: &AtomicU64) -> Option<()> {
    const INFO: &str = "$32\r\nredis_version:7.0.0\r\nrole:master\r\n";
    let mut requests = BufReader::new(client.try_clone().ok()?);
    let mut answers = client;
    loop {
        let mut line = String::new();
        requests.read_line(&mut line).ok()?;
        let words: usize = line.trim().strip_prefix('*')?.parse().ok()?;
        let mut name = Vec::new();
        for word in 0..words {
            line.clear();
            requests.read_line(&mut line).ok()?;
            let length: usize = line.trim().strip_prefix('$')?.parse().ok()?;
            let mut said = vec![0; length + 2];
            requests.read_exact(&mut said).ok()?;
            if word == 0 {
                name = said;
            }
        }
        match name.trim_ascii_end() {
            name if name == command.as_bytes() => {
                answers.write_all(head.as_bytes()).ok()?;
                for _ in 0..1_000_000_000 / part.len() {
                    answers.write_all(part).ok()?;
                    sent.fetch_add(part.len() as u64, Ordering::Relaxed);
                }
                return None;
            }
            b"HELLO" => answers.write_all(b"%1\r\n$5\r\nproto\r\n:3\r\n").ok()?,
            b"INFO" => answers.write_all(INFO.as_bytes()).ok()?,
            _ => answers.write_all(b"+OK\r\n").ok()?,
        }
    }
}
