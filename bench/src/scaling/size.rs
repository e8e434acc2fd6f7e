//! What it costs to look after many targets, and what becomes of the reaction.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use tokio::time::sleep;

use super::cost::{Cost, Meter};
use super::reaction::time;
use super::stage::Stage;
use super::system::{JOBS_PER_REPLICA, Settings, System};
use crate::stats::Spread;

/// After the last change: longer than the slow poll, and than KEDA's.
const SETTLE: Duration = Duration::from_secs(40);
/// How long a system is looked at, at rest.
const REST: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(120);
const BETWEEN: Duration = Duration::from_millis(100);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Prints a row for each system and size.
pub(super) async fn measure(
    stage: &Stage,
    meter: &Meter,
    systems: &[System],
    sizes: &[usize],
    (samples, few): (usize, usize),
    patience: Duration,
) -> anyhow::Result<()> {
    for system in systems {
        stage.begin(*system).await?;
    }
    stage.only(None).await?;
    sleep(SETTLE).await;
    let idle = meter.cost(None, REST).await?;
    println!(
        "the cluster without either: {:.1} requests/s to the API server, {:.1} commands/s to Redis",
        idle.api_requests, idle.redis_commands
    );
    println!(
        "| | objects | all ready after | CPU at rest, of a core | resident | Redis connections | commands/s | API requests/s \
         | a new one's first decision | after a restart: ready | acts | reaction p50 | p99 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for size in sizes {
        let names: Vec<String> = (0..*size).map(|n| format!("size-{n}")).collect();
        for system in systems {
            stage.only(Some(*system)).await?;
            stage.make_targets(&names).await?;
            let many = Many {
                stage,
                meter,
                system: *system,
                names: &names,
                samples: if *system == System::Keda { few } else { samples },
                patience,
            };
            many.measure(&idle)
                .await
                .with_context(|| format!("{system:?} at {size}"))?;
            stage.remove_objects(*system).await?;
            stage.remove_targets().await?;
        }
    }
    Ok(())
}

/// Many objects of one system.
struct Many<'a> {
    stage: &'a Stage,
    meter: &'a Meter,
    system: System,
    names: &'a [String],
    samples: usize,
    /// How long all may take to be ready; then it is said how many are.
    patience: Duration,
}

