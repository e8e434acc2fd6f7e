//! The metrics: each that the docs name, and no other, with the value that it should have, for as long as its pool is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use http::Method;
use operator::reconcile::on_error;
use queue::{Ended, Ending, Nonce};
use serde_json::json;

use super::world::World;

const DOCS: &str = include_str!("../../../docs/operator.md");
const SCALE: &str = "/deployments/hw7/scale";
const STATUS: &str = "/hw7/status";

/// The labels of each metric, by its full name.
type Named = BTreeMap<String, BTreeSet<String>>;

/// What the table in the docs names, as `name{label,label}`.
fn documented() -> Named {
    let section = DOCS.split("\n## ").find(|section| section.starts_with("Metrics"));
    let rows = section.unwrap().lines().filter(|line| line.starts_with("| `"));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2));
    let named = |name: &str| {
        let (name, labels) = name.split_once('{').unwrap_or((name, ""));
        let whole = if name.starts_with("workerpool_") {
            name.to_owned()
        } else {
            format!("workerpool_operator_{name}")
        };
        let labels = labels
            .trim_end_matches('}')
            .split(',')
            .filter(|label| !label.is_empty());
        (whole, labels.map(str::to_owned).collect())
    };
    names.map(named).collect()
}

/// What is told to Prometheus: of what has series, the labels of the first.
fn exported(scrape: &str) -> Named {
    let types = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let named = types.map(|line| {
        let (name, kind) = line.split_once(' ').unwrap();
        let name = match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        };
        let series = scrape.lines().find(|line| line.starts_with(&format!("{name}{{")));
        let labels = series.map_or("", |series| series.split(['{', '}']).nth(1).unwrap());
        let labels = labels.split(',').filter_map(|label| label.split_once('='));
        (name, labels.map(|(label, _)| label.to_owned()).collect())
    });
    named.collect()
}

fn series(scrape: &str) -> BTreeMap<&str, f64> {
    let lines = scrape.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.rsplit_once(' '));
    pairs
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

/// Of this pool.
fn of(name: &str, label: &str) -> String {
    format!("workerpool_{name}{{namespace=\"default\",pool=\"hw7\"{label}}}")
}

/// A pool of two, of whose jobs two run, four wait, one is delayed and one is no job.
async fn busy() -> World {
    let world = World::with_pool(json!({"scaling": {
        "jobsPerReplica": 4,
        "behavior": {"scaleDown": {"selectPolicy": "Disabled"}},
    }}))
    .deployed(2);
    let no_job = "redis.call('SELECT',2)return(redis.call('RPUSH','hotqueue:queue','\\128K\\1.')) 0";
    world.command("EVAL", no_job).await;
    world.push(7).await;
    let worker = world.busy("pod", 0).await;
    // The first is no job.
    for jobs in [0, 2] {
        let claims = worker.claim(&Nonce::fresh(), jobs.max(1)).await.unwrap();
        assert_eq!(claims.jobs.len(), jobs);
    }
    let claims = worker.claim(&Nonce::fresh(), 1).await.unwrap();
    // Not failed: the wait after a failure is random, and may be over before it is read.
    let later = Ended {
        id: claims.jobs[0].job.id.clone(),
        token: claims.jobs[0].token.clone(),
        how: Ending::Later {
            after: Duration::from_secs(3600),
        },
    };
    worker.finish(&[later]).await.unwrap();
    world.settled().await
}

#[tokio::test]
async fn docs_name_each_metric_with_its_labels_and_no_other() {
    let world = busy().await;
    world.reconcile().await.unwrap();
    world.write_fails().await;
    world.ctx.metrics.jobs.called("submit");
    world.ctx.metrics.undecodable("WorkerPool", 1);
    let panicked = telemetry::catch_panic_now("reconcile", || panic!("so that it is counted"));
    panicked.map(|(): ()| ()).unwrap_err();
    let (exported, documented) = (exported(&world.scrape()), documented());
    let names = |named: &Named| named.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&exported), names(&documented));
    for (name, labels) in exported {
        // Of some there is nothing to tell yet.
        if !labels.is_empty() {
            assert_eq!(labels, documented[&name], "labels of {name}");
        }
    }
}

