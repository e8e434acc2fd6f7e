use std::time::Duration;

use redis::{Cmd, Value};

use super::{Script, Step, beat::alive, claim::millis, script};
use crate::{Result, reply};

script!(
    GUARD = "prelude.lua",
    "types.lua",
    "order.lua",
    "guarding.lua",
    "guard.lua"
);

/// The next part of what a tick began to do after an outage: see `guard.lua`. Answers whether there is more.
pub(crate) struct Guard {
    pub(crate) lease: Duration,
}

impl Step for Guard {
    type Answer = bool;

    fn script(&self) -> &'static Script {
        &GUARD
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(millis(self.lease)).arg(millis(alive(self.lease)));
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        reply::flag(&answer)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{
        AnswerLimit, Ended, Ending, Identity, JobId, NewJob, Nonce, Queue, Retry, Serializer, Tick, Token,
        connect::Link,
        keys::Keys,
        scripts::{Claim, FinishJobs, Submit, TickQueue},
        test_server::RedisServer,
    };

    const LEASE: Duration = Duration::from_secs(30);
    const TICKS: &str = "workerpool:queue:ticks";
    const DELAYED: &str = "workerpool:queue:delayed";
    const LEASES: &str = "workerpool:queue:leases";
    const MINUTE: i64 = 60_000;

    /// A queue whose scripts are called one by one.
    struct Bed {
        _redis: RedisServer,
        raw: redis::Connection,
        link: Link,
        keys: Keys,
    }

    impl Bed {
        fn new() -> Self {
            let redis = RedisServer::start().unwrap();
            let queue = Queue::new("queue".parse().unwrap());
            let client = redis::Client::open(format!("redis://{}/2", redis.server().address)).unwrap();
            Self {
                raw: client.get_connection().unwrap(),
                link: Link::new(&redis.server(), 2, AnswerLimit::WORK).unwrap(),
                keys: Keys::new(&queue),
                _redis: redis,
            }
        }

        fn ask<T: redis::FromRedisValue>(&mut self, command: &[&str]) -> T {
            redis::cmd(command[0])
                .arg(&command[1..])
                .query(&mut self.raw)
                .unwrap()
        }

        fn now(&mut self) -> i64 {
            let time: Vec<i64> = self.ask(&["TIME"]);
            time[0] * 1_000 + time[1] / 1_000
        }

        /// A tick, as if the last one had been so many ms ago (negative: in the future).
        async fn tick(&mut self, ago: i64) -> (Tick, bool) {
            let last = (self.now() - ago).to_string();
            self.ask::<()>(&["HSET", TICKS, "last", &last]);
            let tick = TickQueue {
                lease: LEASE,
                retry: Retry::default(),
            };
            self.link.run(&self.keys, &tick).await.unwrap()
        }

        async fn guard(&self) -> bool {
            self.link.run(&self.keys, &Guard { lease: LEASE }).await.unwrap()
        }

        fn fill(&mut self, key: &str, scores: &[i64]) {
            let mut add = redis::cmd("ZADD");
            add.arg(key);
            for (i, score) in scores.iter().enumerate() {
                add.arg(score).arg(format!("{key}-{i:05}"));
            }
            add.query::<()>(&mut self.raw).unwrap();
        }

        fn scores(&mut self, key: &str) -> HashMap<String, i64> {
            self.ask(&["ZRANGE", key, "0", "-1", "WITHSCORES"])
        }

        /// A job that is put off by so many ms, just now.
        async fn put_off(&self, ms: u64) -> JobId {
            let (worker, claim) = (Nonce::fresh(), Nonce::fresh());
            let job = NewJob::new("a", "b");
            let submit = Submit {
                jobs: std::slice::from_ref(&job),
                serializer: Serializer::default(),
            };
            self.link.run(&self.keys, &submit).await.unwrap();
            let identity = Identity {
                nonce: worker.clone(),
                pod_uid: None,
                pod_name: None,
                ip: String::new(),
                host: None,
            };
            let claims = Claim {
                worker: &identity,
                nonce: &claim,
                slots: 1,
                lease: LEASE,
            };
            self.link.run(&self.keys, &claims).await.unwrap();
            let ended = [Ended {
                id: job.id.clone(),
                token: Token::of(&worker, &claim),
                how: Ending::Later {
                    after: Duration::from_millis(ms),
                },
            }];
            let finish = FinishJobs {
                ended: &ended,
                retry: Retry::default(),
            };
            self.link.run(&self.keys, &finish).await.unwrap();
            job.id
        }

