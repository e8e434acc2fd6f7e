//! HTTP: jobs in, answers out.
//!
//! `POST /jobs` is that of a small Flask program, to the byte; the rest is what its users would expect beside
//! it. docs/api.md is the reference.
//!
//! Where to look: `main` (parse, wire, join), [`config`], [`app`] (everything as one [`axum::Router`]), `routes`
//! (one file each, and the table of them), `answer` (JSON, as `json.dumps` prints it), `content` (what a job gave), `error` (problem+json), `python_json` (how Python reads
//! and prints a job's values), `idempotency`, `cross_origin` (which web pages may write), `protect` (what surrounds every route),
//! `redis_watch` (what `/readyz` knows of Redis), `metrics`.

mod answer;
pub mod app;
pub mod config;
mod content;
pub mod cross_origin;
mod error;
mod hex;
mod idempotency;
mod metrics;
mod protect;
mod python_json;
mod queue_metrics;
mod redis_watch;
mod routes;
mod time;
