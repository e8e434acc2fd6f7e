//! What holds of the law whatever is asked and seen.

#![allow(clippy::expect_used)]

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use scaling::{
    Behavior, Combine, Decision, Fallback, FallbackBehavior, History, Load, Mode, Observation, Policy,
    QueueState, RateLimit, Reading, Reason, Rules, SelectPolicy, Share, Startup, UNPROVEN_REPLICAS, decide,
};

/// Older than any cooldown here.
const HOUR: Duration = Duration::from_secs(3600);

fn rate_limit() -> impl Strategy<Value = RateLimit> {
    (1_u32..200, 1_u64..1800, any::<bool>()).prop_map(|(value, seconds, percent)| {
        let period = Duration::from_secs(seconds);
        if percent {
            RateLimit::Percent { value, period }
        } else {
            RateLimit::Pods { value, period }
        }
    })
}

fn rules(select: impl Strategy<Value = SelectPolicy>) -> impl Strategy<Value = Rules> {
    let tolerance = prop_oneof![Just(0.0), 0.0_f64..1.0];
    (0_u64..600, tolerance, vec(rate_limit(), 0..3), select).prop_map(
        |(window, tolerance, policies, select_policy)| Rules {
            tolerance,
            stabilization_window: Duration::from_secs(window),
            policies,
            select_policy,
        },
    )
}

fn any_select() -> impl Strategy<Value = SelectPolicy> {
    prop_oneof![
        Just(SelectPolicy::Max),
        Just(SelectPolicy::Min),
        Just(SelectPolicy::Disabled)
    ]
}

/// Rules under which the count still follows in the end.
fn enabled() -> impl Strategy<Value = SelectPolicy> {
    prop_oneof![Just(SelectPolicy::Max), Just(SelectPolicy::Min)]
}

fn fallback() -> impl Strategy<Value = Fallback> {
    let behavior = prop_oneof![
        Just(FallbackBehavior::Static),
        Just(FallbackBehavior::CurrentReplicas),
        Just(FallbackBehavior::CurrentReplicasIfHigher),
        Just(FallbackBehavior::CurrentReplicasIfLower),
    ];
    (1_u32..5, 0_u32..20, behavior).prop_map(|(failure_threshold, replicas, behavior)| Fallback {
        failure_threshold,
        replicas,
        behavior,
    })
}

prop_compose! {
    /// A policy that follows its queue.
    fn following(select: fn() -> BoxedStrategy<SelectPolicy>)(
        bounds in (0_u32..30, 1_u32..60),
        idle in option::of(0_u32..30),
        cooldowns in (0_u64..600, 0_u64..600),
        jobs_per_replica in 1_u32..20,
        target_wait in option::of(1_u64..600),
        concurrency in 1_u32..8,
        activation_threshold in 0_u32..20,
        scale_up in rules(select()),
        scale_down in rules(select()),
        fallback in option::of(fallback()),
    ) -> Policy {
        Policy {
            replicas: None,
            paused: false,
            min_replicas: bounds.0.min(bounds.1),
            max_replicas: bounds.0.max(bounds.1),
            jobs_per_replica: NonZeroU32::new(jobs_per_replica).expect("at least 1"),
            target_wait: target_wait.map(Duration::from_secs),
            concurrency: NonZeroU32::new(concurrency).expect("at least 1"),
            idle_replicas: idle,
            activation_threshold,
            cooldown: Duration::from_secs(cooldowns.0),
            initial_cooldown: Duration::from_secs(cooldowns.1),
            behavior: Behavior { scale_up, scale_down },
            fallback,
        }
    }
}

prop_compose! {
    fn reading()(
        waiting in prop_oneof![0_u64..50, any::<u64>()],
        running in prop_oneof![0_u64..50, any::<u64>()],
        due_retries in 0_u64..50,
        busy_replicas in 0_u32..80,
        seconds_per_job in option::of(prop_oneof![0.001_f64..100.0, any::<f64>()]),
        arrivals_per_second in prop_oneof![0.0_f64..50.0, any::<f64>()],
        seconds_to_start in prop_oneof![Just(0.0), 0.0_f64..600.0, any::<f64>()],
    ) -> Reading {
        Reading { waiting, running, due_retries, busy_replicas, seconds_per_job, arrivals_per_second, seconds_to_start }
    }
}

fn queue() -> impl Strategy<Value = QueueState> {
    prop_oneof![
        4 => reading().prop_map(QueueState::Read),
        1 => (0_u32..6).prop_map(|failures| QueueState::Unreadable { failures }),
    ]
}

