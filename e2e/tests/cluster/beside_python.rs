//! The original's programs, unmodified, on the same queue at the same time as ours.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use workerpool_e2e::{A_WHILE, HW7, in_namespace, pool, sleeping};

const ORIGINAL: &str = "e2e/images/original/deploy";

#[tokio::test]
#[ignore = "needs a cluster"]
async fn an_unmodified_hotqueue_worker_does_jobs_beside_ours() -> Result<()> {
    in_namespace("beside-worker", async |ns| {
        let redis = ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        let theirs = "bradenp-hw7-worker-deployment";
        ns.apply_files(&format!("{ORIGINAL}/worker")).await?;
        ns.apply(&pool(HW7, json!({"replicas": 2, "template": sleeping(2)})))
            .await?;
        ns.ready(theirs, 2).await?;
        ns.ready(HW7, 2).await?;

        let ids = api.submit(12).await?;
        let jobs = redis.completed(&ids, A_WHILE).await?;

        let did: BTreeSet<String> = jobs.iter().map(|job| job["worker"].clone()).collect();
        for deployment in [theirs, HW7] {
            let ips: BTreeSet<String> = ns.ips_of(deployment).await?.into_keys().collect();
            ensure!(
                !ips.is_disjoint(&did),
                "{deployment} ({ips:?}) did no job; these did: {did:?}"
            );
        }
        ensure!(
            redis.everything().await?.len() == ids.len(),
            "db 3 holds more than the jobs"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn jobs_put_by_python_producers_of_every_kind_wake_a_pool_at_zero() -> Result<()> {
    in_namespace("beside-producer", async |ns| {
        let redis = ns.deploy_redis().await?;
        ns.apply(&pool(
            HW7,
            json!({"scaling": {"jobsPerReplica": 4}, "template": sleeping(1)}),
        ))
        .await?;
        ns.ready(HW7, 0).await?;
        ns.pool_until(HW7, "is ready", |pool| pool.is("Ready", "True"))
            .await?;

        let ids: Vec<String> = ns
            .python(PRODUCER, &[redis.host()])
            .await?
            .lines()
            .map(str::to_owned)
            .collect();
        ensure!(ids.len() == 8, "the producer put {ids:?}");
        redis.completed(&ids, A_WHILE).await?;
        Ok(())
    })
    .await
}

/// HotQueue's default, HotQueue without a serializer, and each protocol of pickle.
const PRODUCER: &str = "
import pickle, sys, uuid, redis
from hotqueue import HotQueue

class Protocol:
    def __init__(self, number):
        self.number = number
    def dumps(self, message):
        return pickle.dumps(message, self.number)

rd = redis.StrictRedis(host=sys.argv[1], port=6379, db=3)
for serializer in [pickle, None] + [Protocol(number) for number in range(6)]:
    q = HotQueue('queue', serializer=serializer, host=sys.argv[1], port=6379, db=2)
    jid = str(uuid.uuid4())
    rd.hset('job.' + jid, mapping={'id': jid, 'status': 'submitted', 'start': 'go!', 'end': 'stop!'})
    q.put(jid)
    print(jid)
";

#[tokio::test]
#[ignore = "needs a cluster"]
async fn the_originals_own_api_feeds_our_pool() -> Result<()> {
    in_namespace("beside-api", async |ns| {
        let redis = ns.deploy_redis().await?;
        ns.apply_files(&format!("{ORIGINAL}/api")).await?;
        ns.ready("bradenp-hw7-flask-deployment", 1).await?;
        // The worker is to be there still when its IP is asked for.
        let scaling = json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}}});
        ns.apply(&pool(HW7, json!({"scaling": scaling, "template": sleeping(1)})))
            .await?;

        let flask = ns.api_listening_at("bradenp-hw7-flask-service").await?;
        let ids = flask.submit(3).await?;
        let jobs = redis.completed(&ids, A_WHILE).await?;
        let worker = jobs.first().context("no job")?["worker"].clone();
        ns.has_pod_at(HW7, &worker).await
    })
    .await
}
