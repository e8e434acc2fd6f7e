//! Queues of other systems: their lengths by type, and that a change of them is told.

use std::time::Duration;

use queue::{
    Change, Changes, Error, ForeignKey, ForeignQueue, KeyKind, Observer, Reading, Result, Subject,
    test_server::RedisServer,
};

use crate::common::Raw;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server with an observer, and a foreign program beside it.
struct Fixture {
    redis: RedisServer,
    raw: Raw,
    observer: Observer,
    changes: Changes,
}

impl Fixture {
    async fn new() -> Self {
        Self::on(RedisServer::start().unwrap()).await
    }

    async fn on(redis: RedisServer) -> Self {
        let (observer, mut changes) = Observer::new(&redis.server()).unwrap();
        assert_eq!(changes.next().await, Some(Change::All));
        Self {
            raw: Raw::to(&redis.server()),
            redis,
            observer,
            changes,
        }
    }

    fn ask(&mut self, command: &[&str]) {
        let _: redis::Value = self.raw.ask(command);
    }

    async fn read(&self, queue: &ForeignQueue) -> Result<Reading> {
        let subject = Subject::from(queue.clone());
        self.observer.read_all(&[subject]).await.remove(0)
    }

    /// Waiting and running.
    async fn lengths(&self, queue: &ForeignQueue) -> (u64, u64) {
        let reading = self.read(queue).await.unwrap();
        (reading.waiting, reading.running)
    }

    async fn told(&mut self, queue: &ForeignQueue) {
        let change = tokio::time::timeout(PATIENCE, self.changes.next()).await;
        let change = change.expect("no change came").unwrap();
        assert_eq!(change, Change::Foreign(queue.clone().into()));
    }

    fn groups(&mut self, stream: &str) -> String {
        format!("{:?}", self.raw.ask::<redis::Value>(&["XINFO", "GROUPS", stream]))
    }
}

fn key(kind: KeyKind, name: &str) -> ForeignKey {
    ForeignKey {
        name: name.to_owned(),
        kind,
        group: None,
    }
}

fn waiting(keys: &[ForeignKey]) -> ForeignQueue {
    ForeignQueue {
        waiting: keys.to_vec(),
        ..ForeignQueue::default()
    }
}

fn stream_read_by(group: &str) -> ForeignQueue {
    let group = Some(group.to_owned());
    waiting(&[ForeignKey {
        group,
        ..key(KeyKind::Stream, "events")
    }])
}

/// Each type, with two commands that put one element into it, and one that takes one out.
const TYPES: [(KeyKind, [&[&str]; 3]); 5] = [
    (
        KeyKind::List,
        [&["LPUSH", "k", "a"], &["RPUSH", "k", "b"], &["RPOP", "k"]],
    ),
    (
        KeyKind::Stream,
        [
            &["XADD", "k", "1-1", "a", "b"],
            &["XADD", "k", "*", "a", "b"],
            &["XDEL", "k", "1-1"],
        ],
    ),
    (
        KeyKind::SortedSet,
        [
            &["ZADD", "k", "1", "a"],
            &["ZADD", "k", "2", "b"],
            &["ZPOPMIN", "k"],
        ],
    ),
    (
        KeyKind::Set,
        [&["SADD", "k", "a"], &["SADD", "k", "b"], &["SREM", "k", "a"]],
    ),
    (
        KeyKind::Hash,
        [
            &["HSET", "k", "a", "1"],
            &["HSET", "k", "b", "2"],
            &["HDEL", "k", "a"],
        ],
    ),
];

#[tokio::test]
async fn each_type_is_as_long_as_it_has_elements_and_each_change_is_told() {
    for (kind, [first, second, less]) in TYPES {
        let mut fixture = Fixture::new().await;
        let queue = waiting(&[key(kind, "k")]);
        assert_eq!(fixture.lengths(&queue).await, (0, 0), "no key, no jobs: {kind:?}");
        for (command, length) in [(first, 1), (second, 2), (less, 1), (&["DEL", "k"], 0)] {
            fixture.ask(command);
            fixture.told(&queue).await;
            let reading = fixture.read(&queue).await.unwrap();
            assert_eq!(
                (reading.waiting, reading.running),
                (length, 0),
                "{kind:?} after {command:?}"
            );
            assert!(reading.tracked);
        }
    }
}

