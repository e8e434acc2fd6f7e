//! RQ, Celery and BullMQ themselves, over the keys that docs/sources.md names: what waits and what runs is seen, and told.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use operator::queues::View;
use queue::{
    ForeignKey, ForeignQueue, KeyKind,
    test_server::{RedisServer, cache, node, python},
};

use super::watch::{Watch, command};

/// Interpreters take seconds to start on a busy machine.
const IN_TIME: Duration = Duration::from_secs(60);

/// One system with its queue `mails`, and a pool that follows it.
struct System {
    program: &'static str,
    redis: RedisServer,
    watch: Watch,
    /// Ended with this.
    workers: Vec<Running>,
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may be gone already. What it started ends with its Redis.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

type Keys<'a> = &'a [(KeyKind, &'a str)];

impl System {
    async fn new(program: &'static str, waiting: Keys<'_>, running: Keys<'_>) -> Self {
        let redis = RedisServer::start().unwrap();
        let mut watch = Watch::new();
        let keys = |keys: Keys<'_>| keys.iter().map(|&(kind, name)| key(kind, name)).collect();
        let queue = ForeignQueue {
            db: 0,
            waiting: keys(waiting),
            running: keys(running),
        };
        watch.follow_all("pool", &redis, &[queue.into()]);
        watch.until("pool", |view| depth(view) == Some((0, 0))).await;
        Self {
            program,
            redis,
            watch,
            workers: Vec::new(),
        }
    }

    fn command(&self, what: &str) -> Command {
        let interpreter = if self.program.ends_with(".js") {
            node()
        } else {
            python()
        };
        assert!(
            interpreter.exists(),
            "no {}: run dev/install",
            interpreter.display()
        );
        let mut command = Command::new(interpreter);
        command
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/queues/systems"))
            .env("NODE_PATH", cache().join("node/node_modules"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .args([self.program, what, &self.redis.port().to_string()])
            .stdin(Stdio::null());
        command
    }

    fn put(&self) {
        let output = self.command("put").output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn work(&mut self) {
        let mut worker = self.command("work");
        let worker = worker.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.workers.push(Running(worker.unwrap()));
    }

    /// Lets one job end.
    async fn go_on(&self) {
        let _: redis::Value = command(&self.redis, &["RPUSH", "go on", "1"]).await;
    }

    /// Waits until so many wait and run, as Redis tells and no poll finds.
    async fn told(&mut self, waiting: u64, running: u64) {
        let is_so = |view: &View| depth(view) == Some((waiting, running));
        let view = self.watch.until_within(IN_TIME, "pool", is_so).await;
        assert!(view.changed_at.is_some(), "told, and not polled");
        assert!(view.reading.unwrap().tracked);
    }
}

/// What waits, and what runs.
fn depth(view: &View) -> Option<(u64, u64)> {
    let reading = view.reading.as_ref()?;
    Some((reading.waiting, reading.running))
}

fn key(kind: KeyKind, name: &str) -> ForeignKey {
    ForeignKey {
        name: name.to_owned(),
        kind,
        group: None,
    }
}

/// One job runs, the next waits, and both end.
async fn one_after_the_other(mut system: System) {
    system.put();
    system.told(1, 0).await;
    system.work();
    system.told(0, 1).await;
    system.put();
    system.told(1, 1).await;
    system.go_on().await;
    system.told(0, 1).await;
    system.go_on().await;
    system.told(0, 0).await;
}

#[tokio::test]
async fn rq_waits_in_its_list_and_runs_in_its_sorted_set() {
    let running = [(KeyKind::SortedSet, "rq:wip:mails")];
    let rq = System::new("rq_mails.py", &[(KeyKind::List, "rq:queue:mails")], &running);
    one_after_the_other(rq.await).await;
}

#[tokio::test]
async fn celery_waits_in_its_list_and_runs_in_the_hash_of_what_is_not_acknowledged() {
    let running = [(KeyKind::Hash, "unacked")];
    let celery = System::new("celery_mails.py", &[(KeyKind::List, "mails")], &running);
    one_after_the_other(celery.await).await;
}

#[tokio::test]
async fn bullmq_waits_in_its_list_and_by_priority_and_runs_in_its_list() {
    let waiting = [
        (KeyKind::List, "bull:mails:wait"),
        (KeyKind::SortedSet, "bull:mails:prioritized"),
    ];
    let running = [(KeyKind::List, "bull:mails:active")];
    let mut bullmq = System::new("bullmq_mails.js", &waiting, &running).await;
    bullmq.put();
    bullmq.told(2, 0).await;
    bullmq.work();
    bullmq.told(1, 1).await;
    bullmq.go_on().await;
    bullmq.told(0, 1).await;
    bullmq.go_on().await;
    bullmq.told(0, 0).await;
}
