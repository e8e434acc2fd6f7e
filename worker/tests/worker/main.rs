//! The real programs, on a real Redis: what they do with jobs, and what becomes of them when they die.

// A test may say what it expects; clippy takes only functions marked #[test] for one.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod attempts;
mod command;
mod common;
mod example;
mod http;
mod jobs;
mod leases;
mod leftovers;
mod logins;
mod lossy;
mod outages;
mod processes;
mod progress;
mod queues;
mod scripted;
mod settings;
mod shutdown;
#[allow(dead_code)] // Its `main` is for who tries it.
#[path = "../../examples/thumbnail.rs"]
mod thumbnail;
