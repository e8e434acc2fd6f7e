//! What is done in Redis for a pool: marks on its pods, by which they claim nothing more; and what workers of ours do by the
//! way, where none lives.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use queue::{Drainer, ForeignWorkers, Mark, Queue, Result, WorkerState};

use super::Chores;

/// How long a mark holds unless it is renewed: an operator that dies leaves no dead capacity for longer.
pub(super) const MARK_TIME: Duration = Duration::from_secs(30);

/// Something to do in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Choose pods that may go, and mark them. Answered by [`Marks`].
    Mark(MarkPods),
    /// Make the marks of these pods, which hold nothing, last for so long.
    Keep {
        /// UIDs.
        pods: Vec<String>,
        /// By the server's clock.
        time: Duration,
    },
    /// Lift the marks of these pods (UIDs).
    Unmark(Vec<String>),
}

/// Which pods to mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkPods {
    /// How many should go.
    pub count: usize,
    /// UIDs of those that Kubernetes deletes first whatever we prefer, in its order.
    pub first: Vec<String>,
    /// UIDs of the others, in the order in which we like to see them go.
    pub others: Vec<String>,
    /// Where they are, by UID: workers that are not ours are known by their connections alone.
    pub addresses: HashMap<String, IpAddr>,
    /// [`Mark::Quiet`] marks idle pods alone; [`Mark::Drain`] also those that hold jobs, the least busy first.
    pub mark: Mark,
}

/// Pods that were marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// What was asked.
    pub asked: MarkPods,
    /// UIDs of all that bear a mark now.
    pub marked: BTreeSet<String>,
    /// Of those, the ones that hold nothing: they can go.
    pub idle: BTreeSet<String>,
    /// Whether some of them have no worker of ours: no mark keeps such a worker from taking the next job.
    pub foreign: bool,
    /// When it was asked; the marks end 30 s later, or a little after.
    pub at: Instant,
}

/// Ticks, and looks for what foreign programs lost, ended or removed.
pub(super) async fn do_chores(drainer: &Drainer, queue: &Queue, chores: Chores) -> Result<()> {
    drainer.tick(queue, &chores.terms).await?;
    // The tick before it works, so no reading fails for the same cause and says so.
    let swept = drainer.sweep(queue, &chores.terms, chores.recover_foreign).await;
    swept.inspect_err(|error| {
        tracing::warn!(queue = %queue.name, %error, "cannot look for jobs that foreign workers lost; trying again");
    })?;
    Ok(())
}

/// Chooses and marks, on every queue that the pods take from: a pod is idle that is idle on all of them.
pub(super) async fn mark(drainer: &Drainer, queues: &[Queue], asked: MarkPods, epoch: u64) -> Result<Marks> {
    let at = Instant::now();
    let mut workers = Vec::new();
    for queue in queues {
        workers.push(drainer.workers(queue).await?);
    }
    let held = held(&workers);
    let strangers = strangers(&asked, &held);
    let foreign = !strangers.is_empty();
    // A pool's queues are all in one database.
    let connected = match queues.first() {
        Some(queue) if foreign => drainer.foreign_workers(queue).await?.unwrap_or_default(),
        _ => ForeignWorkers::default(),
    };
    let at_work = at_work(&strangers, &connected);
    let chosen = choose(&asked, &held, &at_work);
    let (mut marked, mut idle) = (BTreeSet::new(), chosen.iter().cloned().collect::<BTreeSet<_>>());
    for queue in queues {
        let idle_here = match asked.mark {
            Mark::Quiet => drainer.quiet(queue, &chosen, epoch, MARK_TIME).await?,
            Mark::Drain => drainer.drain(queue, &chosen, epoch, MARK_TIME).await?,
        };
        match asked.mark {
            Mark::Quiet => marked.extend(idle_here.iter().cloned()),
            Mark::Drain => marked.extend(chosen.iter().cloned()),
        }
        idle.retain(|pod| idle_here.contains(pod));
    }
    idle.retain(|pod| !at_work.contains(pod));
    Ok(Marks {
        asked,
        marked,
        idle,
        foreign,
        at,
    })
}

/// Makes marks last.
pub(super) async fn keep(
    drainer: &Drainer,
    queues: &[Queue],
    pods: &[String],
    epoch: u64,
    time: Duration,
) -> Result<()> {
    for queue in queues {
        drainer.quiet(queue, pods, epoch, time).await?;
    }
    Ok(())
}

/// Lifts marks.
pub(super) async fn unmark(drainer: &Drainer, queues: &[Queue], pods: &[String], epoch: u64) -> Result<()> {
    for queue in queues {
        drainer.unquiet(queue, pods, epoch).await?;
    }
    Ok(())
}

