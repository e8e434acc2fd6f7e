//! The tiny static program that `bench-handlers` has run: it does nothing, well.

fn main() {}
