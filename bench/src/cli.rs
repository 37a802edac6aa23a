//! The command line of `xen-handoff-bench`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{memory, rtt};

/// Measures a domain while it moves, from any machine that reaches it.
#[derive(Debug, Parser)]
#[command(
    name = "xen-handoff-bench",
    version,
    about = "Measures a domain while it moves, from any machine that reaches it"
)]
#[command(max_term_width = 80)]
pub struct Cli {
    /// What to measure.
    #[command(subcommand)]
    pub command: Command,
}

/// The measurements.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ping a domain, give a command that makes it move, and say what its users saw
    Rtt(Box<rtt::Options>),
    /// Response times and processor use of a guest that holds more and more memory, or that moves meanwhile
    Memory(Box<memory::Options>),
    /// Show several results of rtt in one table, beside the paper's figures
    Compare {
        /// Folders that rtt has written (its --out)
        #[arg(required = true, value_name = "DIR")]
        results: Vec<PathBuf>,
        /// Draw them under each other into this SVG file
        #[arg(long, value_name = "FILE")]
        plot: Option<PathBuf>,
        /// Draw a bar for each into this SVG file: how long it answered, was slow, was silent
        #[arg(long, value_name = "FILE")]
        bars: Option<PathBuf>,
    },
}