/// What the pods of our workers hold, on all of their queues. Each worker of a queue tells what its pod holds there.
fn held(queues: &[Vec<WorkerState>]) -> HashMap<&str, u64> {
    let mut held = HashMap::new();
    for workers in queues {
        let pods = workers
            .iter()
            .filter_map(|worker| Some((worker.pod_uid.as_deref()?, worker.held)));
        for (pod, here) in pods.collect::<HashMap<_, _>>() {
            *held.entry(pod).or_insert(0) += here;
        }
    }
    held
}

/// The pods of which no worker of ours was heard, and where they are.
fn strangers<'a>(asked: &'a MarkPods, held: &HashMap<&str, u64>) -> Vec<(&'a str, IpAddr)> {
    let addresses = asked.addresses.iter();
    addresses
        .map(|(pod, address)| (pod.as_str(), address.to_canonical()))
        .filter(|(pod, _)| !held.contains_key(pod))
        .collect()
}

/// Those whose worker has taken a job and is not back for the next.
fn at_work(strangers: &[(&str, IpAddr)], connected: &ForeignWorkers) -> HashSet<String> {
    let busy = strangers
        .iter()
        .filter(|(_, address)| connected.busy.contains_key(address));
    busy.map(|(pod, _)| (*pod).to_owned()).collect()
}

/// The pods to mark: those that go first anyway, then the ones that hold least. A pod of which no worker of ours was
/// heard holds nothing that we know of, unless it is seen to be `at_work`.
fn choose(asked: &MarkPods, held: &HashMap<&str, u64>, at_work: &HashSet<String>) -> Vec<String> {
    let held = |pod: &String| held.get(pod.as_str()).copied().unwrap_or(0);
    let mut others: Vec<_> = asked
        .others
        .iter()
        .filter(|pod| asked.mark == Mark::Drain || (held(pod) == 0 && !at_work.contains(*pod)))
        .collect();
    others.sort_by_key(|pod| (held(pod), at_work.contains(*pod)));
    asked
        .first
        .iter()
        .chain(others)
        .take(asked.count)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(pod: &str, held: u64) -> WorkerState {
        WorkerState {
            nonce: pod.to_owned(),
            pod_uid: Some(pod.to_owned()),
            pod_name: None,
            ip: String::new(),
            host: None,
            held,
            mark: None,
            alive_for: Duration::from_secs(10),
        }
    }

    fn asked(count: usize, mark: Mark) -> MarkPods {
        MarkPods {
            count,
            first: vec!["pending".to_owned()],
            others: ["a", "b", "c"].map(str::to_owned).to_vec(),
            addresses: HashMap::new(),
            mark,
        }
    }

    #[test]
    fn pods_that_kubernetes_takes_first_use_up_the_count() {
        let held = HashMap::from([("a", 0), ("b", 0), ("c", 0)]);
        assert_eq!(
            choose(&asked(2, Mark::Quiet), &held, &HashSet::new()),
            ["pending", "a"]
        );
        assert_eq!(
            choose(&asked(1, Mark::Quiet), &held, &HashSet::new()),
            ["pending"]
        );
    }

    #[test]
    fn busy_pods_are_passed_over_unless_they_may_be_drained() {
        let held = HashMap::from([("a", 2), ("b", 1), ("c", 0)]);
        assert_eq!(
            choose(&asked(9, Mark::Quiet), &held, &HashSet::new()),
            ["pending", "c"]
        );
        assert_eq!(
            choose(&asked(3, Mark::Drain), &held, &HashSet::new()),
            ["pending", "c", "b"]
        );
    }

    #[test]
    fn what_a_pod_holds_is_that_of_all_its_queues_and_of_each_once() {
        let queues = [
            // Two workers in one pod.
            vec![worker("a", 2), worker("a", 2), worker("b", 1)],
            vec![worker("a", 0), worker("b", 2)],
        ];
        assert_eq!(held(&queues), HashMap::from([("a", 2), ("b", 3)]));
    }

    #[test]
    fn foreign_worker_that_works_is_spared_and_one_of_ours_is_known_by_what_it_holds() {
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        let mut asked = asked(9, Mark::Quiet);
        asked.addresses = [("a", 1), ("b", 2), ("c", 3), ("pending", 4)]
            .map(|(pod, last)| (pod.to_owned(), address(last)))
            .into();
        let connected = ForeignWorkers {
            busy: [(address(1), 1), (address(2), 1)].into(),
            waiting: [(address(3), vec![3])].into(),
            ..ForeignWorkers::default()
        };
        // Beside the worker of ours in `a` something else uses the same address.
        let held = HashMap::from([("a", 0)]);
        let strangers = strangers(&asked, &held);
        assert_eq!(strangers.len(), 3);
        let at_work = at_work(&strangers, &connected);
        assert_eq!(at_work, HashSet::from(["b".to_owned()]));
        assert_eq!(choose(&asked, &held, &at_work), ["pending", "a", "c"]);
        let all_ours = ["a", "b", "c", "pending"].map(|pod| (pod, 0)).into();
        assert!(super::strangers(&asked, &all_ours).is_empty());
    }
}
