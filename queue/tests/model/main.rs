//! The protocol as a state machine: random steps of producers, workers, operators, foreign programs and time, against
//! a real Redis, and after each of them the invariants I1 to I5 and I8 of docs/protocol.md.
//!
//! Time passes without sleeping: the scores that say when something ends are moved. Every step means something in
//! every state, so a failing run shrinks by leaving steps out. More runs: `WORKERPOOL_MODEL_CASES=10000`.

// Clippy's own allowance for tests ends at the functions that bear #[test].
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod invariants;
mod snapshot;
mod steps;
mod world;

use std::cell::RefCell;

use proptest::{
    collection::vec,
    test_runner::{Config, TestRunner},
};

use self::{steps::step, world::World};

/// Runs of the normal `cargo test`: some seconds.
const CASES: u32 = 40;
const MAX_STEPS: usize = 60;

#[test]
fn whatever_happens_in_whatever_order_no_job_is_lost_and_none_completes_twice() {
    let cases = std::env::var("WORKERPOOL_MODEL_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = RefCell::new(runtime.block_on(async { World::new() }));
    TestRunner::new(config)
        .run(&vec(step(), 1..MAX_STEPS), |steps| {
            let mut world = world.borrow_mut();
            runtime.block_on(async {
                world.begin();
                for step in &steps {
                    world.take(step).await?;
                }
                world.settle().await
            })
        })
        .unwrap();
}
