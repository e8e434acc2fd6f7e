use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::super::{
    LookPacer, PodCounts, PodsTracker, Readiness, Report, Trouble,
    tracker::{Earlier, Step},
};

const GENERATION: Option<i64> = Some(1);

fn report(trouble: Trouble) -> Report {
    Report {
        trouble,
        affected: 2,
        pod: None,
        message: String::new(),
        template: None,
        starting_for: None,
        is_partial: false,
    }
}

/// One pool, its clock, and what each look finds.
struct Pool {
    tracker: PodsTracker,
    pacer: LookPacer,
    start: Instant,
    counts: PodCounts,
    finds: Report,
}

impl Pool {
    fn new(trouble: Trouble) -> Self {
        Self {
            tracker: PodsTracker::default(),
            pacer: LookPacer::default(),
            start: Instant::now(),
            counts: counts(0),
            finds: report(trouble),
        }
    }

    fn at(&self, second: f64) -> Instant {
        self.start + Duration::from_secs_f64(second)
    }

    /// Reconciles; a look is answered at once.
    fn reconcile(&mut self, second: f64) -> Step {
        let now = self.at(second);
        self.tracker.observe(self.counts, GENERATION, now, || None);
        let step = self.tracker.step(&self.pacer, now);
        if step == Step::Look {
            let (sender, result) = oneshot::channel();
            sender.send(Some((self.finds.clone(), None))).unwrap();
            self.tracker.begun(result);
            self.tracker.step(&self.pacer, now);
        }
        step
    }

    /// Reconciles whenever it is asked to, and answers the seconds of the looks.
    fn looks_until(&mut self, second: f64) -> Vec<u64> {
        let (mut now, mut looks) = (0.0, Vec::new());
        while now <= second {
            let step = self.reconcile(now);
            if step == Step::Look {
                looks.push(now as u64);
            }
            now += match step {
                Step::Look => 0.1,
                Step::Wait(wait) => wait.as_secs_f64() + 0.001,
                Step::Rest => break,
            };
        }
        looks
    }

    fn failing(&self, second: f64) -> Option<(Trouble, u64, bool)> {
        match self.tracker.readiness(self.at(second)) {
            Readiness::Failing {
                trouble,
                lasted,
                none_ready,
                ..
            } => Some((trouble, lasted.as_secs(), none_ready)),
            _ => None,
        }
    }
}

/// Of four pods.
fn counts(ready: u32) -> PodCounts {
    PodCounts { asked: 4, ready }
}

#[test]
fn pods_are_looked_at_after_15_s_and_then_at_growing_intervals() {
    let mut pool = Pool::new(Trouble::ImagePullFailed);
    assert_eq!(
        pool.looks_until(1400.0),
        [15, 30, 60, 120, 240, 480, 780, 1080, 1380]
    );
}

#[test]
fn ready_pods_are_never_looked_at() {
    let mut pool = Pool::new(Trouble::ImagePullFailed);
    pool.counts = counts(4);
    assert_eq!(pool.reconcile(0.0), Step::Rest);
    pool.counts = counts(3);
    assert_eq!(pool.reconcile(10.0), Step::Wait(Duration::from_secs(15)));
    pool.counts = counts(4);
    assert_eq!(pool.reconcile(24.0), Step::Wait(Duration::from_secs(10)));
    assert_eq!(pool.tracker.readiness(pool.at(24.0)), Readiness::AllReady);
    assert_eq!(pool.reconcile(34.0), Step::Rest);
    pool.counts = PodCounts::default();
    assert_eq!(pool.reconcile(100.0), Step::Rest);
    assert_eq!(pool.tracker.readiness(pool.at(100.0)), Readiness::AllReady);
}

#[test]
fn trouble_is_known_from_the_look_on_and_lasts_as_at_that_look() {
    let mut pool = Pool::new(Trouble::ImagePullFailed);
    pool.reconcile(0.0);
    assert_eq!(pool.tracker.readiness(pool.at(14.0)), Readiness::Starting(None));
    assert_eq!(pool.reconcile(15.0), Step::Look);
    assert_eq!(pool.tracker.trouble(), Some(Trouble::ImagePullFailed));
    for second in [15.0, 29.0] {
        assert_eq!(pool.failing(second), Some((Trouble::ImagePullFailed, 15, true)));
    }
}

#[test]
fn pods_that_only_start_are_not_ready_after_a_minute() {
    let mut pool = Pool::new(Trouble::Starting);
    assert_eq!(pool.looks_until(61.0), [15, 30, 60]);
    assert_eq!(pool.failing(59.0), None);
    assert_eq!(pool.failing(61.0), Some((Trouble::Starting, 60, true)));
}

