//! Sentinel: whoever the master is, every face finds it and goes on.

use std::time::Duration;

use queue::{
    Address, Change, Changes, Drainer, Error, NewJob, Observer, Producer, Queue, Secret, Sentinel, Server,
    test_server::{Certificates, RedisServer, Sentinels},
};

use crate::{
    common::{Raw, Worker, eventually, pair},
    fake::sentinel_that_names,
};

fn queue() -> Queue {
    Queue::new("queue".parse().unwrap())
}

/// Until both replicas have all that was written so far.
fn wait_for_replicas(master: &Server) {
    let mut raw = Raw::to(master);
    // WAIT looks at what this very client has written.
    raw.ask::<()>(&["SET", "written", "last"]);
    assert_eq!(raw.ask::<u64>(&["WAIT", "2", "20000"]), 2);
}

async fn next(changes: &mut Changes) -> Change {
    let change = tokio::time::timeout(Duration::from_secs(20), changes.next()).await;
    change.expect("no change came").unwrap()
}

#[tokio::test]
async fn every_face_goes_on_with_the_new_master_and_nothing_that_was_replicated_is_lost() {
    let mut trio = Sentinels::start().unwrap();
    let server = trio.server();
    let producer = Producer::new(&server, queue()).unwrap();
    let worker = Worker::new(&server, &queue(), None, Duration::from_secs(30));
    let drainer = Drainer::new(&server).unwrap();
    let (observer, mut changes) = Observer::new(&server).unwrap();
    let read = async || observer.read(&[queue()]).await.remove(0);
    let mut acknowledged = Vec::new();
    for _ in 0..10 {
        acknowledged.push(producer.submit(NewJob::new("a", "b")).await.unwrap().id);
    }
    worker.consumer.beat().await.unwrap();
    let held = worker.claim(3).await.jobs;
    assert_eq!(next(&mut changes).await, Change::All);
    let before = read().await.unwrap();
    wait_for_replicas(&trio.servers()[0].server());

    trio.servers()[0].kill();
    let job = NewJob::new("a", "b");
    let submitted = eventually("a job is taken again", || async {
        producer.submit(job.clone()).await.ok()
    });
    acknowledged.push(submitted.await.id);
    for id in &acknowledged {
        let found = eventually("it can be read", || async { producer.get(id).await.ok() });
        assert!(found.await.is_some(), "{id} is lost");
    }

    let pairs: Vec<_> = held.iter().map(pair).collect();
    let renewed = eventually("leases are renewed", || async {
        worker.consumer.renew(&pairs).await.ok()
    });
    assert_eq!(renewed.await.lost, []);
    for (id, token) in &pairs {
        worker.complete(id, token).await;
    }
    eventually("a worker is woken", || async {
        worker.consumer.wake(Duration::from_millis(10)).await.ok()
    })
    .await;
    assert_eq!(
        worker.claim(100).await.jobs.len(),
        acknowledged.len() - held.len()
    );
    let workers = eventually("the registry can be read", || async {
        drainer.workers(&queue()).await.ok()
    });
    assert_eq!(workers.await.len(), 1);

    assert_eq!(next(&mut changes).await, Change::All);
    let after = eventually("the queue can be read", || async { read().await.ok() }).await;
    assert_ne!(after.run_id, before.run_id);
    assert!(after.tracked);
    // That the old one was gone may have been told apart from that there is a new one.
    loop {
        producer.submit(NewJob::new("a", "b")).await.unwrap();
        match next(&mut changes).await {
            Change::All => drop(read().await),
            change => break assert_eq!(change, Change::Queue(queue())),
        }
    }
}

#[tokio::test]
async fn a_master_that_was_replaced_is_left_although_it_still_answers() {
    let mut trio =
        Sentinels::start_of(&RedisServer::builder().user("jobs", "secret", &["~*", "+@all"])).unwrap();
    let producer = Producer::new(&trio.server(), queue()).unwrap();
    let (_observer, mut changes) = Observer::new(&trio.server()).unwrap();
    assert_eq!(next(&mut changes).await, Change::All);
    let first = producer.submit(NewJob::new("a", "b")).await.unwrap();
    let old = trio.servers()[0].server();
    wait_for_replicas(&old);

    // As if they were cut off from it: the sentinels take it for dead, and it never hears that it is no master.
    let mut raw = Raw::to(&old);
    raw.ask::<()>(&["ACL", "SETUSER", "default", "-ping"]);
    let elsewhere = eventually("jobs go to the new master", || async {
        let job = producer.submit(NewJob::new("a", "b")).await.ok()?;
        let on_old = Producer::new(&old, queue()).unwrap().get(&job.id).await.unwrap();
        on_old.is_none().then_some(job)
    })
    .await;
    for job in [first, elsewhere] {
        assert!(producer.get(&job.id).await.unwrap().is_some());
    }
    assert_eq!(next(&mut changes).await, Change::All);
}

