//! One pool against a mock API server and a real Redis: which calls are made, and what they carry.

// Fixtures are not tests to clippy, and they too may say what they expect.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod admitted;
mod api;
mod drifting;
mod following;
mod foreign;
mod labelled;
mod lowering;
mod measured;
mod panicking;
mod refusing;
mod reporting;
mod restoring;
mod rolling;
mod rotating;
mod sources;
mod targets;
mod unready;
mod world;