#[test]
fn pool_that_keeps_growing_is_not_late_while_other_pods_start() {
    let mut pool = Pool::new(Trouble::Starting);
    pool.finds.starting_for = Some(Duration::from_secs(3));
    pool.counts = counts(3);
    // A look confirms that a pod has been starting for a minute.
    assert_eq!(pool.looks_until(200.0), [15, 30, 60, 117, 174]);
    pool.finds.starting_for = Some(Duration::from_secs(60));
    assert_eq!(pool.reconcile(231.5), Step::Look);
    assert_eq!(pool.failing(231.5), Some((Trouble::Starting, 231, false)));

    let mut pool = Pool::new(Trouble::Starting);
    pool.finds.starting_for = Some(Duration::from_secs(3));
    pool.looks_until(200.0);
    // That look is late where others have the slots.
    let taken: Vec<_> = (0..1000).map(|_| pool.pacer.reserve_known(pool.start)).collect();
    assert!(matches!(pool.reconcile(231.5), Step::Wait(_)));
    assert_eq!(pool.failing(231.5), None);
    drop(taken);
}

#[test]
fn status_of_the_same_operator_does_not_prolong_a_start() {
    let mut pool = Pool::new(Trouble::Starting);
    pool.counts = counts(4);
    pool.reconcile(0.0);
    pool.counts = counts(3);
    let (now, counts) = (pool.at(1.0), pool.counts);
    pool.tracker.observe(counts, GENERATION, now, || {
        panic!("it was written by this operator")
    });
    assert_eq!(
        pool.tracker.step(&pool.pacer, now),
        Step::Wait(Duration::from_secs(15))
    );
}

#[test]
fn pool_without_a_look_yet_is_woken_when_its_minute_is_over() {
    let mut pool = Pool::new(Trouble::Starting);
    // Others have the slots of the next minutes.
    let taken: Vec<_> = (0..1000).map(|_| pool.pacer.reserve_new(pool.start)).collect();
    pool.reconcile(0.0);
    assert_eq!(pool.reconcile(20.0), Step::Wait(Duration::from_secs(40)));
    assert_eq!(pool.failing(60.0), Some((Trouble::Starting, 60, true)));
    drop(taken);
}

#[test]
fn trouble_ends_when_all_have_been_ready_for_10_s() {
    let mut pool = Pool::new(Trouble::CrashLooping);
    pool.reconcile(0.0);
    pool.reconcile(15.0);
    // All are ready for a moment.
    pool.counts = counts(4);
    assert_eq!(pool.reconcile(20.0), Step::Wait(Duration::from_secs(10)));
    let as_before = Readiness::AsBefore { none_ready: true };
    assert_eq!(pool.tracker.readiness(pool.at(20.0)), as_before);
    pool.counts = counts(0);
    pool.reconcile(28.0);
    assert_eq!(
        pool.failing(28.0).map(|(trouble, ..)| trouble),
        Some(Trouble::CrashLooping)
    );
    pool.counts = counts(4);
    pool.reconcile(40.0);
    pool.reconcile(49.0);
    assert_eq!(pool.tracker.trouble(), Some(Trouble::CrashLooping));
    assert_eq!(pool.reconcile(50.0), Step::Rest);
    assert_eq!(pool.tracker.trouble(), None);
}

#[test]
fn moments_of_readiness_do_not_delay_first_look() {
    let mut pool = Pool::new(Trouble::CrashLooping);
    pool.reconcile(0.0);
    pool.counts = counts(4);
    pool.reconcile(9.0);
    assert_eq!(pool.tracker.readiness(pool.at(9.0)), Readiness::AllReady);
    pool.counts = counts(0);
    assert_eq!(pool.reconcile(10.0), Step::Wait(Duration::from_secs(5)));
    assert_eq!(pool.reconcile(15.0), Step::Look);
    assert_eq!(pool.failing(15.0), Some((Trouble::CrashLooping, 15, true)));
}

#[test]
fn pool_that_was_ready_meanwhile_has_another_minute_to_start() {
    let mut pool = Pool::new(Trouble::Starting);
    pool.reconcile(0.0);
    pool.counts = counts(4);
    pool.reconcile(9.0);
    pool.counts = counts(3);
    pool.reconcile(10.0);
    assert_eq!(pool.failing(69.0), None);
    assert_eq!(pool.failing(70.0), Some((Trouble::Starting, 60, false)));
}

#[test]
fn one_pod_that_is_ready_for_a_moment_does_not_make_the_pool_ready() {
    let mut pool = Pool::new(Trouble::OOMKilled);
    pool.reconcile(0.0);
    pool.reconcile(15.0);
    pool.counts = counts(1);
    pool.reconcile(16.0);
    assert_eq!(pool.failing(16.0), Some((Trouble::OOMKilled, 15, true)));
    // It is woken for that.
    assert_eq!(pool.reconcile(17.0), Step::Wait(Duration::from_secs(9)));
    pool.reconcile(26.0);
    assert_eq!(pool.failing(26.0), Some((Trouble::OOMKilled, 15, false)));
}

