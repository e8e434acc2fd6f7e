//! The worked examples of docs/scaling.md, each checked by hand there.

#![allow(clippy::expect_used)]

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use scaling::{
    Behavior, Combine, Decision, Fallback, FallbackBehavior, History, Load, Observation, Policy, QueueState,
    RateLimit, Reading, Reason, SelectPolicy, Share, Startup, decide,
};

/// One decision of a pool that has had `current` replicas for long: what it sees, and what comes out.
struct Example {
    name: &'static str,
    policy: Policy,
    current: u32,
    queue: QueueState,
    replicas: u32,
    reason: Reason,
}

fn jobs(waiting: u64, running: u64, busy_replicas: u32) -> QueueState {
    QueueState::Read(Reading {
        waiting,
        running,
        busy_replicas,
        ..Reading::default()
    })
}

/// Older than any cooldown here.
const HOUR: Duration = Duration::from_secs(3600);

fn measured(waiting: u64, running: u64, seconds_per_job: f64, arrivals_per_second: f64) -> QueueState {
    QueueState::Read(Reading {
        waiting,
        running,
        seconds_per_job: Some(seconds_per_job),
        arrivals_per_second,
        ..Reading::default()
    })
}

fn slowly_started(waiting: u64, seconds_per_job: f64, seconds_to_start: f64) -> QueueState {
    QueueState::Read(Reading {
        waiting,
        seconds_per_job: Some(seconds_per_job),
        seconds_to_start,
        ..Reading::default()
    })
}

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("not zero")
}

/// 0 to 10 replicas, 5 jobs each, down without a window, so that each row stands for itself.
fn at_once() -> Policy {
    let mut policy = Policy::default();
    policy.behavior.scale_down.stabilization_window = Duration::ZERO;
    policy
}

fn resting(activation_threshold: u32) -> Policy {
    Policy {
        min_replicas: 3,
        idle_replicas: Some(1),
        activation_threshold,
        ..at_once()
    }
}

fn tolerant() -> Policy {
    let mut policy = Policy {
        max_replicas: 100,
        ..at_once()
    };
    policy.behavior.scale_up.tolerance = 0.1;
    policy.behavior.scale_down.tolerance = 0.1;
    policy
}

fn wait_at_most(seconds: u64) -> Policy {
    Policy {
        target_wait: Some(Duration::from_secs(seconds)),
        max_replicas: 100,
        ..at_once()
    }
}

fn falling_back(behavior: FallbackBehavior) -> Policy {
    Policy {
        fallback: Some(Fallback {
            failure_threshold: 3,
            replicas: 2,
            behavior,
        }),
        ..at_once()
    }
}

fn slowly_up(select_policy: SelectPolicy) -> Policy {
    let mut policy = Policy {
        max_replicas: 100,
        ..at_once()
    };
    policy.behavior.scale_up.select_policy = select_policy;
    policy.behavior.scale_up.policies = vec![
        RateLimit::Pods {
            value: 4,
            period: Duration::from_secs(15),
        },
        RateLimit::Percent {
            value: 100,
            period: Duration::from_secs(15),
        },
    ];
    policy
}

fn doubling() -> Policy {
    let mut policy = at_once();
    policy.behavior.scale_up.policies = vec![RateLimit::Percent {
        value: 100,
        period: Duration::from_secs(15),
    }];
    policy
}

fn slowly_down(select_policy: SelectPolicy) -> Policy {
    let mut policy = Policy {
        max_replicas: 100,
        ..at_once()
    };
    policy.behavior.scale_down.select_policy = select_policy;
    policy.behavior.scale_down.policies = vec![
        RateLimit::Pods {
            value: 4,
            period: Duration::from_secs(60),
        },
        RateLimit::Percent {
            value: 10,
            period: Duration::from_secs(60),
        },
    ];
    policy
}

