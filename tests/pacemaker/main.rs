//! (not yet written)
fn main() {}
