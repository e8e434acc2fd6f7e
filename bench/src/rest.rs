//! Memory of the API and the worker at rest: started, connected, nothing to do. (The operator needs a cluster; its figure
//! comes from its pod.)

use anyhow::Context;
use queue::test_server::RedisServer;

use crate::process::{free_address, ours, resident_kib, start};

/// Prints a row a program.
pub(crate) async fn measure() -> anyhow::Result<()> {
    let redis = RedisServer::start().context("redis-server")?;
    for name in ["workerpool-api", "workerpool-worker"] {
        let address = free_address()?;
        let env = [
            ("WORKERPOOL_REDIS_ADDRESS", format!("127.0.0.1:{}", redis.port())),
            ("WORKERPOOL_LISTEN_ADDRESS", address.to_string()),
            ("WORKERPOOL_TELEMETRY_ADDRESS", address.to_string()),
        ];
        let process = start::<&str>(&ours(name)?, &[], &env, address).await?;
        // Once it has said that it is ready it holds its connections, which is what "at rest" means.
        let ready = reqwest::get(format!("http://{address}/readyz")).await?.status();
        let pid = process.id().context("the process has ended")?;
        println!(
            "{name:<20} {:>6.1} MB resident  (readyz {})",
            resident_kib(pid)? as f64 / 1024.0,
            ready.as_u16()
        );
    }
    Ok(())
}
