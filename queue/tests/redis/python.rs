//! Beside the real Python packages `hotqueue` and `redis`, on the same keys.

use std::{
    io::Write,
    process::{Child, Command, Stdio},
    time::Duration,
};

use queue::{
    Finish, NewJob, Status,
    test_server::{self, RedisServer},
};

use crate::common::{Fixture, eventually};

/// Runs a program and answers what it printed.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let python = test_server::python();
    assert!(python.exists(), "no {}: run dev/install", python.display());
    let mut child = Command::new(python)
        .args(["-c", program])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}");
    output.stdout
}

pub(crate) fn dumps(text: &str, protocol: u8) -> Vec<u8> {
    let program = "import pickle, sys; sys.stdout.buffer.write(pickle.dumps(sys.stdin.buffer.read().decode(), int(sys.argv[1])))";
    run(program, &[&protocol.to_string()], text.as_bytes())
}

pub(crate) fn loads(item: &[u8]) -> String {
    let program =
        "import pickle, sys; sys.stdout.buffer.write(pickle.loads(sys.stdin.buffer.read()).encode())";
    String::from_utf8(run(program, &[], item)).unwrap()
}

/// What the original's programs have at their top.
pub(crate) const HEAD: &str = r#"
import sys, uuid
import redis
from hotqueue import HotQueue
port = int(sys.argv[1])
rd = redis.StrictRedis(host='127.0.0.1', port=port, db=3)
q = HotQueue('queue', host='127.0.0.1', port=port, db=2)
"#;

fn python(redis: &RedisServer, program: &str, arguments: &[&str]) -> String {
    let port = redis.port().to_string();
    let arguments: Vec<_> = std::iter::once(port.as_str())
        .chain(arguments.iter().copied())
        .collect();
    String::from_utf8(run(&format!("{HEAD}{program}"), &arguments, b"")).unwrap()
}

/// As the original's API puts jobs in.
const PRODUCE: &str = r#"
for i in range(int(sys.argv[2])):
    jid = str(uuid.uuid4())
    rd.hmset('job.' + jid, {'id': jid, 'status': 'submitted', 'start': str(i), 'end': 'python'})
    q.put(jid)
    print(jid)
"#;

/// As the original's worker takes them, but ends after so many.
const WORK: &str = r#"
for i in range(int(sys.argv[2])):
    jid = q.get(block=True, timeout=10)
    assert jid is not None, 'nothing to do'
    rd.hset('job.' + jid, 'status', 'in progress')
    rd.hset('job.' + jid, 'worker', 'python')
    rd.hset('job.' + jid, 'status', 'complete')
    print(jid)
"#;

#[tokio::test]
async fn jobs_of_a_python_producer_are_done_by_our_worker() {
    let mut fixture = Fixture::new();
    let put = python(&fixture.redis, PRODUCE, &["5"]);
    let worker = fixture.worker();
    let claims = worker.claim(10).await;
    let got: Vec<_> = claims
        .jobs
        .iter()
        .map(|claimed| claimed.job.id.as_str())
        .collect();
    assert_eq!(got, put.lines().collect::<Vec<_>>());
    for claimed in &claims.jobs {
        assert_eq!(claimed.job.end, "python");
        let finish = worker.complete(&claimed.job.id, &claimed.token).await;
        assert_eq!(finish, Finish::Finished);
        let fields: Vec<_> = fixture
            .hash(&claimed.job.id)
            .into_iter()
            .map(|(field, _)| field)
            .collect();
        assert_eq!(fields, ["end", "id", "start", "status", "worker"]);
    }
}

#[tokio::test]
async fn jobs_of_our_producer_are_done_by_a_python_worker() {
    let fixture = Fixture::new();
    let submitted = fixture.submit(5).await;
    let done = python(&fixture.redis, WORK, &["5"]);
    assert_eq!(
        done.lines().collect::<Vec<_>>(),
        submitted.iter().map(|id| id.as_str()).collect::<Vec<_>>()
    );
    for id in &submitted {
        let job = fixture.producer().get(id).await.unwrap().unwrap();
        assert_eq!(
            (job.status, job.worker.as_deref()),
            (Status::Complete, Some("python"))
        );
    }
}

#[tokio::test]
async fn a_python_worker_and_ours_share_the_work_of_both_producers() {
    let fixture = Fixture::new();
    let ours = fixture.submit(20).await;
    let theirs = python(&fixture.redis, PRODUCE, &["20"]);
    let port = fixture.redis.port().to_string();
    let foreign = std::thread::spawn(move || run(&format!("{HEAD}{WORK}"), &[&port, "15"], b""));
    let worker = fixture.worker();
    let mut done = 0;
    // Some of them one by one, so that both take turns.
    while done < 25 {
        worker.consumer.wake(Duration::from_millis(100)).await.unwrap();
        for claimed in worker.claim(1).await.jobs {
            worker.complete(&claimed.job.id, &claimed.token).await;
            done += 1;
        }
    }
    foreign.join().unwrap();
    let producer = fixture.producer();
    let theirs = theirs.lines().map(|id| queue::JobId::new(id).unwrap());
    for id in ours.into_iter().chain(theirs) {
        assert_eq!(producer.get(&id).await.unwrap().unwrap().status, Status::Complete);
    }
    let reading = fixture.reading().await;
    assert_eq!(
        (reading.ready(), reading.running, reading.dead, reading.completed),
        (0, 0, 0, 25)
    );
}

