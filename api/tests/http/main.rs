//! What each route answers, without a socket.

// A test may say what it expects; clippy takes only functions marked #[test] for one.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod cancelling;
mod client;
mod cross_origin;
mod dead;
mod documented;
mod fuzz;
mod idempotency;
mod jobs;
mod outage;
mod payload;
mod queue;
mod results;
mod routes;
mod submit;
mod worker;
