//! The servers that tests start are what they are said to be.

use std::time::Duration;

use queue::test_server::{Fsync, RedisServer, Sentinels};

use crate::common::{Raw, eventually};

#[tokio::test]
async fn a_durable_server_that_was_killed_has_its_data_on_the_same_port() {
    for fsync in [Fsync::Always, Fsync::EverySecond] {
        let mut redis = RedisServer::builder().append_only(fsync).start().unwrap();
        let port = redis.port();
        Raw::to(&redis.server()).ask::<()>(&["SET", "a", "b"]);
        redis.kill();
        redis.restart().unwrap();
        assert_eq!(redis.port(), port);
        let value: String = Raw::to(&redis.server()).ask(&["GET", "a"]);
        assert_eq!(value, "b");
    }
}

#[tokio::test]
async fn a_replica_follows_its_master() {
    let master = RedisServer::start().unwrap();
    let replica = RedisServer::builder().replica_of(&master).start().unwrap();
    Raw::to(&master.server()).ask::<()>(&["SET", "a", "b"]);
    let mut raw = Raw::to(&replica.server());
    eventually("the replica has it", || {
        let value: Option<String> = raw.ask(&["GET", "a"]);
        async move { value }
    })
    .await;
}

#[tokio::test]
async fn a_trio_puts_a_replica_in_the_place_of_a_killed_master() {
    let mut trio = Sentinels::start().unwrap();
    let killed = trio.servers()[0].port();
    trio.servers()[0].kill();
    let client = redis::Client::open(("127.0.0.1", trio.addresses()[0].port)).unwrap();
    let mut sentinel = client
        .get_connection_with_timeout(Duration::from_secs(2))
        .unwrap();
    let promoted = eventually("there is another master", || {
        let address: (String, u16) = redis::cmd("SENTINEL")
            .arg(&["GET-MASTER-ADDR-BY-NAME", Sentinels::MASTER])
            .query(&mut sentinel)
            .unwrap();
        async move { (address.1 != killed).then_some(address.1) }
    })
    .await;
    assert!(trio.servers().iter().any(|server| server.port() == promoted));
}
