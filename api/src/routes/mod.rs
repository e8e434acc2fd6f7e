//! One file for each thing that a client can ask.

mod body;
mod cancel;
mod dead;
mod dead_many;
mod details;
mod id;
mod incoming;
mod job;
mod list;
mod page;
pub(crate) mod queue;
mod result;
mod retry;
mod submit;
pub(crate) mod table;
mod unavailable;
