//! What is known of a move before, while and after the stream passes.

pub mod journal;
pub mod progress;
pub mod slots;
pub mod terms;
