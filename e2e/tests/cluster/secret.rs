//! A Redis with a password, and the Secret that opens it.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use workerpool_e2e::{A_WHILE, HW7, in_namespace, pool, sleeping};

const PASSWORD: &str = "open-sesame";

#[tokio::test]
#[ignore = "needs a cluster"]
async fn only_a_labelled_secret_opens_a_redis_with_a_password() -> Result<()> {
    in_namespace("secret", async |ns| {
        let redis = ns.deploy_redis_with_password(PASSWORD).await?;
        ns.apply(&secret(json!({}))).await?;
        let spec = json!({
            "redis": {"address": "locked", "credentialsSecretRef": {"name": "redis-auth"}},
            // The worker is to be there still when its IP is asked for.
            "scaling": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}}},
            "template": sleeping(1),
        });
        ns.apply(&pool(HW7, spec)).await?;
        let refused = ns
            .pool_until(HW7, "refuses the Secret", |pool| pool.is("Ready", "False"))
            .await?;
        ensure!(
            refused
                .at("/status")
                .to_string()
                .contains("workerpool.dev/redis-credentials"),
            "{}",
            refused.at("/status")
        );

        // The label is the namespace owner's word that this Secret is meant for a Redis.
        ns.apply(&secret(json!({"workerpool.dev/redis-credentials": "true"})))
            .await?;
        ns.pool_until(HW7, "is ready", |pool| pool.is("Ready", "True"))
            .await?;
        let ids: Vec<String> = ns
            .python(PRODUCER, &[redis.host(), PASSWORD])
            .await?
            .lines()
            .map(str::to_owned)
            .collect();
        let jobs = redis.completed(&ids, A_WHILE).await?;
        let worker = &jobs.first().context("no job")?["worker"];
        ns.has_pod_at(HW7, worker).await
    })
    .await
}

fn secret(labels: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "redis-auth", "labels": labels},
        "stringData": {"password": PASSWORD},
    })
}

const PRODUCER: &str = "
import sys, uuid, redis
from hotqueue import HotQueue
host, password = sys.argv[1:]
jid = str(uuid.uuid4())
rd = redis.StrictRedis(host=host, port=6379, password=password, db=3)
rd.hset('job.' + jid, mapping={'id': jid, 'status': 'submitted', 'start': 'go!', 'end': 'stop!'})
HotQueue('queue', host=host, port=6379, password=password, db=2).put(jid)
print(jid)
";
