//! Stand-in toolstack (not yet written).
fn main() {}
