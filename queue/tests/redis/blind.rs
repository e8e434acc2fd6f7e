//! Where Redis does not tell of changes, or tells of them at a bad moment, readings say so, and none is the last before a change.

use std::time::Duration;

use queue::{Change, Observer, Reading, test_server::RedisServer};

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