        fn step(&mut self, field: &str) -> i64 {
            self.ask::<Option<i64>>(&["HGET", TICKS, field]).unwrap_or(0)
        }
    }

    #[tokio::test]
    async fn delayed_jobs_keep_their_time_when_clock_steps_again_midway() {
        let mut bed = Bed::new();
        bed.tick(0).await;
        let start = bed.now() + 60 * MINUTE;
        // Thousands of one moment, more than one part takes; the rest of many.
        let scores: Vec<_> = (0..9_000)
            .map(|i| start + 10 * (i - 3_000).clamp(0, 3_000))
            .collect();
        bed.fill(DELAYED, &scores);

        assert!(bed.tick(-MINUTE).await.1);
        let first = bed.step("step");
        assert!((first - MINUTE).abs() < 5_000, "{first}");
        let before = bed.now();
        let soon = bed.put_off(1_000_000).await;
        let late = bed.put_off(90 * MINUTE as u64).await;
        assert!(bed.guard().await);
        assert!(
            bed.tick(-10 * MINUTE).await.1,
            "put back again in the midst of it"
        );
        let second = bed.step("step_next");
        assert!((second - 10 * MINUTE).abs() < 5_000, "{second}");
        let later = bed.put_off(120 * MINUTE as u64).await;
        let mut parts = 0;
        while bed.guard().await {
            parts += 1;
            assert!(parts < 20, "it does not come to an end");
        }
        let after = bed.now();

        let found = bed.scores(DELAYED);
        assert_eq!(found.len(), scores.len() + 3);
        for (i, score) in scores.iter().enumerate() {
            let moved = found[&format!("{DELAYED}-{i:05}")];
            assert_eq!(moved, score - first - second, "{i}");
        }
        // In the time of when they were put off; the second step is what came after.
        for (id, wait, steps) in [
            (soon, 1_000_000, second),
            (late, 90 * MINUTE, second),
            (later, 120 * MINUTE, 0),
        ] {
            let due = found[id.as_str()] + steps - wait;
            assert!((before..=after).contains(&due), "{} ms off", due - before);
        }
        assert_eq!((bed.step("step"), bed.step("step_next")), (0, 0));
    }

    #[tokio::test]
    async fn nothing_is_reaped_before_every_lease_had_its_time() {
        let mut bed = Bed::new();
        bed.tick(0).await;
        bed.fill(LEASES, &(1..=5_000).collect::<Vec<_>>());
        bed.fill("workerpool:queue:beats", &(1..=3_000).collect::<Vec<_>>());
        let (tick, more) = bed.tick(60 * MINUTE).await;
        assert!((tick.guarded, more) == (true, true));
        // Whoever began is gone; others tick, and an outage comes on top.
        let (tick, more) = bed.tick(1_000).await;
        assert_eq!(
            (tick.reaped, tick.expired_workers, tick.guarded, more),
            (0, 0, false, true)
        );
        // Also those without a hash, which are let go without being counted.
        assert_eq!(bed.scores(LEASES).len(), 5_000);
        let (tick, more) = bed.tick(60 * MINUTE).await;
        assert_eq!((tick.reaped, tick.guarded, more), (0, true, true));
        let mut parts = 0;
        while bed.guard().await {
            parts += 1;
            assert!(parts < 10, "it does not come to an end");
        }
        let now = bed.now();
        for key in [LEASES, "workerpool:queue:beats"] {
            let ends = bed.scores(key);
            assert!(ends.values().all(|end| *end > now + 20_000), "{key}");
        }
        let (tick, more) = bed.tick(1_000).await;
        assert_eq!((tick.reaped, tick.expired_workers, more), (0, 0, false));
    }

    #[tokio::test]
    async fn leases_of_a_time_to_come_are_pulled_back() {
        let mut bed = Bed::new();
        bed.tick(0).await;
        let far = bed.now() + 600 * MINUTE;
        bed.fill(LEASES, &(0..5_000).map(|i| far + i).collect::<Vec<_>>());
        assert!(bed.tick(-600 * MINUTE).await.1);
        let mut parts = 0;
        while bed.guard().await {
            parts += 1;
            assert!(parts < 10, "it does not come to an end");
        }
        let now = bed.now();
        assert!(bed.scores(LEASES).values().all(|end| *end < now + 40_000));
    }
}
