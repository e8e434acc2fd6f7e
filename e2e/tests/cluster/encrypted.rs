//! A Redis that speaks TLS only, asks for a certificate, and has users with passwords.

use anyhow::Result;
use serde_json::json;
use workerpool_e2e::{A_WHILE, HW7, in_namespace, pool, sleeping};

#[tokio::test]
#[ignore = "needs a cluster"]
async fn operator_api_and_workers_work_over_tls_as_a_user_with_a_password() -> Result<()> {
    in_namespace("encrypted", async |ns| {
        ns.deploy_encrypted_redis().await?;
        let login = |name: &str, key: &str| {
            json!({"name": name, "valueFrom": {"secretKeyRef": {"name": "redis-auth", "key": key}}})
        };
        let environment = json!([
            {"name": "WORKERPOOL_REDIS_ADDRESS", "value": "encrypted"},
            {"name": "WORKERPOOL_REDIS_TLS", "value": "true"},
            {"name": "WORKERPOOL_REDIS_CA_FILE", "value": "/tls/ca.crt"},
            {"name": "WORKERPOOL_REDIS_CERT_FILE", "value": "/tls/tls.crt"},
            {"name": "WORKERPOOL_REDIS_KEY_FILE", "value": "/tls/tls.key"},
            login("WORKERPOOL_REDIS_USERNAME", "username"),
            login("WORKERPOOL_REDIS_PASSWORD", "password"),
        ]);
        let api = ns.deploy_api_with(environment, Some("redis-tls")).await?;
        let redis = json!({
            "address": "encrypted",
            "tls": {"secretRef": {"name": "redis-tls"}},
            "credentialsSecretRef": {"name": "redis-auth"},
        });
        ns.apply(&pool(HW7, json!({"redis": redis, "template": sleeping(1)})))
            .await?;
        // Told by Redis itself, and so over TLS as well: from zero.
        ns.pool_until(HW7, "is told of every change", |pool| {
            pool.condition("QueueReadable")
                .is_some_and(|condition| condition.reason == "Tracked")
        })
        .await?;
        let ids = api.submit(3).await?;
        api.completed(&ids, A_WHILE).await
    })
    .await
}
