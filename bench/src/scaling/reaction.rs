//! A foreign RPUSH until the replica count is seen by an independent watch, and the last job's end until the count is zero.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::future::try_join_all;
use simulation::plot;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::replicas::History;
use super::stage::Stage;
use super::system::{JOBS_PER_REPLICA, MOST, Settings, System};
use crate::stats::Spread;

/// The changes of one target, one after another; each course has targets of its own.
const COURSES: [&[usize]; 2] = [&[1, 10, 0], &[MOST, 0]];

/// How long a change may take: KEDA takes 330 s to zero at its defaults.
const DEADLINE: Duration = Duration::from_secs(420);
/// How long objects may take to be ready.
const READY_DEADLINE: Duration = Duration::from_secs(120);
/// Between two changes of ours: what the API server does for the last one is over by then.
const BETWEEN: Duration = Duration::from_millis(100);
/// KEDA's poll and the HPA's sync, at their defaults.
const PERIOD: Duration = Duration::from_secs(30);

/// How one system is measured at one setting.
struct Plan {
    system: System,
    settings: Settings,
    /// Targets of each course.
    targets: usize,
    /// How often each goes through its course.
    rounds: usize,
    /// How many go up at once. More than one only where milliseconds do not matter.
    at_once: usize,
}

/// One change of one target.
struct Change {
    from: usize,
    to: usize,
    taken: Duration,
    /// Counts that were seen on the way, the last among them.
    steps: usize,
    /// What was seen, in seconds since the push.
    curve: plot::Counts,
}