#[test]
fn trouble_ends_at_once_when_no_pods_are_asked_for() {
    let mut pool = Pool::new(Trouble::ImagePullFailed);
    pool.reconcile(0.0);
    pool.reconcile(15.0);
    pool.counts = PodCounts::default();
    assert_eq!(pool.reconcile(16.0), Step::Rest);
    assert_eq!(pool.tracker.trouble(), None);
}

#[test]
fn edit_of_the_pool_is_followed_by_a_look_that_may_end_the_trouble() {
    let mut pool = Pool::new(Trouble::ImagePullFailed);
    pool.looks_until(100.0);
    let observe = |pool: &mut Pool, second: f64| {
        let now = pool.at(second);
        let counts = pool.counts;
        pool.tracker.observe(counts, Some(2), now, || {
            panic!("the status is of the last generation")
        });
        pool.tracker.step(&pool.pacer, now)
    };
    assert_eq!(observe(&mut pool, 101.0), Step::Wait(Duration::from_secs(15)));
    assert_eq!(
        pool.failing(101.0).map(|(trouble, ..)| trouble),
        Some(Trouble::ImagePullFailed)
    );
    assert_eq!(observe(&mut pool, 116.0), Step::Look);
    let (sender, result) = oneshot::channel();
    sender.send(Some((report(Trouble::Starting), None))).unwrap();
    pool.tracker.begun(result);
    observe(&mut pool, 117.0);
    // Its pods have a minute to start, as those of a new pool.
    assert_eq!(pool.failing(176.0), None);
    pool.counts = counts(4);
    assert_eq!(observe(&mut pool, 176.0), Step::Wait(Duration::from_secs(10)));
    assert_eq!(observe(&mut pool, 186.0), Step::Rest);
}

#[test]
fn pool_that_loses_its_last_ready_pod_is_looked_at_soon() {
    let mut pool = Pool::new(Trouble::Unschedulable);
    pool.counts = counts(3);
    assert_eq!(pool.looks_until(500.0), [15, 30, 60, 120, 240, 480]);
    pool.counts = counts(0);
    assert_eq!(pool.reconcile(501.0), Step::Wait(Duration::from_secs(15)));
}

#[test]
fn restart_keeps_what_the_status_says_until_the_first_look() {
    let mut pool = Pool::new(Trouble::CrashLooping);
    let earlier = Earlier {
        trouble: Some(Trouble::ImagePullFailed),
        lasted: Duration::from_secs(600),
    };
    let mut pool_at = |second: f64| {
        let now = pool.at(second);
        pool.tracker
            .observe(pool.counts, GENERATION, now, || Some(earlier));
        pool.tracker.step(&pool.pacer, now)
    };
    assert_eq!(pool_at(0.0), Step::Look);
    assert_eq!(pool.tracker.trouble(), Some(Trouble::ImagePullFailed));
    let as_before = Readiness::AsBefore { none_ready: true };
    assert_eq!(pool.tracker.readiness(pool.at(1.0)), as_before);
    let (sender, result) = oneshot::channel();
    pool.tracker.begun(result);
    sender.send(Some((pool.finds.clone(), None))).unwrap();
    pool.tracker.step(&pool.pacer, pool.at(2.0));
    assert_eq!(pool.failing(2.0), Some((Trouble::CrashLooping, 602, true)));
}

#[test]
fn look_that_fails_is_made_again_later_and_takes_nothing_back() {
    let mut pool = Pool::new(Trouble::ImagePullFailed);
    pool.reconcile(0.0);
    pool.reconcile(15.0);
    let now = pool.at(30.0);
    assert_eq!(pool.tracker.step(&pool.pacer, now), Step::Look);
    let (sender, result) = oneshot::channel();
    pool.tracker.begun(result);
    assert_eq!(
        pool.tracker.step(&pool.pacer, now),
        Step::Wait(Duration::from_millis(100))
    );
    // As a panic does.
    drop(sender);
    assert_eq!(
        pool.tracker.step(&pool.pacer, now),
        Step::Wait(Duration::from_secs(30))
    );
    assert_eq!(pool.tracker.trouble(), Some(Trouble::ImagePullFailed));
}