#[tokio::test]
async fn each_series_of_a_pool_has_its_value_and_ends_with_the_pool() {
    let mut world = busy().await;
    world.reconcile().await.unwrap();
    world.push(8).await;
    world.reconcile_until(&Method::PATCH, SCALE).await;
    world.reconcile_until(&Method::PATCH, STATUS).await;
    let before = world.scrape();
    let before = series(&before);
    world.reconcile().await.unwrap();
    let now = world.scrape();
    let now = series(&now);

    let expected = [
        ("operator_pool_mode", ",mode=\"Queue\"", 1.0),
        ("operator_pool_scaling_disabled", ",direction=\"down\"", 1.0),
        ("operator_pool_desired_replicas", "", 4.0),
        ("operator_pool_ready_replicas", "", 2.0),
        ("queue_waiting_jobs", "", 12.0),
        ("queue_running_jobs", "", 2.0),
        ("queue_delayed_jobs", "", 1.0),
        ("queue_dead_jobs", "", 1.0),
        ("operator_pool_redis_risk", ",risk=\"no_append_only\"", 1.0),
    ];
    let mut names: BTreeSet<_> = expected.map(|(name, label, _)| of(name, label)).into();
    for (name, label, value) in expected {
        assert_eq!(
            now.get(of(name, label).as_str()),
            Some(&value),
            "{name}: {now:#?}"
        );
    }
    let age = of("operator_pool_reading_age_seconds", "");
    let seconds = now[age.as_str()];
    assert!((0.0..10.0).contains(&seconds), "{seconds}");
    names.insert(age);
    let told: BTreeSet<_> = now.keys().filter(|name| name.contains("hw7")).collect();
    assert_eq!(
        told,
        names
            .iter()
            .map(String::as_str)
            .collect::<BTreeSet<_>>()
            .iter()
            .collect()
    );

    let counted = |name: &str| now[name] - before.get(name).copied().unwrap_or(0.0);
    let decisions = "workerpool_operator_decisions_total{reason=\"JobsPerReplica\"}";
    assert_eq!(counted(decisions), 1.0);
    assert_eq!(
        counted("workerpool_operator_reconcile_duration_seconds_count"),
        1.0
    );
    assert_eq!(now["workerpool_operator_reaction_duration_seconds_count"], 1.0);
    let sum = now["workerpool_operator_reaction_duration_seconds_sum"];
    assert!((0.000_01..10.0).contains(&sum), "{sum}");
    assert_eq!(now["workerpool_operator_redis_servers"], 1.0);

    world.ctx.forget(&world.pool_ref());
    let gone = world.scrape();
    assert!(!gone.contains("hw7"), "{gone}");
    assert_eq!(series(&gone)["workerpool_operator_redis_servers"], 0.0);
    assert_eq!(series(&gone)[decisions], now[decisions], "of all pools");
}

#[tokio::test]
async fn what_the_operator_is_and_what_failed_is_counted() {
    let world = World::with_pool(json!({})).deployed(0).settled().await;
    let value = |name: &str| {
        series(&world.scrape())
            .get(format!("workerpool_operator_{name}").as_str())
            .copied()
    };
    assert_eq!((value("up_to_date"), value("leads")), (Some(0.0), Some(0.0)));
    world.ctx.metrics.up_to_date();
    world.ctx.metrics.leads(true);
    assert_eq!((value("up_to_date"), value("leads")), (Some(1.0), Some(1.0)));
    world.ctx.metrics.leads(false);
    assert_eq!(value("leads"), Some(0.0));

    assert_eq!(value("reconcile_errors_total{kind=\"server_error\"}"), None);
    world.write_fails().await;
    assert_eq!(value("reconcile_errors_total{kind=\"server_error\"}"), Some(1.0));
    assert_eq!(value("events_dropped_total"), Some(0.0));
    world.ctx.metrics.event_dropped();
    assert_eq!(value("events_dropped_total"), Some(1.0));
    world.ctx.metrics.reacted(Duration::from_millis(3));
    assert_eq!(value("reaction_duration_seconds_bucket{le=\"0.002\"}"), Some(0.0));
    assert_eq!(value("reaction_duration_seconds_bucket{le=\"0.005\"}"), Some(1.0));
}

impl World {
    /// The API server fails once.
    async fn write_fails(&self) {
        self.ctx.memories.of(&self.pool).lock().await.status = None;
        self.api.refuse_once(STATUS, 500);
        let error = self.reconcile().await.unwrap_err();
        let _ = on_error(&self.pool, &error, &self.ctx);
    }
}
