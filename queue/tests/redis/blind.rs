//! Where Redis does not tell of changes, or tells of them at a bad moment, readings say so, and none is the last before a change.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::Duration,
};

use queue::{Address, Change, Observer, Reading, Server, test_server::RedisServer};

use crate::common::{Fixture, MAIN, Raw};

const PATIENCE: Duration = Duration::from_secs(20);

async fn read(observer: &Observer, fixture: &Fixture) -> Reading {
    let queue = std::slice::from_ref(&fixture.queue);
    observer.read(queue).await.remove(0).unwrap()
}

#[tokio::test]
async fn where_the_command_client_was_renamed_readings_come_without_tracking() {
    let fixture = Fixture::on(RedisServer::start_with(&["--rename-command", "CLIENT", ""]).unwrap());
    fixture.submit(1).await;
    let (observer, _changes) = Observer::new(&fixture.server()).unwrap();
    let reading = read(&observer, &fixture).await;
    assert_eq!((reading.tracked, reading.waiting), (false, 1));
}

#[tokio::test]
async fn behind_a_proxy_that_speaks_resp2_alone_readings_come_without_tracking() {
    let fixture = Fixture::new();
    fixture.submit(1).await;
    let server = Server {
        address: Address {
            host: "127.0.0.1".to_owned(),
            port: proxy_without_hello(fixture.redis.port()),
        },
        ..fixture.server()
    };
    let (observer, _changes) = Observer::new(&server).unwrap();
    let reading = read(&observer, &fixture).await;
    assert_eq!((reading.tracked, reading.waiting), (false, 1));
}

#[tokio::test]
async fn changes_during_reads_are_told_again_until_a_read_has_seen_the_last() {
    const PUSHES: u64 = 2_000;
    let fixture = Fixture::new();
    let (observer, mut changes) = Observer::new(&fixture.server()).unwrap();
    assert_eq!(changes.next().await, Some(Change::All));
    let server = fixture.server();
    let pushes = std::thread::spawn(move || {
        let mut raw = Raw::to(&server);
        for _ in 0..PUSHES {
            raw.on(2).ask::<()>(&["RPUSH", MAIN, "foreign"]);
        }
    });
    let mut reads = 0;
    // Nobody polls: each reading but the first follows from what was told.
    let all_seen = async {
        while read(&observer, &fixture).await.waiting < PUSHES {
            reads += 1;
            changes.next().await.unwrap();
        }
    };
    let all_seen = tokio::time::timeout(PATIENCE, all_seen).await;
    pushes.join().unwrap();
    all_seen.expect("the last change was told");
    assert!(reads > 1, "some pushes fell into reads: {reads}");
}

#[tokio::test]
async fn server_that_forgets_what_it_tracks_tells_so_and_hides_nothing() {
    let mut fixture = Fixture::on(RedisServer::start_with(&["--tracking-table-max-keys", "1"]).unwrap());
    let (observer, mut changes) = Observer::new(&fixture.server()).unwrap();
    assert_eq!(changes.next().await, Some(Change::All));
    for pushed in 0..5 {
        assert_eq!(read(&observer, &fixture).await.waiting, pushed);
        fixture.ask::<()>(&["RPUSH", MAIN, "foreign"]);
        let told = tokio::time::timeout(PATIENCE, changes.next()).await;
        assert_eq!(told.unwrap(), Some(Change::Queue(fixture.queue.clone())));
    }
}

/// Passes all on to the server on that port, but refuses HELLO as servers did that knew no other protocol. Answers its own port.
fn proxy_without_hello(server: u16) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).unwrap();
            let (mut answers, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut answers, &mut to_client));
            std::thread::spawn(move || pass_on(client, server));
        }
    });
    port
}

fn pass_on(client: TcpStream, mut server: TcpStream) -> Option<()> {
    let mut requests = BufReader::new(client);
    loop {
        let mut request = String::new();
        requests.read_line(&mut request).ok()?;
        let words: usize = request.trim().strip_prefix('*')?.parse().ok()?;
        let mut request = request.into_bytes();
        let mut first = Vec::new();
        for word in 0..words {
            let mut length = String::new();
            requests.read_line(&mut length).ok()?;
            let bytes: usize = length.trim().strip_prefix('$')?.parse().ok()?;
            let mut text = vec![0; bytes + 2];
            requests.read_exact(&mut text).ok()?;
            request.extend(length.bytes());
            request.extend(&text);
            if word == 0 {
                first = text;
            }
        }
        // The server itself answers, so that all comes in its order.
        let hello = first.trim_ascii().eq_ignore_ascii_case(b"HELLO");
        let unknown = b"*1\r\n$5\r\nHELL0\r\n";
        server.write_all(if hello { unknown } else { &request }).ok()?;
    }
}
