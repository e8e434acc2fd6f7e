//! apalis on Redis, through its factory, whose workers can be woken by pushes. (Not by those of 1.0.0: `push` gives each job
//! a time, and the script announces only jobs without one. An idle worker looks with its heartbeat, every 30 s.) With
//! `concurrency` and `parallelize`, without which it runs one job at a time.

use std::ops::Range;
use std::sync::LazyLock;

use apalis::prelude::*;
use apalis_redis::factory::RedisStorageFactory;
use apalis_redis::{Client, Config, RedisStorage};
use peers::marks::Marker;
use peers::produce::{self, Put};

/// How many jobs are fetched at once: the best of what was tried (the default is 10).
const BATCH: usize = 100;

static MARKER: LazyLock<std::io::Result<Marker>> = LazyLock::new(Marker::from_env);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (mode, amount) = produce::arguments()?;
    let url = format!("redis://127.0.0.1:{}", produce::redis_port()?);
    let mut config = Config::default().queue("jobs");
    if std::env::var_os("TUNED").is_some() {
        config = config.batch_size(BATCH);
    }
    if mode != "work" {
        let storage = RedisStorage::new(apalis_redis::connect(url).await?).with_config(config);
        return produce::run(&mode, amount, &mut Storage(storage)).await;
    }
    let mut factory = RedisStorageFactory::new(Client::open(format!("{url}?protocol=resp3"))?).await?;
    let storage = BackendFactory::<u32>::create_with_config(&mut factory, config)?;
    // A name that was used before is refused for five minutes.
    let name = format!("worker-{}", std::time::UNIX_EPOCH.elapsed()?.as_nanos());
    WorkerBuilder::new(name)
        .backend(storage)
        .concurrency(usize::try_from(amount)?)
        .parallelize(tokio::spawn)
        .build(job)
        .run()
        .await?;
    Ok(())
}

async fn job(number: u32) -> Result<(), BoxDynError> {
    let marker = MARKER.as_ref().map_err(ToString::to_string)?;
    Ok(marker.job(number).await?)
}

struct Storage(RedisStorage<u32>);

impl Put for Storage {
    async fn put(&mut self, number: u32) -> anyhow::Result<()> {
        Ok(self.0.push(number).await?)
    }

    async fn put_many(&mut self, numbers: Range<u32>) -> anyhow::Result<()> {
        Ok(self.0.push_bulk(numbers.collect()).await?)
    }
}