prop_compose! {
    fn share()(
        weight in 1_u32..=100,
        waiting in prop_oneof![0_u64..50, any::<u64>()],
        running in prop_oneof![0_u64..50, any::<u64>()],
        due_retries in 0_u64..50,
    ) -> Share {
        Share { weight: NonZeroU32::new(weight).expect("at least 1"), load: Load { waiting, running, due_retries } }
    }
}

/// The count for what these queues say, of a pool that has `current`.
fn count_for(policy: &Policy, combine: Combine, shares: &[Share], current: u32) -> u32 {
    let (load, _) = combine.of(shares);
    let reading = Reading {
        waiting: load.waiting,
        running: load.running,
        due_retries: load.due_retries,
        ..Reading::default()
    };
    Pool::new(current)
        .step(policy, QueueState::Read(reading), Duration::ZERO)
        .replicas
}

/// A pool whose decisions are carried out at once.
struct Pool {
    history: History,
    current: u32,
    now: Instant,
}

impl Pool {
    fn new(current: u32) -> Self {
        Self {
            history: History::starting_at(current),
            current,
            now: Instant::now(),
        }
    }

    fn step(&mut self, policy: &Policy, queue: QueueState, after: Duration) -> Decision {
        self.now += after;
        let decision = decide(
            policy,
            &Observation {
                current: self.current,
                age: HOUR,
                queue,
                startup: Startup::Possible,
            },
            &self.history,
            self.now,
        );
        self.history.record(&decision, self.now);
        if decision.replicas != self.current {
            self.history.scaled(self.current, decision.replicas, self.now);
            self.current = decision.replicas;
        }
        decision
    }

    /// A pool with some past under this policy.
    fn after(current: u32, policy: &Policy, past: &[(QueueState, u64)]) -> Self {
        let mut pool = Self::new(current);
        for (queue, seconds) in past {
            pool.step(policy, *queue, Duration::from_secs(*seconds));
        }
        pool
    }
}

/// The count of a pool without work.
fn resting_count(policy: &Policy) -> u32 {
    policy
        .idle_replicas
        .map_or(policy.min_replicas, |idle| idle.min(policy.min_replicas))
}

fn past() -> impl Strategy<Value = Vec<(QueueState, u64)>> {
    vec((queue(), 0_u64..120), 0..12)
}

