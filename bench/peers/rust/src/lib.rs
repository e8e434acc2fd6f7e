//! What the peers' programs share, and share with ours: the very files.

#[path = "../../../src/marks.rs"]
pub mod marks;
#[path = "../../../src/produce.rs"]
pub mod produce;