#[rustfmt::skip]
fn examples() -> Vec<Example> {
    use FallbackBehavior::{CurrentReplicas, CurrentReplicasIfHigher, CurrentReplicasIfLower, Static};
    let row = |name, policy, current, queue, replicas, reason| Example { name, policy, current, queue, replicas, reason };
    let lost = |failures| QueueState::Unreadable { failures };
    vec![
        // Demand over jobsPerReplica.
        row("nothing to do, nobody there",           at_once(), 0, jobs(0, 0, 0),    0, Reason::JobsPerReplica),
        row("one job: ceil(1/5) = 1",                at_once(), 0, jobs(1, 0, 0),    1, Reason::JobsPerReplica),
        row("eleven jobs: ceil(11/5) = 3",           at_once(), 0, jobs(11, 0, 0),   3, Reason::JobsPerReplica),
        row("running jobs count: ceil((6+5)/5) = 3", at_once(), 1, jobs(6, 5, 1),    3, Reason::JobsPerReplica),
        row("a thousand jobs: max",                  at_once(), 0, jobs(1000, 0, 0), 10, Reason::MaxReplicas),
        row("idle: min",    Policy { min_replicas: 2, ..at_once() }, 5, jobs(0, 0, 0), 2, Reason::MinReplicas),
        row("due retries are work: ceil(6/5) = 2", at_once(), 0,
            QueueState::Read(Reading { due_retries: 6, ..Reading::default() }), 2, Reason::JobsPerReplica),

        // Running jobs are spared.
        row("7 of 8 idle: down to the busy one",     at_once(), 8, jobs(0, 1, 1),    1, Reason::JobsPerReplica),
        row("8 busy, an empty list: all stay",       at_once(), 8, jobs(0, 8, 8),    8, Reason::BusyWorkers),
        row("max lowered under busy ones", Policy { max_replicas: 3, ..at_once() }, 8, jobs(0, 6, 6), 6, Reason::BusyWorkers),
        row("a pin spares them too", Policy { replicas: Some(0), ..at_once() }, 4, jobs(0, 3, 3), 3, Reason::BusyWorkers),

        // Activation.
        row("ten wait, threshold 10: stay at 0", Policy { activation_threshold: 10, ..at_once() }, 0, jobs(10, 0, 0), 0, Reason::BelowActivation),
        row("eleven wait: ceil(11/5) = 3",       Policy { activation_threshold: 10, ..at_once() }, 0, jobs(11, 0, 0), 3, Reason::JobsPerReplica),
        row("awake, one waits: stay awake",      Policy { activation_threshold: 10, ..at_once() }, 1, jobs(1, 0, 0), 1, Reason::JobsPerReplica),

        // Three replicas while there is work, one while there is none; more than ten jobs end the rest.
        row("nothing to do: idleReplicas",       resting(10), 5, jobs(0, 0, 0), 1, Reason::IdleReplicas),
        row("ten jobs at rest: stay at 1",       resting(10), 1, jobs(9, 1, 1), 1, Reason::BelowActivation),
        row("eleven at rest: min, 3",            resting(10), 1, jobs(10, 1, 1), 3, Reason::JobsPerReplica),
        row("six, and no threshold: min, 3",     resting(0), 1, jobs(6, 0, 0), 3, Reason::MinReplicas),
        row("awake, one job: min, 3",            resting(10), 5, jobs(1, 0, 0), 3, Reason::MinReplicas),

        // A tolerance of a tenth, 10 replicas for 50 jobs.
        row("55 jobs are 1.1 times 50: stay",    tolerant(), 10, jobs(55, 0, 0), 10, Reason::WithinTolerance),
        row("56 are more: ceil(56/5) = 12",      tolerant(), 10, jobs(56, 0, 0), 12, Reason::JobsPerReplica),
        row("45 are 0.9 times 50: stay",         tolerant(), 10, jobs(45, 0, 0), 10, Reason::WithinTolerance),
        row("44 are fewer: ceil(44/5) = 9",      tolerant(), 10, jobs(44, 0, 0), 9, Reason::JobsPerReplica),
        row("from zero there is no share",       tolerant(), 0, jobs(1, 0, 0), 1, Reason::JobsPerReplica),
        row("and to zero neither",               tolerant(), 1, jobs(0, 0, 0), 0, Reason::JobsPerReplica),

        // targetWaitSeconds 5.
        row("100 wait, 2 s each: 100·2/5 = 40",    wait_at_most(5), 0, measured(100, 0, 2.0, 0.0), 40, Reason::TargetWait),
        row("4 slots each: 100·2/(4·5) = 10", Policy { concurrency: count(4), ..wait_at_most(5) }, 0, measured(100, 0, 2.0, 0.0), 10, Reason::TargetWait),
        row("20/s arrive, 2 s each: 20·2 = 40",  wait_at_most(5), 40, measured(10, 40, 2.0, 20.0), 40, Reason::TargetWait),
        row("replicas start in 3 s: 100·2/(5−3) = 100", wait_at_most(5), 0, slowly_started(100, 2.0, 3.0), 100, Reason::TargetWait),
        row("and never in time: 10·2/(5/4) = 16, but for 10 jobs", wait_at_most(5), 0, slowly_started(10, 2.0, 60.0), 10, Reason::TargetWait),
        row("never more slots than jobs: 3",       wait_at_most(1), 0, measured(3, 0, 60.0, 0.0), 3, Reason::TargetWait),
        row("one runs, nobody waits: 1",        wait_at_most(5), 1, measured(0, 1, 2.0, 0.0), 1, Reason::TargetWait),
        row("not measured yet: ceil(100/5) = 20",  wait_at_most(5), 0, jobs(100, 0, 0), 20, Reason::JobsPerReplica),

        // Rates: 4 replicas or 100 % each 15 s up; 4 replicas or 10 % each 60 s down.
        row("Max, from 3: max(3+4, 3·2) = 7",   slowly_up(SelectPolicy::Max), 3, jobs(500, 0, 0), 7, Reason::ScaleUpLimit),
        row("Max, from 8: max(8+4, 8·2) = 16",  slowly_up(SelectPolicy::Max), 8, jobs(500, 0, 0), 16, Reason::ScaleUpLimit),
        row("Min, from 3: min(3+4, 3·2) = 6",   slowly_up(SelectPolicy::Min), 3, jobs(500, 0, 0), 6, Reason::ScaleUpLimit),
        row("Disabled: stays",             slowly_up(SelectPolicy::Disabled), 3, jobs(500, 0, 0), 3, Reason::ScaleUpDisabled),
        row("Max, from 80: min(76, 72) = 72", slowly_down(SelectPolicy::Max), 80, jobs(0, 0, 0), 72, Reason::ScaleDownLimit),
        row("Min, from 80: max(76, 72) = 76", slowly_down(SelectPolicy::Min), 80, jobs(0, 0, 0), 76, Reason::ScaleDownLimit),
        row("Disabled: stays",           slowly_down(SelectPolicy::Disabled), 80, jobs(0, 0, 0), 80, Reason::ScaleDownDisabled),
        row("100 % of nothing: 1",              doubling(), 0, jobs(500, 0, 0), 1, Reason::ScaleUpLimit),

        // A person, or nobody, decides.
        row("pinned over max",  Policy { replicas: Some(20), ..at_once() }, 3, jobs(0, 0, 0), 20, Reason::Pinned),
        row("pinned at 0",      Policy { replicas: Some(0), ..at_once() }, 3, jobs(99, 0, 0), 0, Reason::Pinned),
        row("paused",           Policy { paused: true, ..at_once() }, 3, jobs(99, 0, 0), 3, Reason::Paused),
        row("paused and pinned", Policy { paused: true, replicas: Some(7), ..at_once() }, 3, jobs(0, 0, 0), 3, Reason::Paused),

        // The queue cannot be read. The fallback: 2 replicas after 3 failures.
        row("not read yet: hold",              falling_back(Static), 7, lost(0), 7, Reason::NotReadYet),
        row("no fallback: hold",               at_once(), 7, lost(99), 7, Reason::QueueUnreadable),
        row("too early: hold",                 falling_back(Static), 7, lost(2), 7, Reason::QueueUnreadable),
        row("Static: 2",                       falling_back(Static), 7, lost(3), 2, Reason::Fallback),
        row("Static from zero: 2",             falling_back(Static), 0, lost(3), 2, Reason::Fallback),
        row("CurrentReplicas: 7",              falling_back(CurrentReplicas), 7, lost(3), 7, Reason::Fallback),
        row("IfHigher: max(7, 2) = 7",         falling_back(CurrentReplicasIfHigher), 7, lost(3), 7, Reason::Fallback),
        row("IfHigher from zero: max(0, 2) = 2", falling_back(CurrentReplicasIfHigher), 0, lost(3), 2, Reason::Fallback),
        row("IfLower: min(7, 2) = 2",          falling_back(CurrentReplicasIfLower), 7, lost(3), 2, Reason::Fallback),
        row("pinned up without sight",   Policy { replicas: Some(9), ..at_once() }, 3, lost(1), 9, Reason::Pinned),
        row("pinned down, not read yet", Policy { replicas: Some(0), ..at_once() }, 3, lost(0), 3, Reason::NotReadYet),
        row("pinned down: wait a little", Policy { replicas: Some(0), ..at_once() }, 3, lost(2), 3, Reason::QueueUnreadable),
        row("pinned down: then obey",    Policy { replicas: Some(0), ..at_once() }, 3, lost(3), 0, Reason::Pinned),
    ]
}

