//! Pools beside one that fares badly go on as if it were not there.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    thread,
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
