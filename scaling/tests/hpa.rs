//! The windows and rates beside the HorizontalPodAutoscaler's own code: the same past, the same question, the same count.
//!
//! The oracle is `dev/kubernetes/hpa`, Kubernetes' horizontal.go itself. Two differences are intended, and everything else
//! is a failure:
//! - **Percentages are exact.** There 10 % more than 50 are `ceil(50 * 1.1)`, which is 56, as 1.1 has no binary fraction; here
//!   they are 55. So where a percentage divides evenly, the HPA may be one off.
//! - **A percentage of no replicas is one replica**, so that such a policy can leave zero. There it is none.
//!
//! A third lies in how the past is told: here a recommendation holds until the next one takes its place, there it is a sample
//! of one moment. The oracle gets a sample of each recommendation's last moment, and so sees the same.

#![allow(clippy::expect_used)]

use std::{
    env,
    fmt::Write as _,
    io::Write as _,
    num::NonZeroU32,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use scaling::{
    Behavior, Decision, History, Mode, Observation, Policy, QueueState, RateLimit, Reading, Reason, Rules,
    SelectPolicy, Startup, decide,
};

const CASES: usize = 20_000;
const MAX: u32 = 200;

/// What was asked for and done, so long ago.
#[derive(Clone, Debug)]
struct Event {
    /// In half seconds and a quarter, so that no age meets the end of a window, which the oracle's clock would shift.
    age: Duration,
    recommended: u32,
    scaled_to: u32,
}

#[derive(Clone, Debug)]
struct Case {
    policy: Policy,
    /// The count before the first event.
    start: u32,
    /// Oldest first.
    events: Vec<Event>,
    desired: u32,
}

fn rate_limit() -> impl Strategy<Value = RateLimit> {
    (1_u32..150, 1_u64..300, any::<bool>()).prop_map(|(value, seconds, percent)| {
        let period = Duration::from_secs(seconds);
        if percent {
            RateLimit::Percent { value, period }
        } else {
            RateLimit::Pods { value, period }
        }
    })
}

/// At least one policy: without any the API server would fill in the HPA's own, where ours means no limit.
fn rules() -> impl Strategy<Value = Rules> {
    let select = prop_oneof![
        4 => Just(SelectPolicy::Max),
        4 => Just(SelectPolicy::Min),
        1 => Just(SelectPolicy::Disabled)
    ];
    (0_u64..300, vec(rate_limit(), 1..4), select).prop_map(|(window, policies, select_policy)| Rules {
        tolerance: 0.0,
        stabilization_window: Duration::from_secs(window),
        policies,
        select_policy,
    })
}

fn case() -> impl Strategy<Value = Case> {
    let event = (0_u64..800, 1..=MAX, 1..=MAX);
    let behavior = (rules(), rules());
    (behavior, 1..=MAX, vec(event, 0..8), 1..=MAX).prop_map(
        |((scale_up, scale_down), start, mut events, desired)| {
            events.sort_by_key(|(age, ..)| std::cmp::Reverse(*age));
            // Two changes within a second are kept as one, at the time of the later.
            events.dedup_by_key(|(age, ..)| *age / 4);
            let events = events.into_iter().map(|(age, recommended, scaled_to)| Event {
                age: Duration::from_millis(age * 500 + 250),
                recommended,
                scaled_to,
            });
            Case {
                policy: Policy {
                    min_replicas: 1,
                    max_replicas: MAX,
                    jobs_per_replica: NonZeroU32::MIN,
                    behavior: Behavior { scale_up, scale_down },
                    ..Policy::default()
                },
                start,
                events: events.collect(),
                desired,
            }
        },
    )
}

impl Case {
    fn current(&self) -> u32 {
        self.events.last().map_or(self.start, |event| event.scaled_to)
    }

    fn ours(&self) -> u32 {
        // Ages are taken from a moment far enough behind the beginning of time.
        let now = Instant::now() + Duration::from_secs(7200);
        let mut history = History::starting_at(self.start);
        let mut count = self.start;
        for event in &self.events {
            let then = now - event.age;
            history.record(&recommendation(event.recommended), then);
            history.scaled(count, event.scaled_to, then);
            count = event.scaled_to;
        }
        let observation = Observation {
            current: count,
            age: Duration::ZERO,
            queue: QueueState::Read(Reading {
                waiting: self.desired.into(),
                ..Reading::default()
            }),
            startup: Startup::Possible,
        };
        decide(&self.policy, &observation, &history, now).replicas
    }

    /// As the oracle reads it.
    fn line(&self) -> String {
        let mut line = format!("{} {} 1 {MAX}", self.current(), self.desired);
        push_rules(&mut line, &self.policy.behavior.scale_up);
        push_rules(&mut line, &self.policy.behavior.scale_down);
        let mut samples = Vec::new();
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        let (mut in_force, mut count) = (self.start, self.start);
        for event in &self.events {
            samples.push((event.age, in_force));
            in_force = event.recommended;
            if event.scaled_to > count {
                added.push((event.age, event.scaled_to - count));
            } else {
                removed.push((event.age, count - event.scaled_to));
            }
            count = event.scaled_to;
        }
        samples.push((Duration::ZERO, in_force));
        for pasts in [samples, added, removed] {
            let _ = write!(line, " {}", pasts.len());
            for (age, value) in pasts {
                let _ = write!(line, " {} {value}", age.as_millis());
            }
        }
        line
    }

    /// Whether the HPA's floats can be one off: a percentage of the count that its period began with is a whole number.
    fn divides_evenly(&self) -> bool {
        let behavior = &self.policy.behavior;
        let both = behavior
            .scale_up
            .policies
            .iter()
            .chain(&behavior.scale_down.policies);
        both.clone().any(|limit| match *limit {
            RateLimit::Percent { value, period } => {
                let now = self.current();
                let recent = self.events.iter().filter(|event| event.age < period);
                let start = recent.clone().next().map_or(now, |first| self.before(first));
                start * value % 100 == 0
            }
            RateLimit::Pods { .. } => false,
        })
    }

    fn before(&self, event: &Event) -> u32 {
        let earlier = self.events.iter().take_while(|other| other.age > event.age);
        earlier.last().map_or(self.start, |other| other.scaled_to)
    }
}

fn recommendation(count: u32) -> Decision {
    Decision {
        replicas: count,
        desired: count,
        raw: Some(count.into()),
        recommended: count,
        working: true,
        mode: Mode::Queue,
        reason: Reason::JobsPerReplica,
        not_before: None,
    }
}

fn push_rules(line: &mut String, rules: &Rules) {
    let select = match rules.select_policy {
        SelectPolicy::Max => 0,
        SelectPolicy::Min => 1,
        SelectPolicy::Disabled => 2,
    };
    let window = rules.stabilization_window.as_secs();
    let _ = write!(line, " {window} {select} {}", rules.policies.len());
    for limit in &rules.policies {
        let (kind, value, period) = match *limit {
            RateLimit::Pods { value, period } => (0, value, period),
            RateLimit::Percent { value, period } => (1, value, period),
        };
        let _ = write!(line, " {kind} {value} {}", period.as_secs());
    }
}

fn oracle(cases: &[Case]) -> Vec<u32> {
    let program = env::var("WORKERPOOL_HPA").expect("WORKERPOOL_HPA names what dev/kubernetes/hpa printed");
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the oracle starts");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let lines: String = cases.iter().map(|case| case.line() + "\n").collect();
    let feed = thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("the oracle ends");
    feed.join().expect("no panic").expect("the oracle reads all");
    let text = String::from_utf8(output.stdout).expect("numbers");
    text.lines().map(|line| line.parse().expect("a number")).collect()
}

#[test]
#[ignore = "needs the HPA's code: dev/check-hpa"]
fn windows_and_rates_give_the_counts_of_the_horizontal_pod_autoscaler() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let cases: Vec<Case> = (0..CASES)
        .map(|_| case().new_tree(&mut runner).expect("a case").current())
        .collect();
    let theirs = oracle(&cases);
    assert_eq!(theirs.len(), CASES, "one answer each");

    let (mut moved, mut rounded) = (0, 0);
    for (case, theirs) in cases.iter().zip(theirs) {
        let ours = case.ours();
        moved += usize::from(ours != case.desired);
        if ours == theirs {
            continue;
        }
        assert!(
            ours.abs_diff(theirs) == 1 && case.divides_evenly(),
            "ours {ours}, theirs {theirs}: {case:#?}\n{}",
            case.line()
        );
        rounded += 1;
    }
    // Or the rules were not put to the test.
    assert!(moved > CASES / 3, "only {moved} counts were held back by a rule");
    assert!(
        rounded < CASES / 100,
        "{rounded} roundings are too many to be roundings"
    );
}
