//! Attacks the queue with real processes, and counts.
//!
//! A run starts a Redis that logs every change, the API, workers and clients; strikes them by a schedule that a seed
//! fixes; heals everything; waits until nothing is left to do; and counts, from Redis' own log and from what the
//! handlers wrote elsewhere, what was lost and what was done twice. docs/reliability.md shows the tables.
//!
//! Where to look, pure first: [`work`] (what a job is told), [`faults`] (what strikes, when), [`effects`] (what a
//! handler leaves behind), [`aof`] and [`history`] (what Redis did), [`ledger`] (the counts), [`verdict`] (what they
//! mean). With processes: [`config`], `run` (the life of a run), `stage` (what plays in it), `namespace`, `process`,
//! `redis_server`, `log_files`, `python`, `clients`, `clock`, `proxy` (a long way), `network` (lost packets), `strike`
//! (each fault's doing), `meddle` (what others rightly do), `drain`, `leftovers` (processes of jobs that do not end), `gather` (reads what is left behind).

pub mod aof;
mod clients;
mod clock;
pub mod config;
mod drain;
pub mod effects;
pub mod faults;
mod gather;
pub mod history;
pub mod ledger;
mod leftovers;
mod log_files;
mod meddle;
mod namespace;
mod network;
mod process;
mod proxy;
mod python;
mod redis_server;
pub mod run;
mod stage;
mod strike;
pub mod verdict;
pub mod work;
