use std::{borrow::Cow, time::Instant};

use axum::{
    http::Method,
    response::{IntoResponse, Response},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use queue::Risk;

use crate::error::Problem;

/// What the API counts. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    requests: Family<Labels, Histogram, fn() -> Histogram>,
    errors: Family<KindLabel, Counter>,
    risks: Family<RiskLabel, Gauge>,
    pub(crate) submitted: Counter,
}

/// Each from a bounded set, whatever clients send: a label's values are never freed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    method: &'static str,
    route: Cow<'static, str>,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RiskLabel {
    risk: &'static str,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::new_with_constructor(|| {
                // From 100 µs, what an answer takes at best, to 6.5 s, past every timeout of Redis.
                Histogram::new(exponential_buckets(0.000_1, 2.0, 17))
            }),
            errors: Family::default(),
            risks: Family::default(),
            submitted: Counter::default(),
        };
        registry.register(
            "http_request_duration_seconds",
            "Time from a request's head to its answer's",
            metrics.requests.clone(),
        );
        registry.register(
            "api_redis_errors",
            "Requests that Redis did not serve, by the kind of its trouble",
            metrics.errors.clone(),
        );
        registry.register(
            "redis_risk",
            "1 for each setting of Redis under which jobs may be lost",
            metrics.risks.clone(),
        );
        registry.register(
            "jobs_submitted",
            "Jobs put into the queue and acknowledged",
            metrics.submitted.clone(),
        );
        metrics
    }

    /// These settings of Redis, and no others, endanger jobs now.
    pub(crate) fn at_risk(&self, risks: &[Risk]) {
        self.risks.clear();
        for risk in risks {
            let label = RiskLabel { risk: risk.as_str() };
            self.risks.get_or_create(&label).set(1);
        }
    }

    pub(crate) fn failed(&self, kind: &'static str) {
        self.errors.get_or_create(&KindLabel { kind }).inc();
    }

    /// The answer of a handler, counted and timed under this method and route. Here and not in the layer around all routes: there
    /// the name of the route would be an allocation for each request.
    pub(crate) async fn measure(
        &self,
        method: &'static str,
        route: &'static str,
        handler: impl Future<Output = Result<Response, Problem>>,
    ) -> Response {
        let begun = Instant::now();
        let response = handler.await.into_response();
        self.count(method, route.into(), begun, &response);
        response
    }

    /// Counts and times an answer.
    pub(crate) fn count(
        &self,
        method: &'static str,
        route: Cow<'static, str>,
        begun: Instant,
        response: &Response,
    ) {
        let labels = Labels {
            method,
            route,
            code: response.status().as_u16(),
        };
        self.requests
            .get_or_create(&labels)
            .observe(begun.elapsed().as_secs_f64());
    }
}

/// The method's name, from a bounded set.
pub(crate) fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
