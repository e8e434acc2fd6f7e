//! The queue against real servers.

// Clippy's own allowance for tests ends at the functions that bear #[test].
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod atomicity;
mod blind;
mod cancelling;
mod claiming;
mod clustered;
mod common;
mod dying;
mod encrypted;
mod failover;
mod fake;
mod finishing;
mod foreign;
mod idempotency;
mod items;
mod leftovers;
mod limits;
mod logins;
mod marking;
mod observing;
mod options;
mod outages;
mod overview;
mod paging;
mod payloads;
mod progress;
mod purging;
mod python;
mod refusals;
mod removed;
mod restricted;
mod results;
mod retrying;
mod risks;
mod round;
mod servers;
mod sources;
mod submitting;
mod ticking;
mod turning;
mod unreadable;
mod upgrade;
mod versions;
mod watched;
mod words;