proptest! {
    // A failure prints its smallest input, which then becomes a worked example; no files of seeds.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pool_that_follows_its_queue_is_within_its_bounds_unless_running_jobs_hold_it(
        policy in following(|| any_select().boxed()), current in 0_u32..80, past in past(), reading in reading(),
    ) {
        let mut pool = Pool::after(current, &policy, &past);
        let decision = pool.step(&policy, QueueState::Read(reading), Duration::from_secs(1));
        prop_assert!((resting_count(&policy)..=policy.max_replicas).contains(&decision.desired));
        prop_assert!(decision.desired >= policy.min_replicas || !decision.working);
        prop_assert!(decision.replicas == decision.desired || decision.reason == Reason::BusyWorkers);
    }

    #[test]
    fn unproven_template_limits_count_and_nothing_else(
        policy in following(|| any_select().boxed()), current in 0_u32..80, past in past(), queue in queue(), keep in 0_u32..80,
    ) {
        let pool = Pool::after(current, &policy, &past);
        let with = |startup| {
            decide(&policy, &Observation { current: pool.current, age: HOUR, queue, startup }, &pool.history, pool.now)
        };
        let (free, limited) = (with(Startup::Possible), with(Startup::Failing { keep }));
        let limit = policy.min_replicas.max(UNPROVEN_REPLICAS).max(keep);
        let blind = matches!(free.reason, Reason::NotReadYet | Reason::QueueUnreadable);
        prop_assert_eq!(limited.desired, if blind { free.desired } else { free.desired.min(limit) });
        prop_assert_eq!((limited.raw, limited.recommended), (free.raw, if blind || free.mode == Mode::Queue { free.recommended } else { limited.desired }));
        prop_assert!(limited.replicas <= free.replicas);
    }

    #[test]
    fn more_demand_never_means_fewer_replicas(
        policy in following(|| any_select().boxed()), current in 0_u32..80, past in past(), less in reading(),
        more in (0_u64..50, 0_u64..50, 0_u64..50),
    ) {
        let greater = Reading {
            waiting: less.waiting.saturating_add(more.0),
            running: less.running.saturating_add(more.1),
            due_retries: less.due_retries.saturating_add(more.2),
            ..less
        };
        let pool = Pool::after(current, &policy, &past);
        let at = |reading| {
            decide(&policy, &Observation { current: pool.current, age: HOUR, queue: QueueState::Read(reading), startup: Startup::Possible }, &pool.history, pool.now)
        };
        prop_assert!(at(less).replicas <= at(greater).replicas);
    }

    #[test]
    fn constant_demand_moves_the_count_in_one_direction_only(
        policy in following(|| any_select().boxed()), current in 0_u32..80, reading in reading(),
        steps in vec(0_u64..90, 1..40),
    ) {
        let reading = Reading { busy_replicas: 0, ..reading };
        let mut pool = Pool::new(current);
        let mut counts = vec![pool.current];
        for seconds in steps {
            counts.push(pool.step(&policy, QueueState::Read(reading), Duration::from_secs(seconds)).replicas);
        }
        prop_assert!(counts.is_sorted() || counts.iter().rev().is_sorted(), "{counts:?}");
    }

    #[test]
    fn an_idle_pool_without_rate_limits_rests_once_window_and_cooldown_have_passed(
        mut policy in following(|| enabled().boxed()), current in 0_u32..80, past in past(),
    ) {
        policy.behavior.scale_up.policies.clear();
        policy.behavior.scale_down.policies.clear();
        policy.behavior.scale_up.stabilization_window = Duration::ZERO;
        let idle = QueueState::Read(Reading::default());
        let mut pool = Pool::after(current, &policy, &past);
        pool.step(&policy, idle, Duration::ZERO);
        let both = policy.behavior.scale_down.stabilization_window.max(policy.cooldown);
        let decision = pool.step(&policy, idle, both);
        prop_assert_eq!(decision.replicas, resting_count(&policy));
    }

    #[test]
    fn a_limited_pool_reaches_its_wish_by_looking_again_when_told_to(
        policy in following(|| enabled().boxed()), current in 0_u32..80, past in past(),
    ) {
        let idle = QueueState::Read(Reading::default());
        let mut pool = Pool::after(current, &policy, &past);
        // One replica a period at worst, and a window.
        for _ in 0..300 {
            let decision = pool.step(&policy, idle, Duration::ZERO);
            match decision.not_before {
                Some(again) => {
                    prop_assert!(again > pool.now, "{decision:?}");
                    pool.now = again;
                }
                None => break,
            }
        }
        prop_assert_eq!(pool.current, resting_count(&policy));
    }

    #[test]
    fn a_pin_beats_the_queue_in_every_case_but_never_the_running_jobs(
        policy in following(|| any_select().boxed()), pin in 0_u32..80, current in 0_u32..80, past in past(),
        reading in reading(),
    ) {
        let pinned = Policy { replicas: Some(pin), ..policy.clone() };
        let mut pool = Pool::after(current, &policy, &past);
        let before = pool.current;
        let decision = pool.step(&pinned, QueueState::Read(reading), Duration::from_secs(1));
        prop_assert_eq!(decision.desired, pin);
        prop_assert_eq!(decision.replicas, pin.max(reading.busy_replicas.min(before)));
    }

    #[test]
    fn no_replica_with_a_job_is_ever_taken_away(
        mut policy in following(|| any_select().boxed()), pin in option::of(0_u32..80), current in 0_u32..80,
        past in past(), reading in reading(),
    ) {
        let mut pool = Pool::after(current, &policy, &past);
        let before = pool.current;
        policy.replicas = pin;
        let decision = pool.step(&policy, QueueState::Read(reading), Duration::from_secs(1));
        prop_assert!(decision.replicas >= before.min(reading.busy_replicas));
    }

    #[test]
    fn a_paused_pool_changes_nothing(
        policy in following(|| any_select().boxed()), pin in option::of(0_u32..80), current in 0_u32..80, queue in queue(),
    ) {
        let paused = Policy { paused: true, replicas: pin, ..policy };
        prop_assert_eq!(Pool::new(current).step(&paused, queue, Duration::ZERO).replicas, current);
    }

    #[test]
    fn a_pool_that_cannot_see_never_shrinks_unless_its_fallback_says_so_by_name(
        policy in following(|| any_select().boxed()), current in 0_u32..80, past in past(), failures in 0_u32..10,
    ) {
        let mut pool = Pool::after(current, &policy, &past);
        let before = pool.current;
        let decision = pool.step(&policy, QueueState::Unreadable { failures }, Duration::from_secs(1));
        let may_shrink = policy.fallback.is_some_and(|fallback| {
            matches!(fallback.behavior, FallbackBehavior::Static | FallbackBehavior::CurrentReplicasIfLower)
                && failures >= fallback.failure_threshold
        });
        prop_assert!(may_shrink || decision.replicas >= before);
    }

    #[test]
    fn a_pool_that_sees_some_of_its_queues_never_shrinks_and_rises_as_if_the_others_were_empty(
        mut policy in following(|| any_select().boxed()), current in 0_u32..80, past in past(), reading in reading(),
        failures in 0_u32..10,
    ) {
        policy.fallback = None;
        let pool = Pool::after(current, &policy, &past);
        let at = |queue| {
            decide(&policy, &Observation { current: pool.current, age: HOUR, queue, startup: Startup::Possible }, &pool.history, pool.now).replicas
        };
        let partly = at(QueueState::Partly { reading, failures });
        prop_assert_eq!(partly, at(QueueState::Read(reading)).max(pool.current));
    }

    #[test]
    fn one_queue_of_weight_one_is_taken_at_its_word(share in share(), maximum in any::<bool>()) {
        let share = Share { weight: NonZeroU32::MIN, ..share };
        let combine = if maximum { Combine::Max } else { Combine::Sum };
        // Numbers that no u64 can add up are no queue's.
        prop_assume!(share.load.demand() < u64::MAX);
        prop_assert_eq!(combine.of(&[share]).0, share.load);
    }

    #[test]
    fn the_sum_of_several_queues_is_at_least_the_highest_and_that_at_least_each(shares in vec(share(), 1..8)) {
        let (sum, highest) = (Combine::Sum.of(&shares).0, Combine::Max.of(&shares).0);
        prop_assert!(sum.demand() >= highest.demand());
        for share in &shares {
            prop_assert!(highest.demand() >= share.load.demand());
            prop_assert!(highest.running >= share.load.running);
        }
    }

    #[test]
    fn the_queue_that_decides_is_the_one_with_most(shares in vec(share(), 0..8)) {
        let (load, decides) = Combine::Max.of(&shares);
        match decides {
            Some(place) => prop_assert_eq!(Combine::Max.of(&shares[place..=place]).0.demand(), load.demand()),
            None => prop_assert_eq!(load.demand(), 0),
        }
    }

    #[test]
    fn more_jobs_in_any_queue_never_mean_fewer_replicas(
        policy in following(|| any_select().boxed()), shares in vec(share(), 1..8), which in any::<prop::sample::Index>(),
        more in (0_u64..50, 0_u64..50, 0_u64..50), maximum in any::<bool>(), current in 0_u32..80,
    ) {
        let combine = if maximum { Combine::Max } else { Combine::Sum };
        let mut greater = shares.clone();
        let load = &mut greater[which.index(shares.len())].load;
        load.waiting = load.waiting.saturating_add(more.0);
        load.running = load.running.saturating_add(more.1);
        load.due_retries = load.due_retries.saturating_add(more.2);
        prop_assert!(count_for(&policy, combine, &shares, current) <= count_for(&policy, combine, &greater, current));
    }

    #[test]
    fn a_restart_by_itself_lowers_no_count_before_the_window_has_passed(
        policy in following(|| any_select().boxed()), current in 0_u32..80, reading in reading(), seconds in 0_u64..600,
    ) {
        let current = policy.min_replicas + current % (policy.max_replicas - policy.min_replicas + 1);
        let window = policy.behavior.scale_down.stabilization_window.as_secs();
        prop_assume!(window > 0);
        let seconds = seconds % window;
        let mut pool = Pool::new(current);
        pool.step(&policy, QueueState::Read(reading), Duration::ZERO);
        let decision = pool.step(&policy, QueueState::Read(reading), Duration::from_secs(seconds));
        prop_assert!(decision.replicas >= current);
    }

    #[test]
    fn the_window_is_what_a_search_through_all_that_was_recommended_finds(
        window in 1_u64..200, wishes in vec((0_u64..60, 0_u64..60), 1..60),
    ) {
        let mut policy = Policy { max_replicas: 100, jobs_per_replica: NonZeroU32::MIN, ..Policy::default() };
        policy.behavior.scale_down.stabilization_window = Duration::from_secs(window);
        let mut pool = Pool::new(0);
        // (value, from, until) in seconds since the start.
        let mut log: Vec<(u32, u64, u64)> = Vec::new();
        let mut second = 0;
        for (waiting, after) in wishes {
            second += after;
            if let Some(last) = log.last_mut() {
                last.2 = second;
            }
            let wish = u32::try_from(waiting).expect("small");
            let reading = Reading { waiting, ..Reading::default() };
            let decision = pool.step(&policy, QueueState::Read(reading), Duration::from_secs(after));
            let expected = log
                .iter()
                .filter(|(_, _, until)| second < until + window)
                .map(|(value, ..)| *value)
                .fold(wish, u32::max);
            prop_assert_eq!(decision.replicas, expected);
            log.push((wish, second, second));
        }
    }
}
