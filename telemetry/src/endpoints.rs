use std::sync::Arc;

use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};

use crate::{Health, health::Verdict};

/// From the OpenMetrics specification, "Overall Structure"; Prometheus reads it too.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /healthz`, `GET /readyz` (200, or 503 with the reasons in the body) and `GET /metrics` (OpenMetrics
/// text), to [`Router::merge`] into a program's own routes or to [`crate::serve`] alone.
pub fn endpoints(health: Health, registry: Registry) -> Router {
    let health = Arc::new(health);
    let readiness = Arc::clone(&health);
    let registry = Arc::new(registry);
    Router::new()
        .route("/healthz", get(move || async move { answer(health.liveness()) }))
        .route(
            "/readyz",
            get(move || async move { answer(readiness.readiness()) }),
        )
        .route("/metrics", get(move || async move { exposition(&registry) }))
}

fn answer(verdict: Verdict) -> impl IntoResponse {
    let status = if verdict.passed {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, verdict.report)
}

fn exposition(registry: &Registry) -> impl IntoResponse + use<> {
    let mut text = String::new();
    match encode(&mut text, registry) {
        Ok(()) => (StatusCode::OK, [(CONTENT_TYPE, OPENMETRICS)], text),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(CONTENT_TYPE, "text/plain; charset=utf-8")],
            error.to_string(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use tower::ServiceExt;

    use super::*;
    use crate::{Condition, registry};

    async fn get(app: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 65_536).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_answers_503_with_the_reason_until_the_condition_passes() {
        let redis = Condition::failing("redis:6379: connection refused");
        let health = Health::new().ready("redis", redis.check());
        let app = endpoints(health, registry("test", "1.2.3"));

        let (status, body) = get(&app, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            body.contains("[-]redis failed: redis:6379: connection refused"),
            "{body}"
        );
        assert_eq!(get(&app, "/healthz").await.0, StatusCode::OK);

        redis.pass();
        assert_eq!(get(&app, "/readyz").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_are_open_metrics_text_with_the_prefix_and_the_build() {
        let app = endpoints(Health::new(), registry("test", "1.2.3"));
        let (status, body) = get(&app, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(
            body.contains("workerpool_build_info{program=\"test\",version=\"1.2.3\"} 1"),
            "{body}"
        );
        assert!(body.ends_with("# EOF\n"), "{body}");
    }
}