#[test]
fn each_worked_example_comes_out_as_written() {
    for example in examples() {
        let decision = decided(&example.policy, example.current, example.queue);
        assert_eq!(
            (decision.replicas, decision.reason),
            (example.replicas, example.reason),
            "{}: {decision:?}",
            example.name
        );
    }
}

/// What comes out for a pool that has had `current` replicas for long.
fn decided(policy: &Policy, current: u32, queue: QueueState) -> Decision {
    let observation = Observation {
        current,
        age: HOUR,
        queue,
        startup: Startup::Possible,
    };
    decide(
        policy,
        &observation,
        &History::starting_at(current),
        Instant::now(),
    )
}

#[test]
fn a_replica_that_runs_several_jobs_at_once_counts_for_as_many() {
    let policy = Policy {
        concurrency: count(4),
        ..wait_at_most(60)
    };
    let replicas = |queue| decided(&policy, 1, queue).replicas;
    assert_eq!(
        replicas(measured(240, 0, 10.0, 0.0)),
        10,
        "240 × 10 s, 4 at once, within 60 s"
    );
    assert_eq!(
        replicas(measured(24, 0, 10.0, 2.0)),
        5,
        "20 are under way at any time, 4 in each"
    );
    assert_eq!(replicas(measured(3, 0, 1000.0, 0.0)), 1, "3 jobs fit into one");
}

