//! What makes the data unsafe is read from the server itself, with and without the right to ask for its settings.

use std::time::Duration;

use queue::{
    Drainer, Producer, Queue, Risk,
    test_server::{Builder, Fsync, RedisServer},
};

use crate::common::{Raw, Worker, eventually};

fn queue() -> Queue {
    Queue::new("queue".parse().unwrap())
}

fn safe() -> Builder {
    RedisServer::builder().append_only(Fsync::EverySecond)
}

async fn risks(redis: &RedisServer) -> Vec<Risk> {
    let server = redis.server();
    let told = Producer::new(&server, queue()).unwrap().risks().await.unwrap();
    let worker = Worker::new(&server, &queue(), None, Duration::from_secs(30));
    assert_eq!(worker.consumer.risks().await.unwrap(), told);
    assert_eq!(Drainer::new(&server).unwrap().risks().await.unwrap(), told);
    told
}

fn evicts(policy: &str) -> Risk {
    Risk::Evicts {
        policy: policy.to_owned(),
    }
}

#[tokio::test]
async fn a_server_that_is_set_up_well_is_no_risk() {
    assert_eq!(risks(&safe().start().unwrap()).await, []);
    let always = RedisServer::builder().append_only(Fsync::Always);
    assert_eq!(risks(&always.start().unwrap()).await, []);
}

#[tokio::test]
async fn each_unsafe_setting_is_told() {
    for policy in ["allkeys-lru", "volatile-ttl"] {
        let redis = safe().settings(&["--maxmemory-policy", policy]).start().unwrap();
        assert_eq!(risks(&redis).await, [evicts(policy)]);
    }
    let redis = safe().settings(&["--appendfsync", "no"]).start().unwrap();
    assert_eq!(risks(&redis).await, [Risk::NoFsync]);
    let snapshots_only = RedisServer::start_with(&["--save", "60", "1"]).unwrap();
    assert_eq!(risks(&snapshots_only).await, [Risk::NoAppendOnly]);
}

#[tokio::test]
async fn a_master_that_its_replicas_may_leave_behind_is_told_until_it_demands_one() {
    let master = safe().start().unwrap();
    let _replica = RedisServer::builder().replica_of(&master).start().unwrap();
    // Of one face: between two of them the replica may come.
    let producer = Producer::new(&master.server(), queue()).unwrap();
    eventually("the master has a replica", || async {
        (!producer.risks().await.unwrap().is_empty()).then_some(())
    })
    .await;
    assert_eq!(risks(&master).await, [Risk::UnguardedFailover]);
    Raw::to(&master.server()).ask::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_eq!(risks(&master).await, []);
}

#[tokio::test]
async fn a_managed_server_without_config_is_used_and_tells_all_but_its_fsync() {
    let unsafe_settings = ["--maxmemory-policy", "allkeys-lru", "--appendfsync", "no"];
    let renamed = ["--rename-command", "CONFIG", ""];
    let no_such_command = safe().settings(&unsafe_settings).settings(&renamed);
    let no_right = safe()
        .settings(&unsafe_settings)
        .user("jobs", "secret", &["~*", "+@all", "-config"]);
    for managed in [no_such_command, no_right] {
        let redis = managed.start().unwrap();
        Producer::new(&redis.server(), queue())
            .unwrap()
            .check()
            .await
            .unwrap();
        assert_eq!(risks(&redis).await, [evicts("allkeys-lru")]);
    }
}