#[tokio::test]
async fn what_waits_and_what_runs_are_added_up_each_by_itself() {
    let mut fixture = Fixture::new().await;
    let queue = ForeignQueue {
        db: 5,
        waiting: vec![
            key(KeyKind::List, "bull:mails:wait"),
            key(KeyKind::SortedSet, "bull:mails:prioritized"),
        ],
        running: vec![key(KeyKind::List, "bull:mails:active")],
    };
    assert_eq!(fixture.lengths(&queue).await, (0, 0));
    fixture.raw.on(5);
    fixture.ask(&["RPUSH", "bull:mails:wait", "1", "2", "3"]);
    fixture.told(&queue).await;
    assert_eq!(fixture.lengths(&queue).await, (3, 0));
    fixture.ask(&["ZADD", "bull:mails:prioritized", "1", "4"]);
    fixture.told(&queue).await;
    assert_eq!(fixture.lengths(&queue).await, (4, 0));
    fixture.ask(&["RPOPLPUSH", "bull:mails:wait", "bull:mails:active"]);
    fixture.told(&queue).await;
    assert_eq!(fixture.lengths(&queue).await, (3, 1));
    // The same names in another database are somebody else's.
    fixture.raw.on(0);
    fixture.ask(&["RPUSH", "bull:mails:wait", "1"]);
    assert_eq!(fixture.lengths(&queue).await, (3, 1));
}

#[tokio::test]
async fn key_of_another_type_is_told_in_words_and_that_it_was_put_right_is_told_too() {
    let mut fixture = Fixture::new().await;
    let (good, bad) = (
        waiting(&[key(KeyKind::List, "good")]),
        waiting(&[key(KeyKind::List, "rq:queue:mails")]),
    );
    fixture.ask(&["HSET", "rq:queue:mails", "a", "1"]);
    let subjects = [good, bad.clone()].map(Subject::from);
    let readings = fixture.observer.read_all(&subjects).await;
    assert_eq!(readings[0].as_ref().unwrap().waiting, 0, "it hides no other");
    let error = readings[1].clone().unwrap_err();
    assert!(matches!(error, Error::WrongType(_)), "{error:?}");
    let words = "the key rq:queue:mails is a hash, not a list";
    assert!(error.to_string().contains(words), "{error}");

    fixture.ask(&["DEL", "rq:queue:mails"]);
    fixture.told(&bad).await;
    fixture.ask(&["RPUSH", "rq:queue:mails", "1"]);
    assert_eq!(fixture.lengths(&bad).await, (1, 0));
}

#[tokio::test]
async fn of_a_group_the_backlog_waits_and_what_is_pending_runs() {
    let mut fixture = Fixture::new().await;
    let (group, whole) = (
        stream_read_by("mailers"),
        waiting(&[key(KeyKind::Stream, "events")]),
    );
    assert_eq!(fixture.lengths(&group).await, (0, 0));
    for _ in 0..5 {
        fixture.ask(&["XADD", "events", "*", "to", "you"]);
    }
    fixture.told(&group).await;
    // A pool at zero must see them, or nobody ever makes the group.
    assert_eq!(fixture.lengths(&group).await, (5, 0), "no group yet: all wait");
    fixture.ask(&["XGROUP", "CREATE", "events", "mailers", "0"]);
    assert_eq!(fixture.lengths(&group).await, (5, 0));
    let read = &[
        "XREADGROUP",
        "GROUP",
        "mailers",
        "me",
        "COUNT",
        "2",
        "STREAMS",
        "events",
        ">",
    ];
    fixture.ask(read);
    assert!(
        fixture.groups("events").contains("lag"),
        "this Redis counts by itself"
    );
    assert_eq!(fixture.lengths(&group).await, (3, 2));
    assert_eq!(
        fixture.lengths(&whole).await,
        (5, 0),
        "without a group the whole stream"
    );
    fixture.ask(&["XACK", "events", "mailers", "0-1"]);
    let all = "for _, e in ipairs(redis.call('XRANGE', 'events', '-', '+')) do redis.call('XACK', 'events', 'mailers', e[1]) end";
    fixture.ask(&["EVAL", all, "0"]);
    assert_eq!(fixture.lengths(&group).await, (3, 0));
}