#[test]
fn several_jobs_at_once_count_in_what_is_tolerated_too() {
    let policy = Policy {
        concurrency: count(4),
        target_wait: Some(Duration::from_secs(60)),
        ..tolerant()
    };
    // More replicas than jobs have slots would be in time: 36 jobs are work for 9.
    let kept = decided(&policy, 10, measured(36, 0, 1000.0, 0.0));
    assert_eq!((kept.replicas, kept.reason), (10, Reason::WithinTolerance));
}

#[test]
fn a_time_that_no_job_can_take_is_not_believed() {
    for seconds in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        let decision = decided(&wait_at_most(60), 1, measured(10, 0, seconds, 1.0));
        assert_eq!(
            (decision.replicas, decision.reason),
            (2, Reason::JobsPerReplica),
            "{seconds}"
        );
    }
}

#[test]
fn each_direction_has_its_own_tolerance() {
    let mut policy = tolerant();
    policy.behavior.scale_up.tolerance = 0.0;
    policy.behavior.scale_down.tolerance = 0.5;
    let of = |waiting| {
        let decision = decided(&policy, 10, jobs(waiting, 0, 0));
        (decision.replicas, decision.reason)
    };
    assert_eq!(of(51), (11, Reason::JobsPerReplica));
    assert_eq!(of(25), (10, Reason::WithinTolerance));
    assert_eq!(of(24), (5, Reason::JobsPerReplica));
}

#[test]
fn a_limit_that_allows_just_what_is_wanted_limits_nothing() {
    let up = decided(&slowly_up(SelectPolicy::Max), 4, jobs(40, 0, 0));
    assert_eq!((up.replicas, up.reason), (8, Reason::JobsPerReplica));
    let down = decided(&slowly_down(SelectPolicy::Max), 40, jobs(180, 0, 0));
    assert_eq!((down.replicas, down.reason), (36, Reason::JobsPerReplica));
}

