//! What the measured programs share, ours and the peers' in Rust (which include these very files): the marks by which jobs
//! are counted and timed, and the ways of enqueueing.

pub mod marks;
pub mod produce;
