//! Settings as charts and Secrets give them.

use queue::test_server::RedisServer;

use crate::common::{SHORT, View, Worker};

#[test]
fn empty_user_name_logs_in_as_default_user() {
    let redis = RedisServer::builder().password("secret").start().unwrap();
    let id = View::of(&redis).submit();
    let settings = [
        SHORT,
        ("WORKERPOOL_REDIS_PASSWORD", "secret"),
        ("WORKERPOOL_REDIS_USERNAME", ""),
        ("WORKERPOOL_REDIS_PASSWORD_FILE", ""),
        ("WORKERPOOL_QUEUES", ""),
        ("WORKERPOOL_HANDLER", ""),
        ("WORKERPOOL_CONCURRENCY", ""),
    ];
    let worker = Worker::start(&redis, "10.0.0.7", &settings);
    assert_eq!(worker.ends(&id), "complete");
}