#[test]
fn pods_of_a_large_workload_are_looked_at_page_by_page() {
    let mut pool = Pool::new(Trouble::ImagePullFailed);
    let mut look = |second: f64, trouble, next_page: Option<&str>| {
        let now = pool.at(second);
        pool.tracker.observe(pool.counts, GENERATION, now, || None);
        if pool.tracker.step(&pool.pacer, now) != Step::Look {
            return (None, None);
        }
        let (sender, result) = oneshot::channel();
        pool.tracker.begun(result);
        let report = Report {
            is_partial: true,
            ..report(trouble)
        };
        sender.send(Some((report, next_page.map(str::to_owned)))).unwrap();
        pool.tracker.step(&pool.pacer, now);
        (pool.tracker.trouble(), pool.tracker.next_page())
    };
    look(0.0, Trouble::Starting, None);
    let (starting, failing) = (Some(Trouble::Starting), Some(Trouble::CrashLooping));
    assert_eq!(
        look(15.0, Trouble::Starting, Some("2")),
        (starting, Some("2".to_owned()))
    );
    assert_eq!(look(30.0, Trouble::CrashLooping, Some("3")), (failing, None));
    // The first page does not know what the second has.
    assert_eq!(
        look(60.0, Trouble::Starting, Some("2")),
        (failing, Some("2".to_owned()))
    );
}

/// Pools that are reconciled when they ask for it, and the times of their looks.
struct Fleet {
    pacer: LookPacer,
    start: Instant,
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    trackers: Vec<PodsTracker>,
    looks: Vec<(Instant, usize)>,
    reconciles: usize,
}

impl Fleet {
    fn of(pools: usize) -> Self {
        let start = Instant::now();
        Self {
            pacer: LookPacer::default(),
            start,
            due: (0..pools).map(|pool| Reverse((start, pool))).collect(),
            trackers: (0..pools).map(|_| PodsTracker::default()).collect(),
            looks: Vec::new(),
            reconciles: 0,
        }
    }

    /// All pods are away; `lasted`: of pools whose status said so before.
    fn run_for(&mut self, seconds: u64, lasted: impl Fn(usize) -> Option<Duration>) {
        let end = self.start + Duration::from_secs(seconds);
        while let Some(Reverse((now, pool))) = self.due.pop() {
            if now > end {
                self.due.push(Reverse((now, pool)));
                return;
            }
            let tracker = &mut self.trackers[pool];
            self.reconciles += 1;
            tracker.observe(counts(0), GENERATION, now, || {
                let trouble = Some(Trouble::ImagePullFailed);
                lasted(pool).map(|lasted| Earlier { trouble, lasted })
            });
            let wait = match tracker.step(&self.pacer, now) {
                Step::Look => {
                    self.looks.push((now, pool));
                    let (sender, result) = oneshot::channel();
                    sender
                        .send(Some((report(Trouble::ImagePullFailed), None)))
                        .unwrap();
                    tracker.begun(result);
                    Duration::from_millis(100)
                }
                Step::Wait(wait) => wait,
                Step::Rest => panic!("its pods are away"),
            };
            self.due.push(Reverse((now + wait, pool)));
        }
    }

    fn most_looks_in_a_second(&self) -> usize {
        let (mut window, mut most) = (VecDeque::new(), 0);
        for (at, _) in &self.looks {
            while window
                .front()
                .is_some_and(|first| *at - *first >= Duration::from_secs(1))
            {
                window.pop_front();
            }
            window.push_back(*at);
            most = most.max(window.len());
        }
        most
    }
}

#[test]
fn ten_thousand_unready_pools_are_looked_at_five_times_a_second() {
    let mut fleet = Fleet::of(10_000);
    fleet.run_for(3600, |_| None);
    assert_eq!(fleet.most_looks_in_a_second(), 5);
    // The first look of each pool comes, and none is woken in vain for it.
    let looked: std::collections::BTreeSet<_> = fleet.looks.iter().map(|(_, pool)| pool).collect();
    assert_eq!(looked.len(), 10_000);
    assert!(fleet.reconciles < 10 * 10_000, "{}", fleet.reconciles);
}

#[test]
fn pool_that_becomes_unready_does_not_wait_for_those_long_known() {
    let mut fleet = Fleet::of(10_000);
    let last = 9_999;
    fleet.run_for(120, |pool| (pool != last).then_some(Duration::from_secs(3600)));
    assert_eq!(fleet.most_looks_in_a_second(), 2);
    let looks = fleet.looks.iter().filter(|(_, pool)| *pool == last);
    let seconds: Vec<_> = looks.map(|(at, _)| (*at - fleet.start).as_secs()).collect();
    assert_eq!(seconds, [15, 30]);
}

#[test]
fn slots_of_pools_that_are_cured_go_to_others() {
    let mut fleet = Fleet::of(1_000);
    fleet.run_for(20, |_| None);
    let now = fleet.start + Duration::from_secs(20);
    for tracker in &mut fleet.trackers {
        tracker.observe(counts(4), GENERATION, now, || None);
    }
    let next = fleet.pacer.reserve_new(now);
    assert!(
        next.at() - now <= Duration::from_millis(250),
        "{:?}",
        next.at() - now
    );
}
