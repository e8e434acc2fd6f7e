//! Those who act on the queue, and what they believe.

use proptest::{prelude::TestCaseError, prop_assert};
use queue::{
    Cancel, Consumer, Ending, Identity, JobId, JobOptions, NewJob, Nonce, Observer, Payload, Producer, Queue,
    Terms, Token, item, test_server::RedisServer,
};
use redis::Connection;

mod workers;

use self::workers::{Worker, reports};
use crate::{
    invariants::{self, Known},
    snapshot::{Snapshot, ask, ours, select},
    steps::{JOBS, Shape, Step, WORKERS},
};

type Pair = (JobId, Token);

pub(crate) struct World {
    _redis: RedisServer,
    raw: Connection,
    producer: Producer,
    observer: Observer,
    queue: Queue,
    workers: Vec<Worker>,
    /// What dead workers believed to hold.
    zombies: Vec<Pair>,
    given: Vec<Pair>,
    known: Known,
    /// After the last step.
    last: Snapshot,
}

impl World {
    pub(crate) fn new() -> Self {
        let redis = RedisServer::start().unwrap();
        let (server, queue) = (redis.server(), Queue::new("queue".parse().unwrap()));
        let worker = |n: usize| {
            let identity = Identity {
                nonce: Nonce::fresh(),
                // Two of them are in one pod.
                pod_uid: Some(format!("pod-{}", n / 2)),
                pod_name: None,
                ip: "10.0.0.7".to_owned(),
                host: None,
            };
            Worker {
                consumer: Consumer::new(&server, queue.clone(), identity, Terms::default()).unwrap(),
                held: Vec::new(),
                unanswered: None,
            }
        };
        let address = (server.address.host.as_str(), server.address.port);
        Self {
            raw: redis::Client::open(address).unwrap().get_connection().unwrap(),
            producer: Producer::new(&server, queue.clone()).unwrap(),
            observer: Observer::new(&server).unwrap().0,
            workers: (0..WORKERS).map(worker).collect(),
            queue,
            zombies: Vec::new(),
            given: Vec::new(),
            known: Known::default(),
            last: Snapshot::default(),
            _redis: redis,
        }
    }

    /// An empty server, and nobody believes anything.
    pub(crate) fn begin(&mut self) {
        ask::<()>(&mut self.raw, &["FLUSHALL"]);
        for worker in &mut self.workers {
            worker.held.clear();
            worker.unanswered = None;
        }
        self.zombies.clear();
        self.given.clear();
        self.known = Known::default();
        self.last = Snapshot::default();
    }

