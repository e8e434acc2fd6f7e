//! Queues of other systems in a Redis Cluster. The keys with `{b}`, `{c}` and `{a}` are on the first, second and third node.

use std::time::{Duration, Instant};

use queue::{
    Changes, Error, ForeignKey, ForeignQueue, KeyKind, Observer, Producer, Queue, Reading, Result, Server,
    Subject,
    test_server::{Certificates, RedisCluster, RedisServer},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// The third node has these.
const MOVING: &str = "bull:{a}:wait";

struct Fixture {
    cluster: RedisCluster,
    observer: Observer,
    changes: Changes,
}

impl Fixture {
    fn new() -> Self {
        Self::on(RedisCluster::start().unwrap())
    }

    fn on(cluster: RedisCluster) -> Self {
        let (observer, changes) = Observer::new(&cluster.server()).unwrap();
        Self {
            cluster,
            observer,
            changes,
        }
    }

    async fn read(&self, queue: &ForeignQueue) -> Result<Reading> {
        let subject = Subject::from(queue.clone());
        self.observer.read_all(&[subject]).await.remove(0)
    }

    /// Reads until all is as it should be. As who follows it does: after a change, and after so long without one.
    async fn until(&mut self, queue: &ForeignQueue, poll: Duration, fits: impl Fn(&Reading) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let reading = self.read(queue).await;
            if reading.as_ref().is_ok_and(&fits) {
                return;
            }
            assert!(Instant::now() < deadline, "not in time: {reading:?}");
            // Told or not, read.
            let _ = tokio::time::timeout(poll, self.changes.next()).await;
        }
    }

    /// Reads only when told.
    async fn told(&mut self, queue: &ForeignQueue, fits: impl Fn(&Reading) -> bool) {
        self.until(queue, PATIENCE, fits).await;
    }

    fn push(&self, key: &str) {
        self.cluster.call_anywhere(&["RPUSH", key, "job"]).unwrap();
    }
}

fn queue(waiting: &[&str], running: &[&str]) -> ForeignQueue {
    let keys = |names: &[&str]| {
        let key = |name: &&str| ForeignKey {
            name: (*name).to_owned(),
            kind: KeyKind::List,
            group: None,
        };
        names.iter().map(key).collect()
    };
    ForeignQueue {
        db: 0,
        waiting: keys(waiting),
        running: keys(running),
    }
}

#[tokio::test]
async fn queues_of_all_nodes_are_read_and_a_push_at_any_of_them_is_told() {
    let mut fixture = Fixture::new();
    let queues =
        ["{a}", "{b}", "{c}"].map(|tag| queue(&[&format!("{tag}:wait")], &[&format!("{tag}:active")]));
    let subjects = queues.clone().map(Subject::from);
    let readings = fixture.observer.read_all(&subjects).await;
    for reading in &readings {
        let reading = reading.as_ref().unwrap();
        assert_eq!((reading.waiting, reading.running, reading.tracked), (0, 0, true));
    }
    let run_ids = readings.into_iter().map(|reading| reading.unwrap().run_id);
    assert_eq!(
        run_ids.collect::<std::collections::HashSet<_>>().len(),
        3,
        "three nodes"
    );
    for (queue, key) in queues.iter().zip(["{a}:wait", "{b}:wait", "{c}:active"]) {
        fixture.push(key);
        fixture
            .told(queue, |reading| reading.waiting + reading.running == 1)
            .await;
    }
}

#[tokio::test]
async fn slot_that_moves_is_followed_while_it_moves_and_after() {
    let mut fixture = Fixture::new();
    let queue = queue(&[MOVING], &[]);
    fixture.push(MOVING);
    fixture.told(&queue, |reading| reading.waiting == 1).await;

    let Fixture { cluster, .. } = &fixture;
    cluster.begin_move(MOVING, 2, 0).unwrap();
    assert_eq!(
        fixture.read(&queue).await.unwrap().waiting,
        1,
        "the key is where it was"
    );
    cluster.move_keys(&[MOVING], 2, 0).unwrap();
    let reading = fixture.read(&queue).await.unwrap();
    assert_eq!(
        (reading.waiting, reading.tracked),
        (1, false),
        "asked where it is going, and to be polled"
    );
    cluster.end_move(MOVING, 2, 0).unwrap();
    let reading = fixture.read(&queue).await.unwrap();
    assert_eq!((reading.waiting, reading.tracked), (1, true));
    fixture.push(MOVING);
    fixture.told(&queue, |reading| reading.waiting == 2).await;
}

#[tokio::test]
async fn keys_that_are_apart_while_their_slot_moves_are_an_error_for_as_long() {
    let fixture = Fixture::new();
    let (wait, active) = ("bull:{a}:wait", "bull:{a}:active");
    let queue = queue(&[wait], &[active]);
    fixture.push(wait);
    fixture.push(active);
    assert_eq!(fixture.read(&queue).await.unwrap().running, 1);
    fixture.cluster.begin_move(wait, 2, 0).unwrap();
    fixture.cluster.move_keys(&[wait], 2, 0).unwrap();
    let err = fixture.read(&queue).await.unwrap_err();
    assert!(matches!(err, Error::SlotUnavailable(_)), "{err:?}");
    fixture.cluster.move_keys(&[active], 2, 0).unwrap();
    fixture.cluster.end_move(wait, 2, 0).unwrap();
    let reading = fixture.read(&queue).await.unwrap();
    assert_eq!((reading.waiting, reading.running), (1, 1));
}

