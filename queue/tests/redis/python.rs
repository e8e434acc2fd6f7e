//! Beside the real Python packages `hotqueue` and `redis`, on the same keys.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    time::Duration,
};

use queue::{
    Ending, Finish, JobId, NewJob, Serializer, Status,
    test_server::{self, RedisServer},
};

use crate::common::{Fixture, eventually, pair};

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
    let theirs = theirs.lines().map(|id| JobId::new(id).unwrap());
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

/// A worker that says nothing of its job before it is done, and tells us when it has taken and when it has done it.
const TAKE_IN_SILENCE: &str = r#"
jid = q.get(block=True, timeout=60)
print(jid, flush=True)
sys.stdin.readline()
rd.hset('job.' + jid, 'status', 'complete')
print(jid, flush=True)
"#;

/// A process that is killed when its test ends.
pub(crate) struct Foreign(Child);

impl Foreign {
    fn start(redis: &RedisServer) -> Self {
        Self::running(redis, CONSUME)
    }

    pub(crate) fn taking(redis: &RedisServer) -> Self {
        Self::running(redis, TAKE_IN_SILENCE)
    }

    fn running(redis: &RedisServer, program: &str) -> Self {
        let child = Command::new(test_server::python())
            .args(["-c", &format!("{HEAD}{program}"), &redis.port().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    pub(crate) fn go_on(&mut self) {
        self.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Waits until it prints a line.
    pub(crate) fn says_so(&mut self) {
        let mut byte = [0];
        let out = self.0.stdout.as_mut().unwrap();
        while byte != *b"\n" {
            out.read_exact(&mut byte).unwrap();
        }
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

/// HotQueue with a serializer, in the place of the queue of [`HEAD`].
const SERIALIZED: &str = r#"
import json, pickle
serializer = {'pickle': pickle, 'json': json, 'none': None}[sys.argv[2]]
q = HotQueue('queue', serializer=serializer, host='127.0.0.1', port=port, db=2)
def text(message):
    return message.decode() if isinstance(message, bytes) else message
"#;

const PUT: &str = r#"
for jid in sys.argv[3:]:
    rd.hset('job.' + jid, 'status', 'submitted')
    q.put(jid)
"#;

/// Takes all that waits, and prints it.
const GET_ALL: &str = r#"
while True:
    jid = q.get()
    if jid is None:
        break
    print(text(jid))
"#;

const SERIALIZERS: [Serializer; 3] = [Serializer::Pickle, Serializer::Json, Serializer::None];

/// Ids that differ by serializer: escapes, and what JSON writes as `\uXXXX`.
const IDS: [&str; 4] = ["plain", "it's \"quoted\" \\ / here", "grün 😀", "{1}"];

fn put_by_python(fixture: &Fixture, serializer: Serializer) {
    let arguments = [&[serializer.as_str()], &IDS[..]].concat();
    python(&fixture.redis, &format!("{SERIALIZED}{PUT}"), &arguments);
}

fn taken_by_python(fixture: &Fixture, serializer: Serializer) -> Vec<JobId> {
    let program = format!("{SERIALIZED}{GET_ALL}");
    let printed = python(&fixture.redis, &program, &[serializer.as_str()]);
    printed.lines().map(|id| JobId::new(id).unwrap()).collect()
}

#[tokio::test]
async fn items_of_each_serializer_are_read_whatever_the_setting() {
    for theirs in SERIALIZERS {
        for ours in SERIALIZERS {
            let mut fixture = Fixture::new();
            fixture.queue.serializer = ours;
            put_by_python(&fixture, theirs);
            let claims = fixture.worker().claim(10).await.jobs;
            let got: Vec<_> = claims.iter().map(|claimed| claimed.job.id.as_str()).collect();
            assert_eq!(got, IDS, "{theirs} read by {ours}");
        }
    }
}

#[tokio::test]
async fn items_of_ours_are_read_by_python_with_each_serializer() {
    for serializer in SERIALIZERS {
        let mut fixture = Fixture::new();
        fixture.queue.serializer = serializer;
        let mut submitted = fixture.submit(3).await;
        for id in IDS {
            let new = NewJob {
                id: JobId::new(id).unwrap(),
                ..NewJob::new("a", "b")
            };
            submitted.push(fixture.producer().submit(new).await.unwrap().id);
        }
        assert_eq!(taken_by_python(&fixture, serializer), submitted, "{serializer}");
    }
}

#[tokio::test]
async fn jobs_put_back_are_read_by_python_with_each_serializer() {
    for serializer in SERIALIZERS {
        let mut fixture = Fixture::new();
        fixture.queue.serializer = serializer;
        let worker = fixture.worker();
        let submitted = fixture.submit(4).await;
        let claims = worker.claim(4).await.jobs;
        let held: Vec<_> = claims.iter().map(pair).collect();
        // Retried from the dead, put off, its worker lost, given back: in the order in which they will lie on the list, from
        // its tail.
        let alone = fixture.worker_on(queue::Terms {
            retry: queue::Retry {
                max_attempts: 1,
                ..queue::Retry::default()
            },
            ..queue::Terms::default()
        });
        alone.end(&held[3].0, &held[3].1, crate::common::failed()).await;
        let dead = [submitted[3].to_string()];
        assert_eq!(fixture.producer().retry_dead(&dead).await.unwrap(), 1);
        let later = Ending::Later {
            after: Duration::from_secs(60),
        };
        worker.end(&held[1].0, &held[1].1, later).await;
        fixture.reap(&submitted[2], &worker).await;
        fixture.make_due(&submitted[1..3]);
        assert_eq!(worker.consumer.tick().await.unwrap().promoted, 2);
        assert_eq!(worker.consumer.give_back(&held[..1]).await.unwrap(), 1);
        assert_eq!(taken_by_python(&fixture, serializer), submitted, "{serializer}");
    }
}

#[tokio::test]
async fn jobs_without_records_are_put_back_as_python_reads_them() {
    for serializer in SERIALIZERS {
        let mut fixture = Fixture::new();
        fixture.queue.serializer = serializer;
        let worker = fixture.worker();
        let submitted = fixture.submit(1).await;
        worker.claim(1).await;
        fixture.ask::<()>(&["DEL", "workerpool:queue:records"]);
        fixture.reap(&submitted[0], &worker).await;
        fixture.make_due(&submitted);
        worker.consumer.tick().await.unwrap();
        assert_eq!(taken_by_python(&fixture, serializer), submitted, "{serializer}");
    }
}

#[tokio::test]
async fn waiting_jobs_of_each_serializer_are_found_by_cancel() {
    for serializer in SERIALIZERS {
        let mut fixture = Fixture::new();
        put_by_python(&fixture, serializer);
        for id in IDS {
            let id = JobId::new(id).unwrap();
            let cancel = fixture.producer().cancel(&id).await.unwrap();
            assert_eq!(cancel, queue::Cancel::Cancelled);
        }
        assert_eq!(fixture.waiting(), [], "{serializer}");
    }
}
