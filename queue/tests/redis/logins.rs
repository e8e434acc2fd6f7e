//! Passwords and certificates that change while a program runs.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use queue::{
    Error, LoginFiles, NewJob, Queue, Server, SettingFile, Tls, TlsFiles,
    test_server::{Certificates, RedisServer, Sentinels},
};

use crate::common::{Fixture, Raw, Worker, eventually};

/// A folder of files, gone with its handle.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("workerpool-login-{}", queue::JobId::fresh().as_str());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> SettingFile {
        fs::write(self.0.join(name), text).unwrap();
        self.file(name)
    }

    fn file(&self, name: &str) -> SettingFile {
        SettingFile {
            path: self.0.join(name),
            setting: "WORKERPOOL_REDIS_PASSWORD_FILE",
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn queue() -> Queue {
    Queue::new("queue".parse().unwrap())
}

/// A server whose user `workerpool` has the password `old`, as a worker knows it that reads its login from files.
fn rotating() -> (Fixture, Folder, Server) {
    let redis = RedisServer::builder().user("workerpool", "old", &["~*", "&*", "+@all"]);
    let redis = redis.start().unwrap();
    let folder = Folder::new();
    let server = Server {
        // The file beats it.
        username: Some("nobody".to_owned()),
        password: Some(queue::Secret::new("wrong")),
        login_files: LoginFiles {
            username: Some(folder.write("username", "workerpool\n")),
            password: Some(folder.write("password", "old\n")),
        },
        ..redis.server()
    };
    let plain = Server {
        username: None,
        password: None,
        ..redis.server()
    };
    let fixture = Fixture {
        raw: Raw::to(&plain),
        redis,
        queue: queue(),
    };
    (fixture, folder, server)
}

fn rotate(fixture: &mut Fixture) {
    fixture
        .raw
        .ask::<()>(&["ACL", "SETUSER", "workerpool", "resetpass", ">new"]);
    fixture.raw.ask::<u64>(&["CLIENT", "KILL", "USER", "workerpool"]);
}

#[tokio::test]
async fn worker_goes_on_with_password_that_was_rotated_in_its_file() {
    let (mut fixture, folder, server) = rotating();
    let worker = Worker::new(&server, &queue(), None, Duration::from_secs(30));
    let producer = queue::Producer::new(&server, queue()).unwrap();
    producer.submit(NewJob::new("a", "b")).await.unwrap();
    let claimed = worker.claim_one().await;

    rotate(&mut fixture);
    let refused = eventually("it is refused", || async { worker.consumer.beat().await.err() }).await;
    assert!(
        matches!(refused, Error::Auth(_) | Error::Disconnected { .. }),
        "{refused:?}"
    );
    folder.write("password", "new\n");
    eventually("it goes on", || async { worker.consumer.beat().await.ok() }).await;
    worker.complete(&claimed.job.id, &claimed.token).await;
    eventually("jobs are taken again", || async {
        producer.submit(NewJob::new("a", "b")).await.ok()
    })
    .await;
    worker.claim_one().await;
}

#[tokio::test]
async fn password_that_was_rotated_while_redis_was_down_is_used_when_it_is_back() {
    let mut redis = RedisServer::builder().password("old").start().unwrap();
    let folder = Folder::new();
    let server = Server {
        password: None,
        login_files: LoginFiles {
            username: Some(folder.file("no such key")),
            password: Some(folder.write("password", "old")),
        },
        ..redis.server()
    };
    let worker = Worker::new(&server, &queue(), None, Duration::from_secs(30));
    worker.consumer.beat().await.unwrap();
    redis.kill();
    eventually("it is away", || async { worker.consumer.beat().await.err() }).await;
    folder.write("password", "new");
    let port = redis.port().to_string();
    let _again = RedisServer::builder()
        .password("new")
        .settings(&["--port", &port])
        .start()
        .unwrap();
    eventually("it goes on", || async { worker.consumer.beat().await.ok() }).await;
}

#[tokio::test]
async fn password_file_that_cannot_be_read_is_named_until_it_can() {
    let (mut fixture, folder, server) = rotating();
    let worker = Worker::new(&server, &queue(), None, Duration::from_secs(30));
    worker.consumer.beat().await.unwrap();
    let path = folder.file("password").path;
    fs::remove_file(&path).unwrap();
    fixture.raw.ask::<u64>(&["CLIENT", "KILL", "USER", "workerpool"]);
    let refused = eventually("it is refused", || async {
        let refused = worker.consumer.beat().await.err();
        refused.filter(|err| matches!(err, Error::UnreadableFile { .. }))
    })
    .await;
    let text = refused.to_string();
    assert!(text.contains(&path.display().to_string()), "{text}");
    assert!(text.contains("WORKERPOOL_REDIS_PASSWORD_FILE"), "{text}");
    folder.write("password", "old");
    eventually("it goes on", || async { worker.consumer.beat().await.ok() }).await;
}

#[tokio::test]
async fn rotated_password_of_sentinels_is_used_at_next_connection() {
    let mut trio = Sentinels::start_of(&RedisServer::builder().password("old")).unwrap();
    let (mut server, folder) = (trio.server(), Folder::new());
    let sentinel = server.sentinel.as_mut().unwrap();
    sentinel.password = None;
    sentinel.login_files.password = Some(folder.write("password", "old"));
    let worker = Worker::new(&server, &queue(), None, Duration::from_secs(30));
    worker.consumer.beat().await.unwrap();
    for address in trio.addresses() {
        let sentinel = Server {
            password: Some(queue::Secret::new("old")),
            ..Server::new(address)
        };
        Raw::to(&sentinel).ask::<()>(&["ACL", "SETUSER", "default", "resetpass", ">new"]);
    }
    let mut master = Raw::to(&trio.servers()[0].server());
    master.ask::<u64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    eventually("it is refused", || async {
        let refused = worker.consumer.beat().await.err();
        refused.filter(|err| matches!(err, Error::Auth(_)))
    })
    .await;
    folder.write("password", "new");
    eventually("it goes on", || async { worker.consumer.beat().await.ok() }).await;
}

#[tokio::test]
async fn certificates_that_were_renewed_are_shown_and_trusted_at_next_connection() {
    let (old, new, folder) = (
        Certificates::new().unwrap(),
        Certificates::new().unwrap(),
        Folder::new(),
    );
    copy(old.directory(), &folder);
    let redis = RedisServer::builder().tls(&old, true).unwrap().start().unwrap();
    let server = Server {
        tls: Some(Tls {
            files: TlsFiles {
                ca: Some(folder.file("ca.crt")),
                identity: Some(["client.crt", "client.key"].map(|name| folder.file(name))),
            },
            ..Tls::default()
        }),
        ..redis.server()
    };
    let worker = Worker::new(&server, &queue(), None, Duration::from_secs(30));
    worker.consumer.beat().await.unwrap();
    let port = redis.port().to_string();
    drop(redis);
    let _again = RedisServer::builder()
        .tls(&new, true)
        .unwrap()
        .settings(&["--tls-port", &port])
        .start()
        .unwrap();
    let refused = eventually("it is refused", || async {
        let refused = worker.consumer.beat().await.err();
        refused.filter(|err| matches!(err, Error::Tls { .. }))
    });
    refused.await;
    copy(new.directory(), &folder);
    eventually("it goes on", || async { worker.consumer.beat().await.ok() }).await;
}

fn copy(from: &Path, to: &Folder) {
    for name in ["ca.crt", "client.crt", "client.key"] {
        fs::copy(from.join(name), to.0.join(name)).unwrap();
    }
}
