//! POST /jobs under wrk: the API, a handler without Redis, and the original's Flask program, taken in turns.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use queue::test_server::RedisServer;
use tokio::process::{Child, Command};

use crate::process::{free_address, ours, start};
use crate::stats::Spread;

/// What wrk runs: the original README's request.
const SCRIPT: &str = r#"
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = '{"start": "go!", "end": "stop!"}'
"#;

const THREADS: u32 = 2;
const CONNECTIONS: [u32; 2] = [32, 128];

struct Contender {
    name: &'static str,
    address: SocketAddr,
    _process: Child,
}

/// Prints requests per second of each server at each number of connections, and the two ratios.
pub(crate) async fn measure(
    seconds: u64,
    rounds: usize,
    python: &Path,
    original: &Path,
) -> anyhow::Result<()> {
    let redis = RedisServer::start().context("redis-server")?;
    let script = std::env::temp_dir().join(format!("workerpool-bench-{}.lua", std::process::id()));
    std::fs::write(&script, SCRIPT)?;
    let contenders = [
        noop().await?,
        api(&redis).await?,
        flask(&redis, python, original).await?,
    ];
    for connections in CONNECTIONS {
        let mut rates = vec![Vec::new(); contenders.len()];
        for _ in 0..rounds {
            for (contender, rates) in contenders.iter().zip(&mut rates) {
                rates.push(wrk(contender.address, connections, seconds, &script).await?);
            }
        }
        let spreads: Vec<Spread> = rates
            .into_iter()
            .map(|rates| Spread::new(rates, "req/s"))
            .collect();
        println!("wrk -t{THREADS} -c{connections} -d{seconds}s");
        for (contender, spread) in contenders.iter().zip(&spreads) {
            println!("  {:<22} {spread}", contender.name);
        }
        let [noop, api, flask] = [0, 1, 2].map(|i| spreads[i].median());
        println!("  api / no-op {:.2}   api / Flask {:.1}", api / noop, api / flask);
    }
    std::fs::remove_file(script)?;
    Ok(())
}

async fn noop() -> anyhow::Result<Contender> {
    let address = free_address()?;
    let process = start(
        &std::env::current_exe()?,
        &["noop".into(), address.to_string()],
        &[],
        address,
    )
    .await?;
    Ok(Contender {
        name: "axum, no Redis",
        address,
        _process: process,
    })
}

async fn api(redis: &RedisServer) -> anyhow::Result<Contender> {
    let address = free_address()?;
    let env = [
        ("WORKERPOOL_REDIS_ADDRESS", format!("127.0.0.1:{}", redis.port())),
        ("WORKERPOOL_LISTEN_ADDRESS", address.to_string()),
    ];
    let process = start::<&str>(&ours("workerpool-api")?, &[], &env, address).await?;
    Ok(Contender {
        name: "workerpool-api",
        address,
        _process: process,
    })
}

async fn flask(redis: &RedisServer, python: &Path, original: &Path) -> anyhow::Result<Contender> {
    let address = free_address()?;
    let original = original.to_string_lossy().into_owned();
    let args = [
        original,
        format!("127.0.0.1:{}", redis.port()),
        address.port().to_string(),
    ];
    let process = start(python, &args, &[], address).await?;
    Ok(Contender {
        name: "Flask, the original",
        address,
        _process: process,
    })
}

/// One run of wrk: requests per second. A run with errors is no figure.
async fn wrk(address: SocketAddr, connections: u32, seconds: u64, script: &Path) -> anyhow::Result<f64> {
    let run = Command::new("wrk")
        .args([
            format!("-t{THREADS}"),
            format!("-c{connections}"),
            format!("-d{seconds}s"),
            "-s".into(),
        ])
        .arg(script)
        .arg(format!("http://{address}/jobs"))
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(seconds + 30), run)
        .await?
        .context("wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!(
            "wrk met errors:\n{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let rate = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Requests/sec:"))
        .context("no rate")?;
    rate.trim().parse().with_context(|| format!("not a rate: {rate}"))
}