#[tokio::test]
async fn master_that_dies_is_told_and_its_replica_is_found() {
    let mut fixture = Fixture::new();
    let (dying, other) = (queue(&["{b}:wait"], &[]), queue(&["{c}:wait"], &[]));
    fixture.push("{b}:wait");
    fixture.told(&dying, |reading| reading.waiting == 1).await;
    fixture.told(&other, |reading| reading.waiting == 0).await;
    fixture.cluster.kill_master().unwrap();
    let err = fixture.read(&dying).await.unwrap_err();
    assert!(
        matches!(&err, Error::Unreachable { .. } | Error::Disconnected { .. }),
        "{err:?}"
    );

    // In its place within some seconds.
    fixture
        .until(&dying, Duration::from_secs(1), |reading| reading.waiting == 1)
        .await;
    fixture.push("{b}:wait");
    fixture.told(&dying, |reading| reading.waiting == 2).await;

    // It comes back as the replica.
    fixture.cluster.node(0).restart().unwrap();
    fixture.push("{b}:wait");
    fixture.told(&dying, |reading| reading.waiting == 3).await;
}

#[tokio::test]
async fn one_node_that_is_named_and_answers_is_enough_be_it_a_replica() {
    let mut fixture = Fixture::new();
    let mut server = fixture.cluster.server();
    let replica = fixture.cluster.node(RedisCluster::REPLICA).server().address;
    server.cluster.as_mut().unwrap().addresses = vec!["127.0.0.1:1".parse().unwrap(), replica];
    let (observer, _changes) = Observer::new(&server).unwrap();
    for key in ["{a}", "{b}", "{c}"] {
        let read = observer.read_all(&[queue(&[key], &[]).into()]).await.remove(0);
        assert_eq!(read.unwrap().waiting, 0);
    }

    server.cluster.as_mut().unwrap().addresses.truncate(1);
    let (observer, _changes) = Observer::new(&server).unwrap();
    let read = observer.read_all(&[queue(&["{a}"], &[]).into()]).await.remove(0);
    let err = read.unwrap_err();
    assert!(
        matches!(&err, Error::Unreachable { address, .. } if address == "127.0.0.1:1"),
        "{err:?}"
    );
}

#[tokio::test]
async fn keys_of_different_slots_are_an_error_that_says_what_to_do_and_hide_no_other_queue() {
    let fixture = Fixture::new();
    let queues = [
        queue(&["rq:queue:mails"], &["rq:wip:mails"]),
        queue(&["{a}:wait"], &[]),
    ];
    let mut readings = fixture.observer.read_all(&queues.map(Subject::from)).await;
    assert_eq!(readings.remove(1).unwrap().waiting, 0);
    let err = readings.remove(0).unwrap_err();
    assert_eq!(err, Error::CrossSlot);
    assert!(err.to_string().contains("asynq:{mails}:pending"), "{err}");
}

#[tokio::test]
async fn password_and_tls_are_the_same_on_all_nodes() {
    let certificates = Certificates::new().unwrap();
    let builder = RedisServer::builder()
        .password("secret")
        .tls(&certificates, true)
        .unwrap();
    let mut fixture = Fixture::on(RedisCluster::start_of(&builder).unwrap());
    for key in ["{a}", "{b}", "{c}"] {
        let queue = queue(&[key], &[]);
        fixture.told(&queue, |reading| reading.waiting == 0).await;
        fixture.push(key);
        fixture.told(&queue, |reading| reading.waiting == 1).await;
    }
    // The key goes to another node, which asks for the password too.
    fixture.cluster.begin_move("{a}", 2, 0).unwrap();
    fixture.cluster.move_keys(&["{a}"], 2, 0).unwrap();
    assert_eq!(fixture.read(&queue(&["{a}"], &[])).await.unwrap().waiting, 1);
}

#[tokio::test]
async fn queue_of_our_own_is_refused_and_so_is_a_node_that_is_named_as_a_single_server() {
    let fixture = Fixture::new();
    let own = Queue::new("queue".parse().unwrap());
    let err = fixture
        .observer
        .read(std::slice::from_ref(&own))
        .await
        .remove(0)
        .unwrap_err();
    assert!(err.to_string().contains("cannot be in a Redis Cluster"), "{err}");
    let err = Producer::new(&fixture.cluster.server(), own).unwrap_err();
    assert!(matches!(err, Error::Config(_)), "{err:?}");

    let node = Server {
        cluster: None,
        ..fixture.cluster.server()
    };
    let (observer, _changes) = Observer::new(&node).unwrap();
    let read = observer.read_all(&[queue(&["{a}"], &[]).into()]).await.remove(0);
    let err = read.unwrap_err().to_string();
    assert!(err.contains("is a node of a Redis Cluster"), "{err}");
}