#[test]
fn a_job_that_runs_wakes_a_pool_at_zero_whatever_the_threshold() {
    let policy = Policy {
        activation_threshold: 5,
        ..at_once()
    };
    assert_eq!(decided(&policy, 0, jobs(5, 0, 0)).reason, Reason::BelowActivation);
    assert_eq!(decided(&policy, 0, jobs(0, 1, 0)).replicas, 1);
}

#[test]
fn the_threshold_is_for_pools_that_rest_below_their_minimum_alone() {
    let policy = Policy {
        min_replicas: 1,
        activation_threshold: 5,
        jobs_per_replica: count(1),
        ..at_once()
    };
    assert_eq!(decided(&policy, 1, jobs(5, 0, 0)).replicas, 5);
}

#[test]
fn a_pin_below_waits_for_the_queue_to_be_read_and_says_where_it_wants_to_go() {
    let policy = Policy {
        replicas: Some(1),
        ..falling_back(FallbackBehavior::Static)
    };
    let after = |failures| {
        let decision = decided(&policy, 4, QueueState::Unreadable { failures });
        (
            decision.replicas,
            decision.desired,
            decision.recommended,
            decision.reason,
        )
    };
    assert_eq!(after(2), (4, 1, 1, Reason::QueueUnreadable));
    assert_eq!(after(3), (1, 1, 1, Reason::Pinned));
    let reached = decided(&policy, 1, QueueState::Unreadable { failures: 1 });
    assert_eq!(reached.reason, Reason::Pinned);
}

/// A pool whose decisions are carried out at once.
struct Pool {
    policy: Policy,
    history: History,
    current: u32,
    start: Instant,
}

impl Pool {
    fn new(policy: Policy, current: u32) -> Self {
        Self {
            policy,
            history: History::starting_at(current),
            current,
            start: Instant::now(),
        }
    }

    /// The count and its reason after this many waiting jobs are seen at this second.
    fn at(&mut self, second: u64, waiting: u64) -> (u32, Reason) {
        let now = self.start + Duration::from_secs(second);
        let observation = Observation {
            current: self.current,
            age: HOUR,
            queue: jobs(waiting, 0, 0),
            startup: Startup::Possible,
        };
        let decision = decide(&self.policy, &observation, &self.history, now);
        self.history.record(&decision, now);
        if decision.replicas != self.current {
            self.history.scaled(self.current, decision.replicas, now);
            self.current = decision.replicas;
        }
        (decision.replicas, decision.reason)
    }
}

#[test]
fn a_falling_queue_lowers_the_count_only_after_the_window_and_a_rising_one_raises_it_at_once() {
    let mut pool = Pool::new(Policy::default(), 0);
    assert_eq!(pool.at(0, 40), (8, Reason::JobsPerReplica));
    assert_eq!(
        pool.at(100, 20),
        (8, Reason::ScaleDownStabilized),
        "8 was asked for until second 100"
    );
    assert_eq!(pool.at(110, 0), (8, Reason::ScaleDownStabilized));
    assert_eq!(pool.at(129, 0), (8, Reason::ScaleDownStabilized));
    assert_eq!(
        pool.at(130, 0),
        (4, Reason::ScaleDownStabilized),
        "4 was asked for until second 110"
    );
    assert_eq!(
        pool.at(135, 50),
        (10, Reason::JobsPerReplica),
        "up needs no window"
    );
    assert_eq!(pool.at(136, 0), (10, Reason::ScaleDownStabilized));
    assert_eq!(pool.at(166, 0), (0, Reason::JobsPerReplica));
}

#[test]
fn a_restart_starts_the_window_at_the_current_count() {
    let mut pool = Pool::new(Policy::default(), 8);
    assert_eq!(pool.at(0, 0), (8, Reason::ScaleDownStabilized));
    assert_eq!(pool.at(29, 0), (8, Reason::ScaleDownStabilized));
    assert_eq!(pool.at(30, 0), (0, Reason::JobsPerReplica));
}

