//! Whether a hundred broken objects delay the healthy ones.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use kube::api::PostParams;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::reaction::time;
use super::stage::{NODE, Stage};
use super::system::{JOBS_PER_REPLICA, Settings, System};
use crate::stats::Spread;

/// Broken objects, a third of each kind.
const BROKEN: usize = 100;
/// Of the pods' network, and no pod's: what is sent there is never answered.
const DEAD: &str = "10.244.0.254:6379";
/// How long a slow Redis takes for each answer.
const SLOW: Duration = Duration::from_secs(10);
const HEALTHY: usize = 10;
const READY_DEADLINE: Duration = Duration::from_secs(120);
/// So that all of them have failed some times.
const SETTLE: Duration = Duration::from_secs(45);
const DEADLINE: Duration = Duration::from_secs(60);
const BETWEEN: Duration = Duration::from_millis(100);

/// Prints the reaction of healthy objects without and with the broken ones.
pub(super) async fn measure(
    stage: &Stage,
    systems: &[System],
    samples: usize,
    few: usize,
) -> anyhow::Result<()> {
    println!("| 0 → 1 of {HEALTHY} healthy objects | | min | p50 | p99 | max | n |");
    println!("|---|---|---|---|---|---|---|");
    let names: Vec<String> = (0..HEALTHY).map(|n| format!("healthy-{n}")).collect();
    for system in systems {
        stage.begin(*system).await?;
        stage.make_targets(&names).await?;
        stage.make_objects(*system, &names, Settings::Best).await?;
        let ready = stage.objects_are_ready(*system, &names, READY_DEADLINE).await?;
        if let Err(count) = ready {
            anyhow::bail!("{count} of {HEALTHY} are ready");
        }
        let samples = if *system == System::Keda {
            few * HEALTHY
        } else {
            samples
        };
        sleep(SETTLE).await;
        row(*system, "alone", &reactions(stage, &names, samples).await?);
        make_broken(stage, *system).await?;
        sleep(SETTLE).await;
        row(
            *system,
            "beside 100 broken ones",
            &reactions(stage, &names, samples).await?,
        );
        stage.remove_objects(*system).await?;
        stage.remove_targets().await?;
    }
    Ok(())
}

fn row(system: System, beside: &str, spread: &Spread) {
    let [min, p50, p99, max] = [0.0, 50.0, 99.0, 100.0].map(|p| time(spread.percentile(p)));
    println!(
        "| {} | {beside} | {min} | {p50} | {p99} | {max} | {} |",
        system.name(),
        spread.len()
    );
}

async fn reactions(stage: &Stage, names: &[String], samples: usize) -> anyhow::Result<Spread> {
    let mut taken = Vec::new();
    for name in names.iter().cycle().take(samples) {
        sleep(BETWEEN).await;
        let pushed = stage.push(name, JOBS_PER_REPLICA).await?;
        // What does not come in time counts as that much.
        let reached = stage.replicas.reach(name, 1, DEADLINE).await;
        taken.push(reached.unwrap_or_else(|_| Instant::now()).duration_since(pushed));
        stage.clear(name).await?;
        stage.replicas.reach(name, 0, DEADLINE).await?;
    }
    Ok(Spread::of_durations(&taken))
}

/// A third has a dead address, a third a slow Redis, each one of its own, a third a target that does not exist.
async fn make_broken(stage: &Stage, system: System) -> anyhow::Result<()> {
    let mut broken = Vec::new();
    for n in 0..BROKEN {
        let name = format!("broken-{n}");
        let redis = match n % 3 {
            0 => DEAD.to_owned(),
            1 => slow_redis(&stage.redis_address).await?,
            _ => stage.redis_address.clone(),
        };
        let mut object = system.object(&name, &redis, Settings::Best)?;
        if n % 3 == 2 {
            object.data["spec"]["scaleTargetRef"]["name"] = json!("missing");
        } else {
            stage.make_targets(&[name]).await?;
        }
        broken.push(object);
    }
    let objects = stage.objects(system);
    stream::iter(&broken)
        .map(|object| {
            let objects = objects.clone();
            async move { objects.create(&PostParams::default(), object).await }
        })
        .buffer_unordered(BROKEN)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(())
}

/// Leads to the Redis, and holds each answer back. For as long as this program runs.
async fn slow_redis(to: &str) -> anyhow::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    let port = listener.local_addr()?.port();
    let to: SocketAddr = to.parse()?;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(relay(client, to));
        }
    });
    Ok(format!("{NODE}:{port}"))
}

async fn relay(client: TcpStream, to: SocketAddr) -> std::io::Result<()> {
    let (mut from_server, mut to_server) = TcpStream::connect(to).await?.into_split();
    let (mut from_client, mut to_client) = client.into_split();
    let there = async { tokio::io::copy(&mut from_client, &mut to_server).await };
    let back = async {
        let mut answer = vec![0; 64 * 1024];
        loop {
            let count = from_server.read(&mut answer).await?;
            if count == 0 {
                return Ok::<u64, std::io::Error>(0);
            }
            sleep(SLOW).await;
            to_client.write_all(&answer[..count]).await?;
        }
    };
    tokio::select! {
        ended = there => ended.map(|_| ()),
        ended = back => ended.map(|_| ()),
    }
}