#[tokio::test]
async fn a_python_worker_gets_what_a_dead_worker_of_ours_left_in_arrivals() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker();
    worker.consumer.tick().await.unwrap();
    let id = fixture.submit(1).await.remove(0);
    worker.consumer.wake(Duration::from_secs(1)).await.unwrap();
    // It dies here. Another ticks (the operator, say) but has no free slot.
    let port = fixture.redis.port().to_string();
    let foreign = std::thread::spawn(move || run(&format!("{HEAD}{WORK}"), &[&port, "1"], b""));
    let other = fixture.worker();
    eventually("it comes back to the list", || async {
        (other.consumer.tick().await.unwrap().returned == 1).then_some(())
    })
    .await;
    foreign.join().unwrap();
    assert_eq!(fixture.status(&id).as_deref(), Some("complete"));
}

#[tokio::test]
async fn what_a_user_reads_with_redis_py_is_what_the_original_wrote() {
    let fixture = Fixture::new();
    let job = fixture
        .producer()
        .submit(NewJob::new("go!", "stop!"))
        .await
        .unwrap();
    let worker = fixture.worker();
    let claimed = worker.claim_one().await;
    worker.complete(&claimed.job.id, &claimed.token).await;
    let seen = python(
        &fixture.redis,
        "for key in rd.keys():\n    print(key.decode(), sorted((k.decode(), v.decode()) for k, v in rd.hgetall(key).items()))\n",
        &[],
    );
    let id = job.id;
    let expected = format!(
        "job.{id} [('end', 'stop!'), ('id', '{id}'), ('start', 'go!'), ('status', 'complete'), ('worker', '10.0.0.7')]\n"
    );
    assert_eq!(seen, expected);
}

/// As the original's worker: takes a job, and works on it until it is told to go on.
const CONSUME: &str = r#"
for jid in q.consume():
    rd.hset('job.' + jid, 'status', 'in progress')
    sys.stdin.readline()
    rd.hset('job.' + jid, 'status', 'complete')
"#;

/// A process that is killed when its test ends.
struct Foreign(Child);

impl Foreign {
    fn start(redis: &RedisServer) -> Self {
        let child = Command::new(test_server::python())
            .args(["-c", &format!("{HEAD}{CONSUME}"), &redis.port().to_string()])
            .stdin(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    fn go_on(&mut self) {
        self.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn python_worker_that_works_is_told_from_one_that_waits() {
    let mut fixture = Fixture::new();
    let (drainer, queue) = (fixture.drainer(), fixture.queue.clone());
    let (drainer, queue) = (&drainer, &queue);
    // (busy, waiting)
    let seen = |what: &'static str, expected: (usize, usize)| {
        eventually(what, move || async move {
            let workers = drainer.foreign_workers(queue).await.unwrap().unwrap();
            ((workers.busy.len(), workers.waiting.len()) == expected).then_some(())
        })
    };
    let mut worker = Foreign::start(&fixture.redis);
    seen("it waits for a job", (0, 1)).await;
    for _ in 0..2 {
        let id = fixture.submit(1).await.remove(0);
        seen("it works", (1, 0)).await;
        worker.go_on();
        seen("it waits for the next", (0, 1)).await;
        assert_eq!(fixture.status(&id).as_deref(), Some("complete"));
    }
    // Several at one address: one of them works.
    let _another = Foreign::start(&fixture.redis);
    fixture.submit(1).await;
    seen("one of two works", (1, 0)).await;
    drop(worker);
}

#[tokio::test]
async fn python_worker_that_waits_ends_when_it_is_dismissed_and_one_that_works_does_not() {
    let mut fixture = Fixture::new();
    let (drainer, queue) = (fixture.drainer(), fixture.queue.clone());
    let (drainer, queue) = (&drainer, &queue);
    let waits = || {
        eventually("it waits for a job", move || async move {
            let workers = drainer.foreign_workers(queue).await.unwrap().unwrap();
            workers.waiting.into_values().next()
        })
    };
    let mut worker = Foreign::start(&fixture.redis);
    let connections = waits().await;
    let id = fixture.submit(1).await.remove(0);
    eventually("it works", || async {
        let workers = drainer.foreign_workers(queue).await.unwrap().unwrap();
        (!workers.busy.is_empty()).then_some(())
    })
    .await;
    assert_eq!(drainer.dismiss(&connections).await.unwrap(), Some(0));
    worker.go_on();
    let connections = waits().await;
    assert_eq!(fixture.status(&id).as_deref(), Some("complete"));

    assert_eq!(drainer.dismiss(&connections).await.unwrap(), Some(1));
    eventually("it ends", || {
        let ended = worker.0.try_wait().unwrap();
        async move { ended }
    })
    .await;
}
