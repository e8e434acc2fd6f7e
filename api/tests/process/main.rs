//! The real program: ended by signals, killed, and sent nonsense.

// A test may say what it expects; clippy takes only functions marked #[test] for one.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod killed;
mod listening;
mod program;
mod refused;
mod settings;
mod shutdown;