#[test]
fn a_cooldown_keeps_one_replica_after_the_last_work_and_the_window_holds_apart_from_it() {
    let mut pool = Pool::new(
        Policy {
            cooldown: Duration::from_secs(300),
            ..Policy::default()
        },
        0,
    );
    assert_eq!(pool.at(0, 40), (8, Reason::JobsPerReplica));
    assert_eq!(
        pool.at(100, 0),
        (8, Reason::ScaleDownStabilized),
        "there was work until second 100"
    );
    assert_eq!(pool.at(130, 0), (1, Reason::Cooldown), "the window is over");
    assert_eq!(pool.at(200, 3), (1, Reason::JobsPerReplica));
    assert_eq!(
        pool.at(210, 0),
        (1, Reason::ScaleDownStabilized),
        "the cooldown begins anew"
    );
    assert_eq!(pool.at(509, 0), (1, Reason::Cooldown));
    assert_eq!(pool.at(510, 0), (0, Reason::JobsPerReplica));
}

#[test]
fn a_pool_that_nobody_looked_at_has_worked_until_it_is_seen_not_to() {
    let mut pool = Pool::new(
        Policy {
            cooldown: Duration::from_secs(60),
            ..at_once()
        },
        0,
    );
    assert_eq!(pool.at(0, 10), (2, Reason::JobsPerReplica));
    assert_eq!(pool.at(1000, 0), (1, Reason::Cooldown));
    assert_eq!(pool.at(1059, 0), (1, Reason::Cooldown));
    assert_eq!(pool.at(1060, 0), (0, Reason::JobsPerReplica));
}

#[test]
fn a_cooldown_comes_before_the_idle_count_and_not_before_the_minimum() {
    let mut pool = Pool::new(
        Policy {
            cooldown: Duration::from_secs(60),
            ..resting(0)
        },
        8,
    );
    assert_eq!(pool.at(0, 0), (3, Reason::Cooldown));
    assert_eq!(pool.at(59, 0), (3, Reason::Cooldown));
    assert_eq!(pool.at(60, 0), (1, Reason::IdleReplicas));
}

#[test]
fn an_initial_cooldown_counts_from_the_pools_creation() {
    let policy = Policy {
        initial_cooldown: HOUR + Duration::from_secs(20),
        ..at_once()
    };
    let start = Instant::now();
    let observation = |age| Observation {
        current: 2,
        age,
        queue: jobs(0, 0, 0),
        startup: Startup::Possible,
    };
    let history = History::starting_at(2);
    let young = decide(&policy, &observation(HOUR), &history, start);
    assert_eq!((young.replicas, young.reason), (1, Reason::Cooldown));
    assert_eq!(young.not_before, Some(start + Duration::from_secs(20)));
    let old = decide(
        &policy,
        &observation(HOUR + Duration::from_secs(20)),
        &history,
        start,
    );
    assert_eq!((old.replicas, old.reason), (0, Reason::JobsPerReplica));
}

#[test]
fn a_window_upward_waits_for_a_lasting_wish() {
    let mut policy = Policy::default();
    policy.behavior.scale_up.stabilization_window = Duration::from_secs(10);
    let mut pool = Pool::new(policy, 1);
    assert_eq!(pool.at(0, 50), (1, Reason::ScaleUpStabilized));
    assert_eq!(pool.at(5, 15), (1, Reason::ScaleUpStabilized));
    assert_eq!(
        pool.at(10, 50),
        (3, Reason::ScaleUpStabilized),
        "at least 3 were asked for since second 0"
    );
    assert_eq!(pool.at(20, 50), (10, Reason::JobsPerReplica));
}

#[test]
fn a_rate_counts_what_was_added_in_its_period() {
    let mut policy = Policy {
        max_replicas: 100,
        ..Policy::default()
    };
    policy.behavior.scale_up.policies = vec![RateLimit::Pods {
        value: 4,
        period: Duration::from_secs(15),
    }];
    let mut pool = Pool::new(policy, 0);
    assert_eq!(pool.at(0, 500), (4, Reason::ScaleUpLimit));
    assert_eq!(pool.at(14, 500), (4, Reason::ScaleUpLimit));
    assert_eq!(pool.at(15, 500), (8, Reason::ScaleUpLimit));
    assert_eq!(pool.at(30, 500), (12, Reason::ScaleUpLimit));
}

