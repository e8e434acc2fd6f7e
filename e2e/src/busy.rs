//! A pool at work: what a test finds before it takes something away.

use anyhow::Result;
use serde_json::json;

use crate::{A_WHILE, Api, Data, HW7, Namespace, pool, sleeping};

/// Nine jobs of 4 s, of which three run, one on each worker.
///
/// # Errors
/// When they do not start within [`A_WHILE`].
pub async fn three_workers_busy_with_nine_jobs(
    ns: &Namespace,
    api: &Api,
    redis: &Data,
) -> Result<Vec<String>> {
    let spec = json!({"scaling": {"maxReplicas": 3, "jobsPerReplica": 1}, "template": sleeping(4)});
    ns.apply(&pool(HW7, spec)).await?;
    ns.ready(HW7, 0).await?;
    let ids = api.submit(9).await?;
    ns.ready(HW7, 3).await?;
    redis.started(&ids, 3, A_WHILE).await?;
    Ok(ids)
}

/// Eleven jobs in waves, done to the last one. Each wave starts while the one before it runs, so there is always one that ends
/// among others that do not.
///
/// # Errors
/// When a wave does not start, or they do not end, within [`A_WHILE`].
pub async fn waves_of_jobs(api: &Api, redis: &Data) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for size in [3, 2, 3, 1, 2] {
        let wave = api.submit(size).await?;
        redis.started(&wave, wave.len(), A_WHILE).await?;
        ids.extend(wave);
    }
    redis.completed(&ids, A_WHILE).await?;
    Ok(ids)
}
