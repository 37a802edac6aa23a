//! The operators' subcommands.

pub mod guard;
pub mod history;
pub mod keep;
pub mod keys;
pub mod preflight;
pub mod reach;
pub mod recover;
pub mod status;