#[test]
fn lowering_max_or_raising_min_acts_at_once_whatever_windows_and_rates_say() {
    let mut policy = slowly_down(SelectPolicy::Disabled);
    policy.behavior = Behavior {
        scale_up: slowly_up(SelectPolicy::Disabled).behavior.scale_up,
        ..policy.behavior
    };
    policy.behavior.scale_down.stabilization_window = Duration::from_secs(300);
    let mut pool = Pool::new(policy, 50);
    pool.policy.max_replicas = 20;
    assert_eq!(pool.at(0, 0).0, 20);
    pool.policy.max_replicas = 100;
    pool.policy.min_replicas = 30;
    assert_eq!(pool.at(1, 0).0, 30);
}

#[test]
fn a_decision_names_the_second_at_which_it_may_be_another() {
    let policy = Policy::default();
    let mut history = History::starting_at(8);
    let start = Instant::now();
    let observation = Observation {
        current: 8,
        age: HOUR,
        queue: jobs(0, 0, 0),
        startup: Startup::Possible,
    };
    let first = decide(&policy, &observation, &history, start);
    history.record(&first, start);
    assert_eq!(first.not_before, Some(start + Duration::from_secs(30)));
    let later = decide(&policy, &observation, &history, start + Duration::from_secs(12));
    assert_eq!(later.not_before, first.not_before);
    let due = decide(&policy, &observation, &history, start + Duration::from_secs(30));
    assert_eq!((due.replicas, due.not_before), (0, None));
}

#[test]
fn a_pool_that_waits_for_busy_workers_says_where_it_wants_to_go() {
    let decision = decided(&at_once(), 8, jobs(0, 5, 5));
    assert_eq!(
        (decision.replicas, decision.desired, decision.reason),
        (5, 1, Reason::BusyWorkers)
    );
}

/// What a pool's decisions come to one after another, each an hour after the one before.
fn counts(policy: &Policy, start: u32, queues: &[QueueState]) -> Vec<u32> {
    let mut now = Instant::now();
    let (mut current, mut history) = (start, History::starting_at(start));
    let mut step = |queue: &QueueState| {
        now += HOUR;
        let observation = Observation {
            current,
            age: HOUR,
            queue: *queue,
            startup: Startup::Possible,
        };
        let decision = decide(policy, &observation, &history, now);
        history.record(&decision, now);
        current = decision.replicas;
        current
    };
    queues.iter().map(&mut step).collect()
}

#[test]
fn idle_minimum_maximum_and_idle_again() {
    let policy = Policy {
        min_replicas: 2,
        max_replicas: 4,
        idle_replicas: Some(0),
        ..at_once()
    };
    let queues = [jobs(0, 0, 0), jobs(1, 0, 0), jobs(500, 0, 0), jobs(0, 0, 0)];
    assert_eq!(counts(&policy, 0, &queues), [0, 2, 4, 0]);
}

#[test]
fn another_number_of_jobs_per_replica_acts_with_the_next_decision() {
    let of = |jobs_per_replica| Policy {
        jobs_per_replica: count(jobs_per_replica),
        ..at_once()
    };
    assert_eq!(counts(&of(5), 0, &[jobs(10, 0, 0)]), [2]);
    assert_eq!(counts(&of(2), 2, &[jobs(10, 0, 0)]), [5]);
    assert_eq!(counts(&of(10), 5, &[jobs(10, 0, 0)]), [1]);
}

const AWAY: QueueState = QueueState::Unreadable { failures: 3 };

#[test]
fn each_fallback_gives_its_count_and_keeps_it() {
    let cases = [
        (FallbackBehavior::Static, 2, 2),
        (FallbackBehavior::CurrentReplicas, 7, 0),
        (FallbackBehavior::CurrentReplicasIfHigher, 7, 2),
        (FallbackBehavior::CurrentReplicasIfLower, 2, 0),
    ];
    for (behavior, from_seven, from_zero) in cases {
        let policy = falling_back(behavior);
        assert_eq!(counts(&policy, 7, &[AWAY; 3]), [from_seven; 3], "{behavior:?}");
        assert_eq!(counts(&policy, 0, &[AWAY; 3]), [from_zero; 3], "{behavior:?}");
    }
}

