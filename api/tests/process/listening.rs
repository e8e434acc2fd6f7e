//! Where it listens.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use queue::test_server::RedisServer;

use crate::program::{Api, DEADLINE};

#[test]
fn any_address_takes_clients_of_ipv4_and_ipv6() {
    let redis = RedisServer::start().unwrap();
    let api = Api::start_at("[::]:0".parse().unwrap(), &redis, &[]);
    for host in ["127.0.0.1", "::1"] {
        let mut stream = TcpStream::connect((host, api.address.port())).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
    }
}