/// Prints a row for each change of each system, and draws 0 → 100.
pub(super) async fn measure(
    stage: &Stage,
    systems: &[System],
    samples: usize,
    few: usize,
    plots: Option<&Path>,
) -> anyhow::Result<()> {
    println!("| | settings | change | min | p50 | p99 | max | n | steps |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut curves = Vec::new();
    for system in systems {
        stage.begin(*system).await?;
        let plans = plans(*system, samples, few);
        let changes = match system {
            // Each by itself: it is over within milliseconds.
            System::Workerpool => {
                let mut all = Vec::new();
                for plan in &plans {
                    all.push(run(stage, plan).await?);
                }
                all
            }
            // Together: nearly all of it is waiting for clocks.
            System::Keda => try_join_all(plans.iter().map(|plan| run(stage, plan))).await?,
        };
        stage.remove_objects(*system).await?;
        stage.remove_targets().await?;
        for (plan, changes) in plans.iter().zip(&changes) {
            print(plan, changes);
            curves.extend(typical(plan, changes));
        }
    }
    if let Some(folder) = plots {
        draw(folder, &curves)?;
    }
    Ok(())
}

fn plans(system: System, samples: usize, few: usize) -> [Plan; 2] {
    let plan = |settings, targets, rounds, at_once| Plan {
        system,
        settings,
        targets,
        rounds,
        at_once,
    };
    match system {
        // At its defaults a pool goes down after 30 s: so many pools, once each.
        System::Workerpool => [
            plan(Settings::Default, samples, 1, 1),
            plan(Settings::Best, samples.min(10), samples.div_ceil(10), 1),
        ],
        System::Keda => [
            plan(Settings::Default, few, 1, few),
            plan(Settings::Best, few, 2, few),
        ],
    }
}

async fn run(stage: &Stage, plan: &Plan) -> anyhow::Result<Vec<Change>> {
    let gate = Arc::new(Semaphore::new(plan.at_once));
    let mut targets = Vec::new();
    for (number, course) in COURSES.iter().enumerate() {
        let kind = format!("{:?}-{:?}-{number}", plan.system, plan.settings).to_lowercase();
        targets.extend((0..plan.targets).map(|n| (format!("{kind}-{n}"), *course, n)));
    }
    let names: Vec<String> = targets.iter().map(|(name, ..)| name.clone()).collect();
    stage.make_targets(&names).await?;
    stage.make_objects(plan.system, &names, plan.settings).await?;
    let ready = stage
        .objects_are_ready(plan.system, &names, READY_DEADLINE)
        .await?;
    if let Err(count) = ready {
        anyhow::bail!("{count} of {} objects are ready", names.len());
    }
    let courses = targets.iter().map(|(name, course, n)| {
        let gate = Arc::clone(&gate);
        // Evenly over the period of the clocks that are waited for.
        let phase = PERIOD.mul_f64((*n as f64 + 0.5) / plan.targets as f64);
        async move { go_through(stage, plan, name, course, phase, &gate).await }
    });
    Ok(try_join_all(courses).await?.into_iter().flatten().collect())
}

async fn go_through(
    stage: &Stage,
    plan: &Plan,
    name: &str,
    course: &[usize],
    phase: Duration,
    gate: &Semaphore,
) -> anyhow::Result<Vec<Change>> {
    let mut changes = Vec::new();
    stage.replicas.reach(name, 0, DEADLINE).await?;
    for _ in 0..plan.rounds {
        let mut turn = Some(gate.acquire().await?);
        let mut from = 0;
        for &to in course {
            sleep(if plan.system == System::Keda {
                phase
            } else {
                BETWEEN
            })
            .await;
            let begun = if to > from {
                stage.push(name, (to - from) * JOBS_PER_REPLICA).await?
            } else {
                // Down may take as long as it likes: others go up meanwhile.
                turn = None;
                stage.clear(name).await?
            };
            let reached = stage.replicas.reach(name, to, DEADLINE).await;
            let reached = reached.with_context(|| format!("{from} → {to}"))?;
            changes.push(change(
                from,
                to,
                begun,
                reached,
                &stage.replicas.history(name, Some(begun)),
            ));
            from = to;
        }
        drop(turn);
    }
    Ok(changes)
}

fn change(from: usize, to: usize, begun: Instant, reached: Instant, history: &History) -> Change {
    let mut curve = vec![(0.0, u32::try_from(from).unwrap_or_default())];
    curve.extend(history.iter().map(|(at, count)| {
        let seconds = at.duration_since(begun).as_secs_f64();
        (seconds, u32::try_from(*count).unwrap_or_default())
    }));
    Change {
        from,
        to,
        taken: reached.duration_since(begun),
        steps: history.len(),
        curve,
    }
}

fn print(plan: &Plan, changes: &[Change]) {
    let says = (plan.system.name(), plan.system.says(plan.settings));
    for (from, to) in [(0, 1), (1, 10), (10, 0), (0, MOST), (MOST, 0)] {
        let of_kind = changes
            .iter()
            .filter(|change| (change.from, change.to) == (from, to));
        let (taken, steps): (Vec<_>, Vec<_>) = of_kind.map(|change| (change.taken, change.steps)).unzip();
        if taken.is_empty() {
            continue;
        }
        let spread = Spread::of_durations(&taken);
        let [min, p50, p99, max] = [0.0, 50.0, 99.0, 100.0].map(|p| time(spread.percentile(p)));
        let steps = steps.iter().min().copied().zip(steps.iter().max().copied());
        let steps = match steps.unwrap_or_default() {
            (least, most) if least == most => format!("{least}"),
            (least, most) => format!("{least}–{most}"),
        };
        println!(
            "| {} | {} | {from} → {to} | {min} | {p50} | {p99} | {max} | {} | {steps} |",
            says.0,
            says.1,
            taken.len()
        );
    }
}

/// Milliseconds, for people.
pub(super) fn time(ms: f64) -> String {
    match ms {
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms if ms < 10_000.0 => format!("{:.1} s", ms / 1e3),
        ms => format!("{:.0} s", ms / 1e3),
    }
}

/// The middle one of the ways from 0 to 100.
fn typical(plan: &Plan, changes: &[Change]) -> Option<(String, plot::Counts)> {
    let mut up: Vec<&Change> = changes
        .iter()
        .filter(|change| change.from == 0 && change.to == MOST)
        .collect();
    up.sort_by_key(|change| change.taken);
    let middle = up.get(up.len() / 2)?;
    let system = match plan.system {
        System::Workerpool => "workerpool",
        System::Keda => "KEDA",
    };
    let settings = match plan.settings {
        Settings::Default => "defaults",
        Settings::Best => "best settings",
    };
    Some((format!("{system}, {settings}"), middle.curve.clone()))
}

fn draw(folder: &Path, curves: &[(String, plot::Counts)]) -> anyhow::Result<()> {
    let ends = curves.iter().filter_map(|(_, curve)| curve.last());
    let longest = ends.map(|(at, _)| *at).fold(1.0, f64::max);
    let title = "Replicas after 500 jobs come at once, seconds";
    let path = folder.join("scaling-reaction.svg");
    std::fs::write(&path, plot::counts(title, (0.0, longest * 1.05), curves))?;
    println!("{}", path.display());
    Ok(())
}