/// After a deletion in the middle Redis 7 does not know the lag; 6.2 never does.
async fn is_counted_where_the_server_does_not(fixture: &mut Fixture) {
    let group = stream_read_by("mailers");
    fixture.ask(&["XGROUP", "CREATE", "events", "mailers", "0", "MKSTREAM"]);
    for id in ["1-1", "2-1", "3-1", "4-1", "5-1"] {
        fixture.ask(&["XADD", "events", id, "to", "you"]);
    }
    fixture.ask(&[
        "XREADGROUP",
        "GROUP",
        "mailers",
        "me",
        "COUNT",
        "1",
        "STREAMS",
        "events",
        ">",
    ]);
    fixture.ask(&["XDEL", "events", "3-1"]);
    assert_eq!(fixture.lengths(&group).await, (3, 1));
}

#[tokio::test]
async fn backlog_is_counted_where_the_server_does_not() {
    is_counted_where_the_server_does_not(&mut Fixture::new().await).await;
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn oldest_redis_and_valkey_read_all_the_same() {
    for version in ["redis-5.0", "redis-6.0", "redis-6.2", "valkey-9.1"] {
        let program = queue::test_server::cache().join("servers").join(version);
        assert!(program.exists(), "dev/install puts it at {}", program.display());
        let redis = RedisServer::builder().program(&program).start().unwrap();
        let mut fixture = Fixture::on(redis).await;
        is_counted_where_the_server_does_not(&mut fixture).await;
        if version == "redis-5.0" {
            continue; // Nobody tells of changes there.
        }
        let queue = waiting(&[key(KeyKind::List, "k")]);
        assert_eq!(fixture.lengths(&queue).await, (0, 0));
        fixture.ask(&["SET", "k", "a text"]);
        fixture.told(&queue).await;
        let error = fixture.read(&queue).await.unwrap_err();
        assert!(matches!(error, Error::WrongType(_)), "{version}: {error:?}");
        fixture.ask(&["DEL", "k"]);
        fixture.told(&queue).await;
        assert_eq!(fixture.lengths(&queue).await, (0, 0), "{version}");
        fixture.ask(&["RPUSH", "k", "a"]);
        fixture.told(&queue).await;
        assert_eq!(fixture.lengths(&queue).await, (1, 0), "{version}");
    }
}

#[tokio::test]
async fn nothing_is_written_and_few_rights_are_needed() {
    let rights = [
        "~rq:*",
        "+@connection",
        "+select",
        "+evalsha",
        "+script|load",
        "+type",
        "+llen",
        "+time",
        "+info",
    ];
    let redis = RedisServer::builder()
        .user("watcher", "secret", &rights)
        .start()
        .unwrap();
    let server = queue::Server {
        username: None,
        password: None,
        ..redis.server()
    };
    let mut raw = Raw::to(&server);
    let fixture = Fixture::on(redis).await;
    let queue = waiting(&[key(KeyKind::List, "rq:queue:mails")]);
    let _: redis::Value = raw.ask(&["RPUSH", "rq:queue:mails", "1"]);
    assert_eq!(fixture.lengths(&queue).await, (1, 0));
    let keys: Vec<String> = raw.ask(&["KEYS", "*"]);
    assert_eq!(keys, ["rq:queue:mails"]);
    drop(fixture.redis);
}

#[tokio::test]
async fn a_master_that_becomes_a_replica_is_not_believed_from_the_next_read_on() {
    let mut fixture = Fixture::new().await;
    let list = waiting(&[key(KeyKind::List, "mails")]);
    assert_eq!(fixture.lengths(&list).await, (0, 0));
    // The connection stays, and the ping that would notice is 3 s away at the most.
    fixture.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    let reading = fixture.read(&list).await;
    assert!(matches!(reading, Err(Error::NotMaster { .. })), "{reading:?}");
}
