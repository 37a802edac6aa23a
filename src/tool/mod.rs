//! The operators' subcommands.

pub mod guard;
pub mod keep;
pub mod keys;
pub mod reach;
pub mod recover;
pub mod status;