    pub(crate) async fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let mut before = std::mem::take(&mut self.last);
        // Whoever mirrors jobs has heard of all that was before.
        self.producer.take_changed(100).await.unwrap();
        before.changed.clear();
        self.carry_out(step, &before).await?;
        let after = Snapshot::take(&mut self.raw);
        self.learn(&after);
        invariants::hold(&self.known, &before, &after, step)?;
        let readings = self.observer.read(std::slice::from_ref(&self.queue)).await;
        let reading = readings[0].as_ref().unwrap();
        let demand = reading.waiting + reading.arrivals + reading.running + reading.delayed;
        invariants::demand_is_not_hidden(&self.known, &after, demand)?;
        self.last = after;
        Ok(())
    }

    async fn carry_out(&mut self, step: &Step, before: &Snapshot) -> Result<(), TestCaseError> {
        match step {
            Step::Submit(job) => self.submit(*job, before).await,
            Step::Push(job, shape) => self.push(*job, *shape, before),
            Step::PushGarbage => self.push_item(b"\x80\x04K\x01."),
            Step::Wake => {
                select(&mut self.raw, 2);
                let (main, arrivals) = ("hotqueue:queue", ours("arrivals"));
                ask::<()>(&mut self.raw, &["LMOVE", main, &arrivals, "LEFT", "RIGHT"]);
            }
            Step::PassOn(worker) => self.workers[*worker].consumer.pass_on().await.unwrap(),
            Step::Claim {
                worker,
                slots,
                answer_lost,
            } => return self.claim(*worker, *slots, *answer_lost).await,
            Step::Renew(worker) => self.renew(*worker).await,
            Step::Report(worker) => {
                let Worker { consumer, held, .. } = &self.workers[*worker];
                consumer.report(&reports(held)).await.unwrap();
            }
            Step::Finish {
                worker,
                which,
                how,
                answer_lost,
            } => {
                let held = &mut self.workers[*worker].held;
                if let Some(which) = which.checked_rem(held.len()) {
                    let pair = if *answer_lost {
                        held[which].clone()
                    } else {
                        held.remove(which)
                    };
                    return self.finish(*worker, pair, how, before).await;
                }
            }
            Step::Turn {
                worker,
                which,
                how,
                slots,
                answer_lost,
            } => {
                return self
                    .turn((*worker, *which), how, *slots, *answer_lost, before)
                    .await;
            }
            Step::GiveBack(worker) => {
                let worker = &mut self.workers[*worker];
                let held = std::mem::take(&mut worker.held);
                worker.consumer.give_back(&held).await.unwrap();
                self.zombies.extend(held);
            }
            Step::Crash(worker) => {
                let worker = &mut self.workers[*worker];
                self.zombies.append(&mut worker.held);
                worker.unanswered = None;
            }
            Step::Zombie { which, says } => return self.zombie(*which, says, before).await,
            Step::Cancel(job) => self.cancel(*job).await,
            Step::CancelDeep(job) => self.cancel_deep(*job, before),
            Step::Retry(job) => {
                if self.producer.retry(&id(*job)).await.unwrap() == queue::Retried::Yes {
                    self.new_generation(&name(*job));
                }
            }
            Step::LeaseEnds(job) => self.set_scores("leases", &[name(*job)], "1"),
            Step::AllIsDue => {
                let all: Vec<_> = before.delayed.iter().cloned().collect();
                self.set_scores("delayed", &all, "1");
            }
            Step::AllIsOld => {
                for (key, members) in [("finished", &before.finished), ("dead", &before.dead)] {
                    let all: Vec<_> = members.iter().cloned().collect();
                    self.set_scores(key, &all, "1");
                }
            }
            Step::Tick => self.tick(1_000).await,
            Step::TickAfterOutage => self.tick(3_600_000).await,
            Step::DeleteHash(job) => {
                self.known.meddled.insert(name(*job));
                select(&mut self.raw, 3);
                ask::<()>(&mut self.raw, &["DEL", &format!("job.{}", name(*job))]);
            }
            Step::Reset(job) => self.reset(*job, before),
            Step::ForeignTake => self.foreign_take(),
            Step::ForeignFinish(job) => {
                let name = name(*job);
                if self.known.foreign.contains(&name) && before.status(&name) == Some("in progress") {
                    self.set_status(&name, "complete");
                }
            }
            Step::ForeignWord(job) => {
                let name = name(*job);
                if self.known.foreign.contains(&name) && before.status(&name) == Some("in progress") {
                    self.set_status(&name, "finished");
                }
            }
            Step::EmptyList => {
                self.known.foreign.extend(before.waiting.iter().cloned());
                select(&mut self.raw, 2);
                ask::<()>(&mut self.raw, &["DEL", "hotqueue:queue"]);
            }
            Step::Sweep { late } => self.sweep(*late).await,
        }
        Ok(())
    }

    async fn sweep(&mut self, late: bool) {
        const AGAIN: &str = "
            redis.call('HDEL', KEYS[1], 'swept')
            for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do redis.call('ZADD', KEYS[2], 0, id) end
            local seen = ARGV[1] == '1' and redis.call('HGETALL', KEYS[3]) or {}
            for i = 1, #seen, 2 do
              local sighting = cmsgpack.unpack(seen[i + 1])
              if sighting.missing then sighting.missing = 1 end
              if sighting.since then sighting.since = 1 end
              redis.call('HSET', KEYS[3], seen[i], cmsgpack.pack(sighting))
            end";
        select(&mut self.raw, 2);
        let keys = ["ticks", "suspects", "sightings"].map(ours);
        let late = if late { "1" } else { "0" };
        ask::<()>(
            &mut self.raw,
            &["EVAL", AGAIN, "3", &keys[0], &keys[1], &keys[2], late],
        );
        self.workers[0].consumer.sweep(false).await.unwrap();
    }

    async fn submit(&mut self, job: usize, before: &Snapshot) {
        let name = name(job);
        let new = NewJob {
            id: id(job),
            payload: payload(&name),
            options: JobOptions {
                watched: is_rich(&name),
                ..JobOptions::default()
            },
            ..NewJob::new("go!", "stop!")
        };
        // A foreign program may have left something under its id.
        if self.producer.submit(new).await.is_ok() && !before.is_job(&name) {
            self.known.acknowledged.insert(name.clone());
            self.new_generation(&name);
        }
    }

    fn push(&mut self, job: usize, shape: Shape, before: &Snapshot) {
        let name = name(job);
        let item = match shape {
            Shape::Ours => item::write(&id(job)),
            Shape::Python2 => format!("S'{name}'\np0\n.").into_bytes(),
            Shape::Bare => name.clone().into_bytes(),
        };
        if before.status(&name).is_none() {
            // An id without a hash: whatever comes of it, it was not ours.
            self.known.meddled.insert(name);
        }
        self.push_item(&item);
    }

    fn push_item(&mut self, item: &[u8]) {
        select(&mut self.raw, 2);
        let mut push = redis::cmd("RPUSH");
        push.arg("hotqueue:queue").arg(item);
        push.query::<()>(&mut self.raw).unwrap();
    }

    async fn cancel(&mut self, job: usize) {
        match self.producer.cancel(&id(job)).await.unwrap() {
            Cancel::Cancelled | Cancel::Requested => {
                self.known.to_cancel.insert(name(job));
            }
            _ => {}
        }
    }

    /// As the cancel script does where it does not find the item.
    fn cancel_deep(&mut self, job: usize, before: &Snapshot) {
        let name = name(job);
        let idle = !before.leases.contains_key(&name) && !before.delayed.contains(&name);
        if before.status(&name) != Some("submitted") || !before.waits(&name) || !idle {
            return;
        }
        self.set_status(&name, "cancelled");
        select(&mut self.raw, 2);
        ask::<()>(&mut self.raw, &["SADD", &ours("cancelled"), &name]);
        ask::<()>(&mut self.raw, &["ZREM", &ours("dead"), &name]);
        ask::<()>(
            &mut self.raw,
            &["ZADD", &ours("finished"), "9000000000000", &name],
        );
        self.known.to_cancel.insert(name);
    }

    fn reset(&mut self, job: usize, before: &Snapshot) {
        let name = name(job);
        if before.status(&name).is_none() {
            return;
        }
        // Whose dead or finished entry goes with the next claim only.
        self.known.meddled.insert(name.clone());
        if before.is_terminal(&name) {
            self.new_generation(&name);
        }
        self.set_status(&name, "submitted");
        self.push_item(&item::write(&id(job)));
    }

    fn foreign_take(&mut self) {
        select(&mut self.raw, 2);
        let item: Option<Vec<u8>> = ask(&mut self.raw, &["LPOP", "hotqueue:queue"]);
        let Some(taken) = item.and_then(|item| item::read(&item)) else {
            return;
        };
        // As the original's worker: it asks nothing, and writes over whatever is there.
        self.known.foreign.insert(taken.to_string());
        self.set_status(taken.as_str(), "in progress");
    }

    async fn tick(&mut self, ago: i64) {
        select(&mut self.raw, 2);
        let time: Vec<i64> = ask(&mut self.raw, &["TIME"]);
        let last = (time[0] * 1_000 + time[1] / 1_000 - ago).to_string();
        let info: String = ask(&mut self.raw, &["INFO", "server"]);
        let run_id = info
            .lines()
            .find_map(|line| line.strip_prefix("run_id:"))
            .unwrap();
        ask::<()>(
            &mut self.raw,
            &["HSET", &ours("ticks"), "last", &last, "run_id", run_id],
        );
        self.workers[0].consumer.tick().await.unwrap();
    }

    fn set_scores(&mut self, key: &str, members: &[String], score: &str) {
        select(&mut self.raw, 2);
        for member in members {
            ask::<()>(&mut self.raw, &["ZADD", &ours(key), "XX", score, member]);
        }
    }

    fn set_status(&mut self, name: &str, status: &str) {
        select(&mut self.raw, 3);
        ask::<()>(&mut self.raw, &["HSET", &format!("job.{name}"), "status", status]);
    }

    fn new_generation(&mut self, name: &str) {
        self.known.completed_by.remove(name);
        self.known.to_cancel.remove(name);
    }

    /// A job that was forgotten in its time is nobody's any more.
    fn learn(&mut self, now: &Snapshot) {
        let gone = |id: &String| !now.hashes.contains_key(id);
        self.known.acknowledged.retain(|id| !gone(id));
        self.known.completed_by.retain(|id, _| !gone(id));
        self.known.to_cancel.retain(|id| !gone(id));
    }

    /// I4: with one worker that works, everything ends in bounded time; and as was promised.
    pub(crate) async fn settle(&mut self) -> Result<(), TestCaseError> {
        for round in 0.. {
            let now = Snapshot::take(&mut self.raw);
            if now.waiting.is_empty() && now.delayed.is_empty() && now.leases.is_empty() {
                break;
            }
            prop_assert!(round < 30, "it does not come to rest: {now:#?}");
            let leased: Vec<_> = now.leases.into_keys().collect();
            self.set_scores("leases", &leased, "1");
            self.tick(1_000).await;
            let delayed: Vec<_> = Snapshot::take(&mut self.raw).delayed.into_iter().collect();
            self.set_scores("delayed", &delayed, "1");
            self.tick(1_000).await;
            self.workers[0].unanswered = None;
            self.claim(0, 100, false).await?;
            let before = Snapshot::take(&mut self.raw);
            for pair in std::mem::take(&mut self.workers[0].held) {
                self.finish(0, pair, &Ending::Complete { result: None }, &before)
                    .await?;
            }
        }
        let now = Snapshot::take(&mut self.raw);
        self.learn(&now);
        for id in &self.known.acknowledged {
            prop_assert!(
                now.is_terminal(id) || self.known.foreign.contains(id) || self.known.meddled.contains(id),
                "{id} has not ended: {now:#?}"
            );
        }
        for id in self.known.to_cancel.difference(&self.known.foreign) {
            prop_assert!(
                matches!(now.status(id), Some("cancelled" | "complete")),
                "{id} was to be cancelled and is {:?}",
                now.status(id)
            );
        }
        self.all_is_forgotten().await
    }

    /// What has ended leaves nothing in the end.
    async fn all_is_forgotten(&mut self) -> Result<(), TestCaseError> {
        let all: Vec<_> = (0..JOBS).map(name).collect();
        for key in ["finished", "dead"] {
            self.set_scores(key, &all, "1");
        }
        self.tick(1_000).await;
        let now = Snapshot::take(&mut self.raw);
        for id in all {
            if self.known.foreign.contains(&id) || self.known.meddled.contains(&id) {
                continue;
            }
            let kept = now.records.contains_key(&id)
                || now.payloads.contains_key(&id)
                || now.results.contains_key(&id)
                || now.long_results.contains(&id);
            prop_assert!(!kept, "something of {id} is left: {now:#?}");
        }
        Ok(())
    }
}

/// Half of the jobs have a payload, and are watched.
fn is_rich(name: &str) -> bool {
    (JOBS / 2..JOBS).any(|job| name == self::name(job))
}

fn payload(name: &str) -> Option<Payload> {
    is_rich(name).then(|| Payload::new(format!("\"{name}\"")).unwrap())
}

fn name(job: usize) -> String {
    format!("job-{job}")
}

fn id(job: usize) -> JobId {
    JobId::new(name(job)).unwrap()
}
