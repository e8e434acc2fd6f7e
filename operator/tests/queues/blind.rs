//! Ways to go blind that the watch as a whole gets over: by its poll, by its ping, by what a reading says of the server.

use std::time::{Duration, Instant};

use queue::{Error, test_server::RedisServer};

use super::watch::{Watch, command, queue, submit, waiting};

/// The slowest poll of a queue with jobs, and a little.
const POLL_BUSY: Duration = Duration::from_secs(6);

#[tokio::test]
async fn databases_that_are_swapped_are_seen_by_the_poll() {
    let redis = RedisServer::start().unwrap();
    submit(&redis, "a").await;
    let mut watch = Watch::new();
    watch.follow("a", &redis);
    watch.until("a", |view| waiting(view, 1)).await;
    let swapped = Instant::now();
    // No key of which Redis would tell has changed.
    let _: redis::Value = command(&redis, &["SWAPDB", "2", "9"]).await;
    watch.until("a", |view| waiting(view, 0)).await;
    assert!(swapped.elapsed() < POLL_BUSY, "{:?}", swapped.elapsed());
    submit(&redis, "a").await;
    watch.until("a", |view| waiting(view, 1)).await;
}

#[tokio::test]
async fn master_that_became_a_replica_is_not_believed_until_it_is_the_master_again() {
    let redis = RedisServer::start().unwrap();
    submit(&redis, "a").await;
    let mut watch = Watch::new();
    watch.follow("a", &redis);
    watch.until("a", |view| waiting(view, 1)).await;
    // The connection stays open, and the new master is out of reach: nothing would ever be told.
    let _: redis::Value = command(&redis, &["REPLICAOF", "127.0.0.1", "1"]).await;
    let demoted = Instant::now();
    let view = watch.until("a", |view| view.error.is_some()).await;
    assert!(matches!(view.error, Some(Error::NotMaster { .. })), "{view:?}");
    assert!(demoted.elapsed() < POLL_BUSY, "{:?}", demoted.elapsed());
    let _: redis::Value = command(&redis, &["REPLICAOF", "NO", "ONE"]).await;
    submit(&redis, "a").await;
    watch
        .until("a", |view| view.error.is_none() && waiting(view, 2))
        .await;
}

#[tokio::test]
async fn polled_queue_is_read_each_second_where_redis_does_not_tell_of_changes() {
    let redis = RedisServer::start_with(&["--rename-command", "CLIENT", ""]).unwrap();
    let mut watch = Watch::new();
    watch.follow("a", &redis);
    let view = watch.until("a", |view| waiting(view, 0)).await;
    assert!(!view.reading.unwrap().tracked);
    let submitted = Instant::now();
    submit(&redis, "a").await;
    watch.until("a", |view| waiting(view, 1)).await;
    assert!(
        submitted.elapsed() < Duration::from_secs(3),
        "{:?}",
        submitted.elapsed()
    );
}

#[tokio::test]
async fn queue_that_changes_all_the_time_is_read_fifty_times_a_second_at_most() {
    let redis = RedisServer::start().unwrap();
    let mut watch = Watch::new();
    watch.follow("a", &redis);
    watch.until("a", |view| waiting(view, 0)).await;
    let reads = async || -> u32 {
        let stats: String = command(&redis, &["INFO", "commandstats"]).await;
        let calls = stats.split("cmdstat_evalsha:calls=").nth(1);
        calls.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
    };
    let (before, start) = (reads().await, Instant::now());
    let list = format!("hotqueue:{}", queue("a").name);
    let client = redis::Client::open(("127.0.0.1", redis.port())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut pushed = 0;
    redis::cmd("SELECT")
        .arg(2)
        .exec_async(&mut connection)
        .await
        .unwrap();
    while start.elapsed() < Duration::from_secs(1) {
        redis::cmd("RPUSH")
            .arg(&list)
            .arg("foreign")
            .exec_async(&mut connection)
            .await
            .unwrap();
        pushed += 1;
    }
    watch.until("a", |view| waiting(view, pushed)).await;
    let budget = u32::try_from(start.elapsed().as_millis() / 20).unwrap() + 3;
    let read = reads().await - before;
    assert!(
        read > 5 && read <= budget,
        "{read} reads, {budget} allowed, {pushed} pushes"
    );
}