#[tokio::test]
async fn sentinel_speaks_tls_with_client_certificates_and_asks_for_its_own_password() {
    let certificates = Certificates::new().unwrap();
    let encrypted = RedisServer::builder()
        .password("secret")
        .tls(&certificates, true)
        .unwrap();
    let mut trio = Sentinels::start_of(&encrypted).unwrap();
    let server = trio.server();
    let producer = Producer::new(&server, queue()).unwrap();
    let (observer, mut changes) = Observer::new(&server).unwrap();
    producer.submit(NewJob::new("a", "b")).await.unwrap();
    assert_eq!(next(&mut changes).await, Change::All);
    assert!(observer.read(&[queue()]).await.remove(0).unwrap().tracked);

    let mut stranger = server.clone();
    stranger.sentinel.as_mut().unwrap().password = None;
    let refused = Producer::new(&stranger, queue()).unwrap().ping().await;
    assert!(
        matches!(&refused, Err(Error::Auth(text)) if text.contains("Sentinel at")),
        "{refused:?}"
    );

    trio.servers()[0].kill();
    eventually("a job is taken again", || async {
        producer.submit(NewJob::new("a", "b")).await.ok()
    })
    .await;
    assert_eq!(next(&mut changes).await, Change::All);
    let reading = eventually("the queue can be read", || async {
        observer.read(&[queue()]).await.remove(0).ok()
    });
    assert!(reading.await.tracked);
}

#[tokio::test]
async fn without_sentinels_or_their_knowledge_the_error_says_what_is_waited_for() {
    let mut trio = Sentinels::start().unwrap();
    let mut unknown = trio.server();
    unknown.sentinel.as_mut().unwrap().master = "jbos".to_owned();
    let err = Producer::new(&unknown, queue())
        .unwrap()
        .ping()
        .await
        .unwrap_err();
    assert!(matches!(err, Error::UnknownMaster { .. }), "{err:?}");
    assert!(err.to_string().contains("\"jbos\""), "{err}");

    let producer = Producer::new(&trio.server(), queue()).unwrap();
    producer.ping().await.unwrap();
    trio.kill_sentinels();
    // Whoever has a connection keeps it.
    producer.submit(NewJob::new("a", "b")).await.unwrap();
    let newcomer = Producer::new(&trio.server(), queue()).unwrap();
    let err = newcomer.ping().await.unwrap_err();
    assert!(matches!(err, Error::NoSentinel { .. }), "{err:?}");
    for address in trio.addresses() {
        assert!(err.to_string().contains(&address.to_string()), "{err}");
    }
    trio.restart_sentinels().unwrap();
    eventually("the newcomer finds it", || async { newcomer.ping().await.ok() }).await;
}

#[tokio::test]
async fn whom_most_name_is_tried_first_and_the_next_if_that_is_no_master() {
    let (master, other) = (RedisServer::start().unwrap(), RedisServer::start().unwrap());
    let replica = RedisServer::builder().replica_of(&master).start().unwrap();
    for named in [[&other, &master, &master], [&replica, &replica, &master]] {
        let server = Server::behind(Sentinel {
            master: "jobs".to_owned(),
            addresses: named
                .map(|server| on_loopback(sentinel_that_names(server.port())))
                .to_vec(),
            username: None,
            password: None,
            login_files: queue::LoginFiles::default(),
        })
        .unwrap();
        let job = NewJob::new("a", "b");
        Producer::new(&server, queue())
            .unwrap()
            .submit(job.clone())
            .await
            .unwrap();
        let on_master = Producer::new(&master.server(), queue()).unwrap();
        assert!(on_master.get(&job.id).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn on_the_sentinels_the_rights_that_the_docs_name_are_enough() {
    let trio = Sentinels::start().unwrap();
    let page = std::fs::read_to_string("../docs/redis.md").unwrap();
    let rights = page
        .lines()
        .find_map(|line| line.trim().strip_prefix("ACL SETUSER workerpool on >PASSWORD "))
        .unwrap();
    let sentinels = trio.addresses().into_iter().map(Server::new);
    let mut sentinels: Vec<_> = sentinels.map(|sentinel| Raw::to(&sentinel)).collect();
    for sentinel in &mut sentinels {
        let mut allow = redis::cmd("ACL");
        allow
            .arg(&["SETUSER", "workerpool", "on", ">secret"])
            .arg(rights.split(' ').collect::<Vec<_>>());
        sentinel.command::<()>(&allow).unwrap();
    }
    let mut server = trio.server();
    let login = server.sentinel.as_mut().unwrap();
    login.username = Some("workerpool".to_owned());
    login.password = Some(Secret::new("secret"));
    let producer = Producer::new(&server, queue()).unwrap();
    producer.submit(NewJob::new("a", "b")).await.unwrap();
    for sentinel in &mut sentinels {
        eventually("it listens for a switch", || {
            let clients: String = sentinel.ask(&["CLIENT", "LIST"]);
            let listens = |line: &str| line.contains(" sub=1 ") && line.contains("user=workerpool");
            let one_listens = clients.lines().any(listens);
            async move { one_listens.then_some(()) }
        })
        .await;
    }
}

fn on_loopback(port: u16) -> Address {
    format!("127.0.0.1:{port}").parse().unwrap()
}