impl Many<'_> {
    /// No window down, so that a target can be used again; else at the defaults of each.
    fn settings(&self) -> Settings {
        match self.system {
            System::Workerpool => Settings::Best,
            System::Keda => Settings::Default,
        }
    }

    async fn measure(&self, idle: &Cost) -> anyhow::Result<()> {
        let Self {
            stage, system, names, ..
        } = self;
        let begun = Instant::now();
        stage.make_objects(*system, names, self.settings()).await?;
        let ready = stage.objects_are_ready(*system, names, self.patience).await?;
        sleep(SETTLE).await;
        let rest = self.meter.cost(Some(*system), REST).await?;
        let (ready, answers) = match ready {
            Ok(at) => (time(ms(at.duration_since(begun))), self.answers().await?),
            // What it has not come to does not react.
            Err(count) => (
                format!("only {count} after {:?}", self.patience),
                [const { String::new() }; 5],
            ),
        };
        println!(
            "| {} | {} | {ready} | {:.1} % | {:.1} MB | {:.0} | {:.1} | {:.1} | {} |",
            system.name(),
            names.len(),
            rest.cpu * 100.0,
            rest.resident_mb,
            rest.redis_connections - idle.redis_connections,
            (rest.redis_commands - idle.redis_commands).max(0.0),
            (rest.api_requests - idle.api_requests).max(0.0),
            answers.join(" | "),
        );
        Ok(())
    }

    /// The last columns: a new object's first decision, a restart, and reactions.
    async fn answers(&self) -> anyhow::Result<[String; 5]> {
        let first = self.first_decision().await?;
        let reactions = self.reactions().await?;
        let (ready, acts) = self.restart().await?;
        Ok([
            first.median(),
            ms(ready),
            ms(acts),
            reactions.median(),
            reactions.percentile(99.0),
        ]
        .map(time))
    }

    /// From the creation of one more object, whose queue holds jobs, until its target's count is written.
    async fn first_decision(&self) -> anyhow::Result<Spread> {
        let Self { stage, system, .. } = self;
        let mut taken = Vec::new();
        for n in 0..self.samples.div_ceil(10) {
            let name = [format!("new-{n}")];
            stage.make_targets(&name).await?;
            stage.push(&name[0], JOBS_PER_REPLICA).await?;
            stage.replicas.reach(&name[0], 0, DEADLINE).await?;
            let begun = Instant::now();
            stage.make_objects(*system, &name, self.settings()).await?;
            let decided = stage.replicas.reach(&name[0], 1, DEADLINE).await?;
            taken.push(decided.saturating_duration_since(begun));
            stage.clear(&name[0]).await?;
            stage
                .objects(*system)
                .delete(&name[0], &DeleteParams::default())
                .await?;
            stage
                .deployments()
                .delete(&name[0], &DeleteParams::background())
                .await?;
        }
        Ok(Spread::of_durations(&taken))
    }

    /// 0 → 1 of targets all over the crowd: one after another where that takes milliseconds, else at once.
    async fn reactions(&self) -> anyhow::Result<Spread> {
        let samples = self.samples;
        // Without the last, if there are more: it is left at zero for the restart.
        let names = &self.names[..self.names.len().max(2) - 1];
        let chosen = (0..samples).map(|n| &names[n * 7919 % names.len()]);
        let mut taken = Vec::new();
        match self.system {
            System::Workerpool => {
                for name in chosen {
                    taken.push(self.react(name, BETWEEN).await?);
                    self.stage.replicas.reach(name, 0, DEADLINE).await?;
                }
            }
            // It goes back to zero after 300 s: each once.
            System::Keda => {
                let chosen: Vec<_> = chosen.take(names.len()).collect();
                let apart = Duration::from_secs(30) / u32::try_from(chosen.len())?;
                let all = chosen.iter().enumerate().map(|(n, name)| {
                    let pause = apart * u32::try_from(n).unwrap_or_default();
                    self.react(name, pause)
                });
                taken = try_join_all(all).await?;
            }
        }
        Ok(Spread::of_durations(&taken))
    }

    async fn react(&self, name: &str, pause: Duration) -> anyhow::Result<Duration> {
        sleep(pause).await;
        self.stage.replicas.reach(name, 0, DEADLINE).await?;
        let pushed = self.stage.push(name, JOBS_PER_REPLICA).await?;
        let reached = self.stage.replicas.reach(name, 1, DEADLINE).await?;
        self.stage.clear(name).await?;
        Ok(reached.duration_since(pushed))
    }

    /// Kills the system's pods: how long until new ones are ready, and until a change of meanwhile is acted upon.
    async fn restart(&self) -> anyhow::Result<(Duration, Duration)> {
        let Self { stage, system, .. } = self;
        let (namespace, _) = system.programs();
        let pods: Api<Pod> = Api::namespaced(stage.client.clone(), namespace);
        let old: Vec<String> = pods
            .list(&ListParams::default())
            .await?
            .iter()
            .map(Pod::name_any)
            .collect();
        // One that is at zero: KEDA's others wait for their cooldown.
        let name = self.names.last().context("no object")?;
        stage.clear(name).await?;
        stage.replicas.reach(name, 0, Duration::from_secs(400)).await?;
        let programs = self.meter.processes(Some(*system))?;
        let killed = Instant::now();
        pods.delete_collection(&DeleteParams::default().grace_period(0), &ListParams::default())
            .await?;
        self.ended(&programs).await?;
        stage.push(name, JOBS_PER_REPLICA).await?;
        let acts = stage.replicas.reach(name, 1, DEADLINE);
        let (acts, ready) = tokio::try_join!(acts, ready_pods(&pods, &old))?;
        stage.clear(name).await?;
        Ok((ready.duration_since(killed), acts.duration_since(killed)))
    }

    /// Waits until these processes are no more: they outlive their pods by some moments.
    async fn ended(&self, programs: &[u32]) -> anyhow::Result<()> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let running = self.meter.processes(Some(self.system))?;
            if programs.iter().all(|pid| !running.contains(pid)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                anyhow::bail!("the old programs still run after {DEADLINE:?}");
            }
            sleep(LOOK_EVERY / 10).await;
        }
    }
}

/// When as many pods as there were are ready, none of the old ones among them.
async fn ready_pods(pods: &Api<Pod>, old: &[String]) -> anyhow::Result<Instant> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let now = pods.list(&ListParams::default()).await?;
        let ready = now
            .iter()
            .filter(|pod| !old.contains(&pod.name_any()) && is_ready(pod));
        if ready.count() >= old.len() {
            return Ok(Instant::now());
        }
        if Instant::now() > deadline {
            anyhow::bail!("the pods are not ready after {DEADLINE:?}");
        }
        sleep(LOOK_EVERY).await;
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|c| c.type_ == "Ready" && c.status == "True")
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
