//! Does to a run what its schedule says.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rustix::process::Signal;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    faults::{Fault, Schedule, Way},
    meddle,
    network::Drop,
    proxy::Proxy,
    redis_server::Redis,
    stage::{Stage, pod, worker_address},
};

/// How often each kind of fault has struck.
pub(crate) type Struck = BTreeMap<&'static str, u32>;

/// Strikes until `stop` is cancelled; then everything goes on undisturbed again.
pub(crate) async fn all(
    stage: &Stage,
    schedule: Schedule,
    stop: &CancellationToken,
) -> anyhow::Result<Struck> {
    let begun = Instant::now();
    let mut struck = Struck::new();
    // What ends by itself after a time: it must not hold up the next blow.
    let mut lasting = JoinSet::new();
    for (at, fault) in schedule {
        if stop.run_until_cancelled(sleep_until(begun + at)).await.is_none() {
            break;
        }
        tracing::info!(at_ms = at.as_millis(), ?fault, "strike");
        *struck.entry(fault.name()).or_default() += 1;
        strike(stage, fault, &mut lasting);
        while let Some(ended) = lasting.try_join_next() {
            ended??;
        }
    }
    stop.cancelled().await;
    while let Some(ended) = lasting.join_next().await {
        ended??;
    }
    Ok(struck)
}

fn strike(stage: &Stage, fault: Fault, lasting: &mut JoinSet<anyhow::Result<()>>) {
    match fault {
        Fault::Kill(worker) => stage.workers[worker].target().signal(Signal::KILL),
        Fault::KillAll => stage
            .workers
            .iter()
            .for_each(|worker| worker.target().signal(Signal::KILL)),
        Fault::Terminate(workers) => {
            workers
                .into_iter()
                .for_each(|worker| stage.workers[worker].target().signal(Signal::TERM));
        }
        Fault::Freeze(worker, time) => {
            let worker = stage.workers[worker].target();
            lasting.spawn(async move {
                worker.signal(Signal::STOP);
                sleep(time).await;
                worker.signal(Signal::CONT);
                Ok(())
            });
        }
        Fault::KillApi => stage.api.target().signal(Signal::KILL),
        Fault::KillRedis(pause) => on_redis(stage, lasting, move |redis| redis.kill(pause)),
        Fault::CutPower(pause) => on_redis(stage, lasting, move |redis| redis.cut_power(pause)),
        Fault::RestartRedis(pause) => on_redis(stage, lasting, move |redis| redis.restart(pause)),
        Fault::FreezeRedis(time) => on_redis(stage, lasting, move |redis| redis.freeze(time)),
        Fault::Partition(worker, way, time) => drop_packets(stage, lasting, worker, way, 100, time),
        Fault::Loss(worker, percent, time) => drop_packets(stage, lasting, worker, Way::Both, percent, time),
        Fault::Latency(worker, delay, time) => {
            let Some(slow) = stage.proxies.get(&worker).map(Proxy::delay) else {
                return;
            };
            lasting.spawn(async move {
                slow.set(delay);
                sleep(time).await;
                slow.set(Duration::ZERO);
                Ok(())
            });
        }
        Fault::KillPython(program) => {
            if let Some(program) = stage.python.get(program) {
                program.target().signal(Signal::KILL);
            }
        }
        Fault::PushAgain => {
            lasting.spawn(meddle::push_again(stage.redis.port()));
        }
        Fault::TakeAway(number) => {
            let worker = &stage.workers[number];
            let pod = pod(number, worker.starts());
            lasting.spawn(meddle::take_away(stage.redis.port(), pod, worker.target()));
        }
    }
}

/// Ends when Redis is up again.
fn on_redis(
    stage: &Stage,
    lasting: &mut JoinSet<anyhow::Result<()>>,
    blow: impl FnOnce(&Redis) -> anyhow::Result<()> + Send + 'static,
) {
    let redis = Arc::clone(&stage.redis);
    lasting.spawn_blocking(move || blow(&redis));
}

fn drop_packets(
    stage: &Stage,
    lasting: &mut JoinSet<anyhow::Result<()>>,
    worker: usize,
    way: Way,
    percent: u8,
    time: Duration,
) {
    let drop = Drop {
        address: worker_address(worker),
        port: stage.redis.port(),
        way,
        percent,
    };
    lasting.spawn(async move {
        drop.begin().await?;
        sleep(time).await;
        drop.end().await
    });
}

/// Notes where Redis' log ends, for ever.
pub(crate) async fn note_ends(redis: Arc<Redis>) -> anyhow::Result<()> {
    loop {
        redis.note_end()?;
        sleep(Duration::from_millis(20)).await;
    }
}