#[test]
fn an_outage_ends_in_the_fallback_and_the_queue_decides_again_after_it() {
    let first_failure = QueueState::Unreadable { failures: 1 };
    let queues = [
        jobs(500, 0, 0),
        first_failure,
        AWAY,
        jobs(500, 0, 0),
        jobs(0, 0, 0),
    ];
    let policy = falling_back(FallbackBehavior::Static);
    assert_eq!(counts(&policy, 0, &queues), [10, 10, 2, 10, 0]);
}

/// Weight, waiting, running.
fn shares(queues: &[(u32, u64, u64)]) -> Vec<Share> {
    let share = |(weight, waiting, running): &(u32, u64, u64)| Share {
        weight: count(*weight),
        load: Load {
            waiting: *waiting,
            running: *running,
            due_retries: 0,
        },
    };
    queues.iter().map(share).collect()
}

#[test]
fn several_queues_come_together_as_written() {
    // Queues, and for Sum and Max: the demand, the replicas, and which queue decides.
    type Row = (&'static [(u32, u64, u64)], [(u64, u32); 2], Option<usize>);
    let rows: [Row; 5] = [
        (&[(1, 12, 0), (1, 8, 0)], [(20, 4), (12, 3)], Some(0)),
        (&[(1, 12, 0), (2, 8, 0)], [(28, 6), (16, 4)], Some(1)),
        (&[(1, 5, 4), (3, 0, 2)], [(15, 3), (9, 2)], Some(0)),
        (&[(1, 0, 0), (1, 3, 0)], [(3, 1), (3, 1)], Some(1)),
        (&[(1, 0, 0), (9, 0, 0)], [(0, 0), (0, 0)], None),
    ];
    for (queues, expected, decides) in rows {
        for (combine, (demand, replicas)) in [Combine::Sum, Combine::Max].into_iter().zip(expected) {
            let (load, most) = combine.of(&shares(queues));
            assert_eq!(load.demand(), demand, "{queues:?} {combine:?}");
            let queue = jobs(load.waiting, load.running, 0);
            assert_eq!(
                counts(&at_once(), 0, &[queue]),
                [replicas],
                "{queues:?} {combine:?}"
            );
            assert_eq!(most, decides.filter(|_| combine == Combine::Max));
        }
    }
}

#[test]
fn of_several_queues_those_that_can_be_read_raise_the_count_and_never_lower_it() {
    let partly = |waiting| QueueState::Partly {
        reading: Reading {
            waiting,
            ..Reading::default()
        },
        failures: 1,
    };
    assert_eq!(counts(&at_once(), 2, &[partly(20), partly(0)]), [4, 4]);
    let fallback = falling_back(FallbackBehavior::Static);
    assert_eq!(counts(&fallback, 7, &[partly(0)]), [7], "not yet");
}

/// The count and its reason for 100 waiting jobs, of a pool that has this count and whose replicas cannot start.
fn unproven(policy: &Policy, current: u32, keep: u32) -> (u32, Reason) {
    let observation = Observation {
        current,
        age: HOUR,
        queue: jobs(100, 0, 0),
        startup: Startup::Failing { keep },
    };
    let decision = decide(
        policy,
        &observation,
        &History::starting_at(current),
        Instant::now(),
    );
    (decision.replicas, decision.reason)
}

#[test]
fn template_that_never_worked_gets_three_replicas_at_most() {
    let policy = Policy {
        max_replicas: 20,
        ..Policy::default()
    };
    assert_eq!(unproven(&policy, 20, 0), (3, Reason::Unproven));
    assert_eq!(unproven(&policy, 3, 0), (3, Reason::Unproven));
    assert_eq!(unproven(&policy, 0, 0), (3, Reason::Unproven));
    let least = |min_replicas| Policy {
        min_replicas,
        ..policy.clone()
    };
    assert_eq!(unproven(&least(5), 20, 0), (5, Reason::Unproven));
    assert_eq!(unproven(&policy, 8, 8), (8, Reason::Unproven));
    let pin = Policy {
        replicas: Some(9),
        ..policy
    };
    assert_eq!(unproven(&pin, 2, 0), (9, Reason::Pinned));
}
