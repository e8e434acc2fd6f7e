//! The watch, and what tests ask of a server.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt};
use operator::{
    PoolRef,
    leader::Leadership,
    queues::{Queues, Source, View},
};
use queue::{NewJob, Producer, Queue, Subject, test_server::RedisServer};

pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) struct Watch {
    pub(crate) queues: Queues,
    wakes: Pin<Box<dyn Stream<Item = PoolRef> + Send>>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        let (queues, wakes) = Queues::new(Leadership::permanent(1));
        Self {
            queues,
            wakes: wakes.boxed(),
        }
    }

    pub(crate) fn follow(&self, pool: &str, redis: &RedisServer) {
        let source = Source {
            server: redis.server(),
            queues: vec![queue(pool).into()],
            chores: None,
            foreign: None,
        };
        self.queues.follow(&pool_ref(pool), &source);
    }

    pub(crate) fn follow_all(&self, pool: &str, redis: &RedisServer, queues: &[Subject]) {
        let source = Source {
            server: redis.server(),
            queues: queues.to_vec(),
            chores: None,
            foreign: None,
        };
        self.queues.follow(&pool_ref(pool), &source);
    }

    /// Waits until the pool is woken with a view that fits.
    pub(crate) async fn until(&mut self, pool: &str, fits: impl Fn(&View) -> bool) -> View {
        self.until_within(DEADLINE, pool, fits).await
    }

    /// The same where it may take longer.
    pub(crate) async fn until_within(
        &mut self,
        deadline: Duration,
        pool: &str,
        fits: impl Fn(&View) -> bool,
    ) -> View {
        let pool = pool_ref(pool);
        let found = async {
            loop {
                let view = self.queues.view(&pool);
                if fits(&view) {
                    return view;
                }
                while self.wakes.next().await.as_ref() != Some(&pool) {}
            }
        };
        tokio::time::timeout(deadline, found)
            .await
            .expect("the pool is woken in time")
    }
}

pub(crate) fn pool_ref(name: &str) -> PoolRef {
    PoolRef::new(name).within("default")
}

pub(crate) fn queue(name: &str) -> Queue {
    Queue::new(name.parse().unwrap())
}

pub(crate) fn waiting(view: &View, count: u64) -> bool {
    view.reading
        .as_ref()
        .is_some_and(|reading| reading.waiting == count)
}

pub(crate) async fn submit(redis: &RedisServer, name: &str) {
    let producer = Producer::new(&redis.server(), queue(name)).unwrap();
    producer.submit(NewJob::new("a", "b")).await.unwrap();
}

pub(crate) async fn command<T: redis::FromRedisValue>(redis: &RedisServer, words: &[&str]) -> T {
    let client = redis::Client::open(("127.0.0.1", redis.port())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    command.query_async(&mut connection).await.unwrap()
}
