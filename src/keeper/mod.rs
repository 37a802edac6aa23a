//! An offer's end, whoever brings it about: its keeper, and the host's guard.

pub mod guard;
pub mod keep;
mod prospects;
mod warm;
