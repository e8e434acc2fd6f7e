//! Settings as charts and Secrets give them.

use std::io::{Read, Write};

use queue::test_server::RedisServer;

use crate::program::{Api, JOB};

#[test]
fn empty_user_name_logs_in_as_default_user() {
    let redis = RedisServer::builder().password("secret").start().unwrap();
    let settings = [
        ("WORKERPOOL_REDIS_PASSWORD", "secret"),
        ("WORKERPOOL_REDIS_USERNAME", ""),
        ("WORKERPOOL_REDIS_PASSWORD_FILE", ""),
        ("WORKERPOOL_REDIS_TLS", ""),
        ("WORKERPOOL_QUEUE_DB", ""),
        ("WORKERPOOL_ALLOWED_ORIGINS", ""),
    ];
    let api = Api::start(&redis, &settings);
    let mut stream = api.connect();
    let length = JOB.len();
    let head =
        format!("POST /jobs HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(JOB.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
